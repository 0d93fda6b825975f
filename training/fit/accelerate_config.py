"""The operator's configuration for `accelerate launch`, read before it is used; and the one we write.

accelerate's own parser reads it, so what passes here passes there. What is needed of it: how many processes,
and whether they share out the model's weights among them (FSDP, ZeRO-3) or hold all of them each.
"""

from __future__ import annotations

import importlib.util
import json
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from training import files
from training.errors import TrainingError

REMEDY: Final = (
    "Write it with `accelerate config --config_file FILE`; THUMBLOOP_TRAINING__ACCELERATE_CONFIG names it."
)
_KINDS: Final = {"MULTI_GPU": "DDP", "FSDP": "FSDP", "DEEPSPEED": "DeepSpeed"}


@dataclass(frozen=True)
class AccelerateConfig:
    """`kind` as people call it (DDP, FSDP, DeepSpeed); `processes` is 0 where the file leaves that open.

    `sharded`: each process holds but a share of the weights.
    """

    kind: str = "DDP"
    processes: int = 0
    sharded: bool = False
    content_hash: str = ""

    def identity(self, processes: int) -> str:
        """What must be the same to load its checkpoints; "" where every process holds the whole model."""
        return "" if self.kind == "DDP" else f"{self.kind} {processes} {self.content_hash}"


DDP: Final = AccelerateConfig()
"""Every process holds the whole model."""


def read(path: Path) -> AccelerateConfig:
    """What the file says. Raises TrainingError when accelerate could not use it here, saying why."""
    from accelerate.commands.config.config_args import load_config_from_file
    from yaml import YAMLError  # type: ignore[import-untyped]

    try:
        config: Any = load_config_from_file(str(path))
        kind = str(getattr(config.distributed_type, "value", config.distributed_type))
    except FileNotFoundError:
        raise TrainingError(f"The accelerate configuration {path} is not there.", REMEDY) from None
    except (OSError, ValueError, TypeError, AttributeError, LookupError, YAMLError) as error:
        reason = textwrap.shorten(str(error), 300, placeholder=" …").rstrip(".") + "."
        raise TrainingError(
            f"The accelerate configuration {path} cannot be read: {reason}", REMEDY
        ) from error
    if kind not in _KINDS:
        raise TrainingError(
            f"The accelerate configuration {path} is for {kind}; training takes {', '.join(_KINDS)}.", REMEDY
        )
    if (getattr(config, "num_machines", 1) or 1) > 1:
        raise TrainingError(f"The accelerate configuration {path} is for several machines.", REMEDY)
    if kind == "DEEPSPEED" and importlib.util.find_spec("deepspeed") is None:
        raise TrainingError(
            f"The accelerate configuration {path} asks for DeepSpeed, which is not installed.",
            "Run `pip install deepspeed`, or use FSDP.",
        )
    processes = max(0, int(config.num_processes or 0))  # accelerate's own "tell me later" is -1
    sharded = kind == "FSDP" or (kind == "DEEPSPEED" and _zero_3(config, path))
    return AccelerateConfig(_KINDS[kind], processes, sharded, files.sha256(path))


def write_plain(path: Path, processes: int) -> None:
    """A configuration by which every process holds the whole model (DDP).

    Without one, accelerate would use what the user once answered to `accelerate config`.
    """
    config = {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": "MULTI_GPU",  # its name for one process a device; on CPUs as well
        "num_machines": 1,
        "num_processes": processes,
        "mixed_precision": "no",
        "use_cpu": False,
    }
    path.write_text(json.dumps(config), encoding="utf-8")


def _zero_3(config: Any, path: Path) -> bool:
    """Whether DeepSpeed shards the weights (ZeRO-3). Raises TrainingError if it would not gather adapters."""
    options = config.deepspeed_config or {}
    file = options.get("deepspeed_config_file")
    if file:
        try:
            options = json.loads(Path(file).read_bytes())["zero_optimization"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TrainingError(
                f"The DeepSpeed configuration {file}, named in {path}, cannot be read.", REMEDY
            ) from error
    if int(options.get("zero_stage", options.get("stage", 2))) != 3:
        return False
    gathers = ("zero3_save_16bit_model", "stage3_gather_16bit_weights_on_model_save")
    if not any(options.get(name) in (True, "true", "auto") for name in gathers):
        raise TrainingError(
            f"With the accelerate configuration {path}, ZeRO-3 would not gather the adapter to be saved.",
            f"Set {gathers[0]}: true there ({gathers[1]} in a file of DeepSpeed's own).",
        )
    return True
