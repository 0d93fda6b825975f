"""An adapter's fingerprint: what base model and adapter say to a few probe prompts, in figures.

Training records it next to the adapter (`record`); whoever serves the adapter computes the same figures by
its own forward pass and compares (`difference`). So the adapter served is the adapter trained, on the base
model that it was trained on. The probes are stored as token ids: checking needs no tokenizer.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from training.errors import AdapterError
from training.model.chat_format import prompt_token_ids

FILE_NAME: Final = "fingerprint.json"
_FORMAT = 1
_TOP = 8
_PROBES = (
    "What can you help me with?",
    "How do I reset my password?",
    "Jak mogę zgłosić błąd? Wypisz kroki.",
)
_TOLERANCE: Final = {
    "float32": 0.02,
    "float16": 0.08,
    "bfloat16": 0.25,
    "int8": 0.35,  # the default model's probes are off by up to 0.1 in 8 bits
    "int4": 0.8,
    "quantised": 0.8,
}
"""How far a figure may be off, in standard deviations of the logits, by the coarser precision of both."""
_NO_CHANGE: Final = {
    "float32": 1e-4,
    "float16": 2e-3,
    "bfloat16": 1e-2,
    "int8": 1e-4,  # with and without the adapter on the same weights, in 32 bits
    "int4": 1e-4,
    "quantised": 2e-2,
}
"""A change of every logit below this, in the same unit, is rounding: the adapter changes nothing."""

NOT_FINITE: Final = "the model computes no finite numbers any more"


@dataclass(frozen=True)
class Summary:
    """The logits after one probe: the most likely tokens with their logits, and mean and deviation of all."""

    top_ids: tuple[int, ...]
    top_logits: tuple[float, ...]
    mean: float
    deviation: float


@dataclass(frozen=True)
class Probe:
    """One probe prompt and what base model and adapter said to it."""

    token_ids: tuple[int, ...]
    base: Summary
    adapter: Summary


@dataclass(frozen=True)
class Fingerprint:
    """The probes of one adapter and the precision in which they were recorded."""

    precision: str
    probes: tuple[Probe, ...]


def probe_prompts(tokenizer: PreTrainedTokenizerBase) -> list[tuple[int, ...]]:
    """The probe prompts as token ids."""
    return [tuple(prompt_token_ids(tokenizer, [{"role": "user", "content": text}])) for text in _PROBES]


def precision_of(model: Any) -> str:
    """The precision in which `model` computes, as fingerprints name it."""
    if (bits := getattr(model, "bits", None)) is not None:
        return f"int{bits}"
    if getattr(model, "is_quantized", False) or getattr(model, "quantization_method", None):
        return "quantised"
    return str(model.dtype).removeprefix("torch.")


def summary(logits: Tensor) -> Summary:
    """Summarise [vocabulary] logits."""
    wide = logits.detach().float().cpu()
    top = torch.topk(wide, min(_TOP, wide.shape[0]))
    return Summary(
        tuple(top.indices.tolist()),
        tuple(round(v, 5) for v in top.values.tolist()),
        round(float(wide.mean()), 5),
        round(float(wide.std()), 5),
    )


def record(peft_model: Any, tokenizer: PreTrainedTokenizerBase, folder: Path) -> Fingerprint:
    """Write the fingerprint of the active adapter of `peft_model` into the adapter's `folder`.

    Raises AdapterError when the adapter changes nothing, or what it says is no numbers: there is nothing to
    serve then.
    """
    probes: list[Probe] = []
    precision = precision_of(peft_model.get_base_model())
    trained = peft_model.training
    peft_model.eval()
    changed = False
    finite = True
    try:
        with torch.inference_mode():
            for token_ids in probe_prompts(tokenizer):
                ids = torch.tensor([token_ids], device=peft_model.device)
                adapter = peft_model(input_ids=ids).logits[0, -1]
                with peft_model.disable_adapter():
                    base = peft_model(input_ids=ids).logits[0, -1]
                finite = finite and is_finite(adapter)
                changed = changed or changes_anything(base, adapter, precision)
                probes.append(Probe(token_ids, summary(base), summary(adapter)))
    finally:
        peft_model.train(trained)
    if not finite:
        raise AdapterError(f"With the adapter {NOT_FINITE}.", "Its weights are damaged; train it again.")
    if not changed:
        raise AdapterError("The adapter changes nothing that the base model says.", "Train it for longer.")
    fingerprint = Fingerprint(precision, tuple(probes))
    content = {"format": _FORMAT, **asdict(fingerprint)}
    (folder / FILE_NAME).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return fingerprint


def read(folder: Path) -> Fingerprint | None:
    """The fingerprint in `folder`, or None when there is none. Raises AdapterError when it cannot be read."""
    try:
        content = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
        if content["format"] != _FORMAT:
            raise ValueError(f"format {content['format']}")
        probes = tuple(
            Probe(tuple(map(int, p["token_ids"])), _summary_from(p["base"]), _summary_from(p["adapter"]))
            for p in content["probes"]
        )
        if not probes:
            raise ValueError("no probes")
        return Fingerprint(str(content["precision"]), probes)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AdapterError(
            f"The fingerprint {FILE_NAME} in {folder} cannot be read.", "Train the adapter again."
        ) from error


def _summary_from(content: dict[str, Any]) -> Summary:
    return Summary(
        tuple(int(i) for i in content["top_ids"]),
        tuple(float(v) for v in content["top_logits"]),
        float(content["mean"]),
        float(content["deviation"]),
    )


def is_finite(logits: Tensor) -> bool:
    """Whether logits are numbers that something can be said by."""
    return bool(logits.isfinite().all())


def changes_anything(base: Tensor, adapter: Tensor, precision: str) -> bool:
    """Whether two [vocabulary] logits differ by more than rounding."""
    wide = base.float()
    change = (adapter.float() - wide).abs().max() / wide.std().clamp_min(1e-6)
    return bool(change > _NO_CHANGE.get(precision, _NO_CHANGE["quantised"]))


def difference(
    fingerprint: Fingerprint, base: Sequence[Tensor], adapter: Sequence[Tensor], precision: str
) -> str | None:
    """Why the measured logits are not those of `fingerprint`; None when they are.

    One [vocabulary] tensor a probe; `precision` is the one they were measured in; the tolerance is that of
    the coarser of both.
    """
    if (reason := base_difference(fingerprint, base, precision)) is not None:
        return reason
    if not all(map(is_finite, adapter)):
        return f"with it {NOT_FINITE}"
    allowed = _allowed(fingerprint, precision)
    for probe, logits in zip(fingerprint.probes, adapter, strict=True):
        if (off := _off(probe.adapter, logits)) > allowed:
            return f"it does not say what it said when trained (off by {off:.2f}, allowed {allowed:.2f})"
    if not any(changes_anything(b, a, precision) for b, a in zip(base, adapter, strict=True)):
        return "it changes nothing that the base model says"
    return None


def base_difference(fingerprint: Fingerprint, base: Sequence[Tensor], precision: str) -> str | None:
    """As `difference`, for the base model alone."""
    allowed = _allowed(fingerprint, precision)
    for probe, logits in zip(fingerprint.probes, base, strict=True):
        if (off := _off(probe.base, logits)) > allowed:
            return f"it was trained on another base model (off by {off:.2f}, allowed {allowed:.2f})"
    return None


def _allowed(fingerprint: Fingerprint, precision: str) -> float:
    loosest = _TOLERANCE["quantised"]
    return max(_TOLERANCE.get(fingerprint.precision, loosest), _TOLERANCE.get(precision, loosest))


def _off(recorded: Summary, logits: Tensor) -> float:
    """The largest deviation from `recorded`, in standard deviations of its logits."""
    if max(recorded.top_ids) >= logits.shape[0]:
        return float("inf")
    wide = logits.float().cpu()
    then = torch.tensor([*recorded.top_logits, recorded.mean, recorded.deviation])
    now = torch.cat((wide[list(recorded.top_ids)], wide.mean()[None], wide.std()[None]))
    return float((now - then).abs().max()) / max(recorded.deviation, 1e-6)
