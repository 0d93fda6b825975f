"""A LoRA adapter on a base model: fresh, or continued from a folder; and back into a folder.

By peft (Hu et al. 2021; rsLoRA: Kalajdzievski 2023; DoRA: Liu et al. 2024). Knows nothing of how the adapter
is trained. The base model's own weights are never touched.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from bitsandbytes.nn import Linear4bit
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer

from training.errors import TrainingError
from training.model.base_model import BaseModel
from training.settings import DEFAULT_RANK, TrainingSettings

OWN: Final = "default"
"""peft's name of the adapter that is trained."""


def attach(base: BaseModel, settings: TrainingSettings, *, start: Path | None) -> Any:
    """The base model as a peft model with a trainable adapter on it: that in `start`, or a fresh one.

    What a quantised base holds unquantised stays in its type. peft's `prepare_model_for_kbit_training` makes
    fp32 of it, for good: embeddings twice as large, and another model to answer with. Raises TrainingError.
    """
    model = base.model
    if base.quantisation != "none":
        _keep_gradients(model)
    if start is None:
        return _fresh(model, base, settings)
    refuse_unlike(start, settings)
    return PeftModel.from_pretrained(model, str(start), is_trainable=True)


def rank(settings: TrainingSettings) -> int:
    """The rank of an adapter; what the settings leave open is `DEFAULT_RANK` unless a forecast has chosen."""
    return settings.rank or DEFAULT_RANK


def alpha(settings: TrainingSettings) -> int:
    """The alpha of an adapter, twice its rank where the settings leave it open."""
    return settings.alpha or 2 * rank(settings)


def refuse_unlike(start: Path, settings: TrainingSettings) -> None:
    """Raise TrainingError when the adapter in `start` cannot be continued under these settings."""
    config = json.loads((start / "adapter_config.json").read_text(encoding="utf-8"))
    own = {
        "RANK": (config.get("r"), rank(settings)),
        "ALPHA": (config.get("lora_alpha"), alpha(settings)),
        "LORA_VARIANT": (_variant(config), settings.lora_variant),
    }
    for name, (theirs, ours) in own.items():
        if theirs != ours:
            raise TrainingError(
                f"The adapter in service cannot be continued: its {name.lower()} is {theirs}, "
                f"and the settings ask for {ours}.",
                f"Set THUMBLOOP_TRAINING__{name}={theirs}, or THUMBLOOP_TRAINING__START_FROM=fresh.",
            )


def in_full_precision(peft_model: Any) -> None:
    """The adapter's weights in fp32: small updates get lost in the bf16 that TRL gives a quantised base."""
    for parameter in peft_model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def detach(base: BaseModel, peft_model: Any) -> None:
    """Take the adapter off, and give the base model its own forward pass again."""
    peft_model.unload()
    base.model.__dict__.pop("forward", None)
    base.model.eval()


def save(peft_model: Any, base: BaseModel, folder: Path, *, weights: dict[str, Any] | None = None) -> None:
    """Write the adapter's weights and configuration, at home on every machine.

    `weights` are those of the model where it does not hold them itself, being spread over processes.
    """
    config = peft_model.peft_config[OWN]
    # the name, not a path of this machine
    config.base_model_name_or_path = base.name
    config.revision = base.revision
    config.target_modules = _short_names(peft_model, set(config.target_modules))
    peft_model.save_pretrained(
        folder,
        safe_serialization=True,
        save_embedding_layers=False,
        selected_adapters=[OWN],
        state_dict=weights,
    )


def _fresh(model: Any, base: BaseModel, settings: TrainingSettings) -> Any:
    """The model with a new adapter by the settings. Raises TrainingError when no layer matches."""
    wanted = settings.target_modules
    targets = wanted if wanted == "all-linear" else [name.strip() for name in wanted.split(",")]
    config = LoraConfig(
        r=rank(settings),
        lora_alpha=alpha(settings),
        lora_dropout=settings.dropout,
        target_modules=targets,
        use_rslora=settings.lora_variant == "rslora",
        use_dora=settings.lora_variant == "dora",
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        raise TrainingError(
            f"The model {base.name} has no layers {wanted!r} that an adapter could be put on.",
            "Set THUMBLOOP_TRAINING__TARGET_MODULES to all-linear, or to names such as q_proj,v_proj.",
        ) from error


def _variant(config: dict[str, Any]) -> str:
    return "dora" if config.get("use_dora") else "rslora" if config.get("use_rslora") else "lora"


def _keep_gradients(model: Any) -> None:
    """Keep bitsandbytes from repacking 4-bit weights for inference at the first validation on a CPU.

    What goes through packed weights has no gradient, so the layers below would be trained on a wrong one.
    """
    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.state_dict()  # what was packed already is unpacked by this
            module.support_avx512bf16_for_cpu = False


def _short_names(peft_model: Any, targets: set[str]) -> list[str]:
    """The targets by their last names where these mean the same layers, always in the same order."""
    short = {name.rpartition(".")[2] for name in targets}
    layers = [name for name, module in peft_model.named_modules() if isinstance(module, LoraLayer)]
    meant = [
        name for name, _ in peft_model.get_base_model().named_modules() if name.rpartition(".")[2] in short
    ]
    return sorted(short if len(meant) == len(layers) else targets)
