"""What an adapter's `adapter_config.json` must not ask for, to be served as peft would compute it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_UNSUPPORTED: Final[Mapping[str, str]] = {
    "use_dora": "it is a DoRA adapter, and only plain LoRA is served",
    "use_qalora": "it is a QALoRA adapter, and only plain LoRA is served",
    "lora_bias": "it trains biases of its LoRA layers (lora_bias)",
    "modules_to_save": "it replaces whole modules (modules_to_save)",
    "trainable_token_indices": "it trains token embeddings (trainable_token_indices)",
    "target_parameters": "it targets bare parameters (target_parameters)",
    "layer_replication": "it replicates layers (layer_replication)",
    "alora_invocation_tokens": "it switches on by invocation tokens (aLoRA)",
    "arrow_config": "it routes between adapters (Arrow)",
    "monteclora_config": "it samples its weights (MonteCLoRA)",
}
_INITS_THAT_LEAVE_THE_BASE: Final = (True, False, "gaussian", "eva", "orthogonal", None)


def leaves_base_alone(config: Mapping[str, Any]) -> bool:
    """Whether the adapter began without changing the base model's weights; PiSSA and its like change them."""
    return config.get("init_lora_weights", True) in _INITS_THAT_LEAVE_THE_BASE


def why_not(config: Mapping[str, Any]) -> str | None:
    """The reason, for a person and without a full stop, why this is no plain LoRA; None when it is one."""
    if config.get("peft_type") != "LORA":
        return f"it is of type {config.get('peft_type')}, and only LORA is served"
    for name, reason in _UNSUPPORTED.items():
        if config.get(name):
            return reason
    if config.get("bias", "none") != "none":
        return f"it trains the base model's biases (bias={config['bias']!r})"
    if not leaves_base_alone(config):
        return (
            f"its initialisation {config['init_lora_weights']!r} changes the base model's weights; "
            "convert it to plain LoRA with peft when saving it"
        )
    return None
