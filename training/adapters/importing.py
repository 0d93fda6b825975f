"""An adapter from elsewhere, imported only after it has been checked.

Nothing of it is run: weights are safetensors, its configuration is read as data and rewritten from what
was understood, other files stay behind. It must fit the base model that is loaded here, layer by layer. It
begins as a candidate: `run.examine` gives it its verdict, and until then it serves nobody.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import stat
import zipfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Final

import torch
from peft import PeftModel
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from feedback.database import Database
from feedback.errors import UsageError
from feedback.journal import audit
from training import files
from training.adapters import plain_lora, registry
from training.adapters.registry import CONFIG, WEIGHTS
from training.errors import AdapterError
from training.model import fingerprint, names
from training.model.base_model import BaseModel
from training.model.libraries import quiet
from training.settings import ADAPTER_NAME

MOST_BYTES: Final = 4 * 2**30
"""What an adapter may weigh: rank 512 on every layer of an 8B model weighs less."""
MOST_CONFIG_BYTES: Final = 2**20
MOST_FINGERPRINT_BYTES: Final = 2**16
MOST_FILES: Final = 200
CODE: Final = (".py", ".pyc", ".so", ".dll", ".dylib", ".sh", ".js", ".exe", ".ipynb")

_KEY: Final = re.compile(r"base_model\.model\.(?P<module>[\w.]+)\.lora_(?P<half>[AB])\.weight", re.ASCII)
_MODULE: Final = re.compile(r"[A-Za-z_][\w.]{0,199}", re.ASCII)
_UNSUPPORTED: Final = {
    "auto_mapping": "its configuration names classes of its own (auto_mapping)",
    "rank_pattern": "its layers differ in rank (rank_pattern)",
    "alpha_pattern": "its layers differ in alpha (alpha_pattern)",
}
_PLAIN: Final = f"Export it as plain LoRA with peft: {CONFIG} and {WEIGHTS}."


@dataclass(frozen=True)
class Imported:
    """A foreign adapter that was imported. `left_behind` are files of it that were not."""

    adapter: str
    claimed_base: str
    rank: int
    layers: int
    left_behind: tuple[str, ...]


async def import_adapter(
    database: Database,
    data: Path,
    source: Path,
    base: BaseModel,
    *,
    name: str,
    by: str,
    confirmed_base: str | None = None,
) -> Imported:
    """Import the adapter in `source`, a folder or a .zip, into the registry as a candidate for `base`.

    `confirmed_base` is a person's word that it was trained on that model, where its own configuration says
    something else. Raises UsageError for a name or a base model that cannot be meant, AdapterError with the
    reason why it is not imported; nothing of it is left then.
    """
    if not re.fullmatch(ADAPTER_NAME, name) or name == registry.BASE:
        raise UsageError(
            f"An adapter cannot be called {name!r}.",
            "Use 1 to 63 of a-z, 0-9, '.', '_', '-', beginning with a letter or digit, with --name.",
        )
    if confirmed_base is not None and not _same_model(confirmed_base, base.name):
        raise UsageError(
            f"{confirmed_base} is not the base model here: that is {base.name}.",
            f"Set THUMBLOOP_MODEL={confirmed_base} to use adapters of that one.",
        )
    with (
        files.faults_explained("Importing the adapter from", source, AdapterError),
        files.part_folder(data / registry.ADAPTERS / "import") as part,
    ):
        imported = await asyncio.to_thread(_check, source, part, base, confirmed_base)
        detail = {
            "source": source.name,
            "claimed_base": imported.claimed_base,
            "confirmed": confirmed_base or "",
        }
        return replace(imported, adapter=await _register(database, data, part, base, name, by, detail))


async def _register(
    database: Database,
    data: Path,
    part: Path,
    base: BaseModel,
    name: str,
    by: str,
    detail: dict[str, str],
) -> str:
    """The label under which it stands in the registry now: all or nothing."""
    with ExitStack() as undo:
        async with database.session() as session:
            adapter = await registry.add(
                session, data, part, name=name, base_model=base.name, base_revision=base.revision, by=by
            )
            undo.callback(shutil.rmtree, registry.folder(data, adapter), ignore_errors=True)
            label = registry.label(adapter)
            audit(session, by, "adapter.import", label, **detail)
        undo.pop_all()  # the adapter is in the record, so its files stay
    return label


def _check(source: Path, part: Path, base: BaseModel, confirmed_base: str | None) -> Imported:
    """Bring the files that are needed into `part`, and refuse what is not plain LoRA for `base`."""
    left_behind = _unpack(source, part) if source.is_file() else _copy(source, part)
    config = _read_config(part)
    claimed = str(config.get("base_model_name_or_path") or "")
    _refuse_other_base(config, claimed, base, confirmed_base)
    tensors = _read_weights(part)
    modules = _fitting(config, tensors, base)
    rank = config["r"]
    (part / CONFIG).write_text(
        json.dumps(_clean(config, modules, base), indent=2, sort_keys=True) + "\n", encoding="utf-8"
    )
    _compare_fingerprint(part, base)
    with quiet():
        peft_model = PeftModel.from_pretrained(base.model, str(part))
        try:
            fingerprint.record(peft_model, base.tokenizer, part)
        finally:
            peft_model.unload()
    return Imported("", claimed, rank, len(modules), tuple(left_behind))


def _copy(source: Path, part: Path) -> list[str]:
    """Copy what is needed from a folder; the names of the rest."""
    if not source.is_dir():
        raise AdapterError(f"There is no folder or .zip {source}.", "Check that the path is right.")
    found: dict[str, Path] = {}
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise _refused(source, f"{name} is a link or no regular file")
        if path.is_file():
            found[name] = path
    _refuse_names(source, {name: path.stat().st_size for name, path in found.items()})
    for name in _wanted(source, found):
        shutil.copyfile(found[name], part / name)
    return [name for name in found if not (part / name).exists()]


def _unpack(source: Path, part: Path) -> list[str]:
    """Unpack what is needed from a .zip, whose files may lie in one folder; the names of the rest."""
    try:
        with zipfile.ZipFile(source) as packed:
            entries = [entry for entry in packed.infolist() if not entry.is_dir()]
            for entry in entries:
                _refuse_entry(source, entry)
            tops = {PurePosixPath(entry.filename).parts[0] for entry in entries}
            nested = len(tops) == 1 and all("/" in entry.filename for entry in entries)
            found = {
                entry.filename.partition("/")[2] if nested else entry.filename: entry for entry in entries
            }
            if len(found) != len(entries):
                raise _refused(source, "two files in it have one name")
            _refuse_names(source, {name: entry.file_size for name, entry in found.items()})
            for name in _wanted(source, found):
                with packed.open(found[name]) as packed_file, (part / name).open("xb") as file:
                    _copy_at_most(packed_file, file, found[name].file_size, source)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, EOFError, RuntimeError) as error:
        raise _refused(source, "it is no .zip that can be read") from error
    return [name for name in found if not (part / name).exists()]


def _refuse_entry(source: Path, entry: zipfile.ZipInfo) -> None:
    path = PurePosixPath(entry.filename)
    if path.is_absolute() or ".." in path.parts or "\\" in entry.filename or ":" in entry.filename:
        raise _refused(source, f"{entry.filename!r} would be written outside the folder")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise _refused(source, f"{entry.filename!r} is a link or no regular file")
    if entry.flag_bits & 1:
        raise _refused(source, "it is encrypted")


def _copy_at_most(packed_file: Any, file: Any, size: int, source: Path) -> None:
    """Unpack no more than was announced, whatever the .zip turns out to hold."""
    left = size
    while piece := packed_file.read(2**20):
        left -= len(piece)
        if left < 0:
            raise _refused(source, "it holds more than it announces")
        file.write(piece)


def _refuse_names(source: Path, sizes: Mapping[str, int]) -> None:
    """Raise AdapterError for pickles, programs, and files that are too many or too large."""
    if len(sizes) > MOST_FILES:
        raise _refused(source, f"it holds {len(sizes)} files, and at most {MOST_FILES} are allowed")
    for name in sizes:
        suffix = PurePosixPath(name).suffix.lower()
        if suffix in registry.PICKLES:
            raise _refused(source, f"{name} is a pickle, which could run anything when loaded")
        if suffix in CODE:
            raise _refused(source, f"{name} is a program, and an adapter needs none")
    bounds = (
        (CONFIG, MOST_CONFIG_BYTES),
        (fingerprint.FILE_NAME, MOST_FINGERPRINT_BYTES),
        (WEIGHTS, MOST_BYTES),
    )
    for name, most in bounds:
        if sizes.get(name, 0) > most:
            raise _refused(source, f"{name} has {sizes[name]:,} bytes, and at most {most:,} are allowed")


def _wanted(source: Path, found: Mapping[str, Any]) -> list[str]:
    for name in (CONFIG, WEIGHTS):
        if name not in found:
            raise _refused(source, f"{name} is missing")
    return [name for name in (CONFIG, WEIGHTS, fingerprint.FILE_NAME) if name in found]


def _read_config(part: Path) -> dict[str, Any]:
    """The adapter's configuration. Raises AdapterError unless it is plain LoRA for a causal LM."""
    try:
        config = json.loads((part / CONFIG).read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise _unfit(f"{CONFIG} is not readable")
    if (reason := plain_lora.why_not(config)) is not None:
        raise _unfit(reason)
    if config.get("task_type") != "CAUSAL_LM":
        raise _unfit(f"it is for the task {config.get('task_type')!r}, and only CAUSAL_LM answers questions")
    for name, reason in _UNSUPPORTED.items():
        if config.get(name):
            raise _unfit(reason)
    rank, alpha = config.get("r"), config.get("lora_alpha", 8)
    if not (isinstance(rank, int) and 1 <= rank <= 4096):
        raise _unfit(f"its rank is {rank!r}")
    if not (isinstance(alpha, int | float) and 0 < alpha <= 65536):
        raise _unfit(f"its alpha is {alpha!r}")
    targets = config.get("target_modules")
    # peft takes a pattern as well; it is not run, for the tensors' names say which layers there are
    if not isinstance(targets, str) and not (
        isinstance(targets, list) and all(isinstance(one, str) and _MODULE.fullmatch(one) for one in targets)
    ):
        raise _unfit("its target_modules is neither a pattern nor a list of layers' names")
    return config


def _refuse_other_base(
    config: Mapping[str, Any], claimed: str, base: BaseModel, confirmed_base: str | None
) -> None:
    """Raise AdapterError unless it says, or a person does, that it was trained on this base model."""
    if confirmed_base is not None:
        return
    confirm = f"If it was trained on {base.name} all the same, say so with --base-model {base.name}."
    if not _same_model(claimed, base.name):
        raise AdapterError(
            f"The adapter was trained on {claimed or 'a base model that it does not name'}, "
            f"and {base.name} is the model here.",
            confirm,
        )
    revision = config.get("revision")
    if revision and revision != "main" and revision != base.revision:
        raise AdapterError(
            f"The adapter was trained on revision {str(revision)[:12]} of {base.name}, "
            f"and the one here is {base.revision[:12]}.",
            confirm,
        )


def _same_model(claimed: str, name: str) -> bool:
    """Whether a configuration's base model is the one known here as `name`; a path counts by its end."""
    known = {name, names.public_name(name)}
    end = claimed.rstrip("/").rpartition("/")[2]
    return claimed in known or (bool(end) and "/" not in name and end == name.rpartition("/")[2])


def _read_weights(part: Path) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = load_file(part / WEIGHTS, device="cpu")
    except (SafetensorError, KeyError) as error:
        raise _unfit(f"{WEIGHTS} is corrupt") from error
    return tensors


def _fitting(config: Mapping[str, Any], tensors: Mapping[str, Tensor], base: BaseModel) -> list[str]:
    """The layers that it changes, each by a whole pair of finite matrices that fit. Raises AdapterError."""
    halves: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        match = _KEY.fullmatch(key)
        if match is None:
            raise _unfit(f"its tensor {key[:100]!r} is not one of a plain LoRA on linear layers")
        halves.setdefault(match["module"], {})[match["half"]] = tensor
    if not halves:
        raise _unfit("it holds no weights")
    layers = {
        name: _features(module)
        for name, module in base.model.named_modules()
        if isinstance(module, nn.Linear | Conv1D)
    }
    for module, half in halves.items():
        fault = _misfit(module, half, layers.get(module), config["r"])
        if fault is not None:
            raise _unfit(fault)
    named = [] if isinstance(config["target_modules"], str) else config["target_modules"]
    for target in named:
        if not any(module == target or module.endswith(f".{target}") for module in halves):
            raise _unfit(f"there are no weights for the layers {target} that it names")
    return sorted(halves)


def _features(module: nn.Linear | Conv1D) -> tuple[int, int]:
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    inputs, outputs = module.weight.shape
    return inputs, outputs


def _misfit(module: str, half: Mapping[str, Tensor], layer: tuple[int, int] | None, rank: int) -> str | None:
    """What is wrong with the two matrices of a layer; None is nothing."""
    if layer is None:
        return f"the base model has no linear layer {module}"
    if set(half) != {"A", "B"}:
        return f"one of the two matrices of {module} is missing"
    down, up = half["A"], half["B"]
    if not (down.is_floating_point() and up.is_floating_point()):
        return f"{module} holds no floating-point numbers"
    if (tuple(down.shape), tuple(up.shape)) != ((rank, layer[0]), (layer[1], rank)):
        return (
            f"{module} has matrices {tuple(down.shape)} and {tuple(up.shape)}, and the base model needs "
            f"{(rank, layer[0])} and {(layer[1], rank)} at rank {rank}"
        )
    if not (torch.isfinite(down).all() and torch.isfinite(up).all()):
        return f"{module} holds values that are not numbers"
    return None


def _clean(config: Mapping[str, Any], modules: list[str], base: BaseModel) -> dict[str, Any]:
    """Its configuration, rewritten: only what was understood, and the base model as it is called here."""
    short = sorted({module.rpartition(".")[2] for module in modules})
    meant = [
        name
        for name, module in base.model.named_modules()
        if name.rpartition(".")[2] in short and isinstance(module, nn.Linear | Conv1D)
    ]
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base.name,
        "revision": base.revision,
        "inference_mode": True,
        "bias": "none",
        "r": config["r"],
        "lora_alpha": config.get("lora_alpha", 8),
        "lora_dropout": 0.0,
        "use_rslora": bool(config.get("use_rslora")),
        "fan_in_fan_out": bool(config.get("fan_in_fan_out")),
        "target_modules": short if len(meant) == len(modules) else modules,
    }


def _compare_fingerprint(part: Path, base: BaseModel) -> None:
    """Raise AdapterError when it brings a fingerprint of another base model."""
    try:
        recorded = fingerprint.read(part)
    except AdapterError as error:
        raise _unfit("the fingerprint that it brings cannot be read") from error
    if recorded is None:
        return
    vocabulary = base.model.get_input_embeddings().num_embeddings
    ids = [probe.token_ids for probe in recorded.probes]
    if any(not 0 <= token < vocabulary for probe in ids for token in probe):
        raise _unfit("its fingerprint was taken on another base model")
    with torch.inference_mode():
        said = [
            base.model(input_ids=torch.tensor([probe], device=base.model.device)).logits[0, -1]
            for probe in ids
        ]
    reason = fingerprint.base_difference(recorded, said, fingerprint.precision_of(base.model))
    if reason is not None:
        raise _unfit(f"{reason}, by the fingerprint that it brings")


def _refused(source: Path, reason: str) -> AdapterError:
    return AdapterError(f"The adapter in {source} is not imported: {reason}.", _PLAIN)


def _unfit(reason: str) -> AdapterError:
    return AdapterError(f"The adapter is not imported: {reason}.", _PLAIN)
