"""How a training fits into the memory at hand: precision of the base, LoRA rank, row length, checkpointing.

`fit` takes the best layout whose estimated peak fits. Bytes are estimated by the model's shapes, which are
read from its configuration; no weights are loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from training.errors import TrainingError
from training.fit.hyperparameters import ROW_TOKENS
from training.fit.machine import Machine
from training.settings import DEFAULT_RANK, Quantisation, TrainingSettings

SHARE_OF_MEMORY: Final = 0.9
"""How much of the memory that is free now a run may plan with."""

_BYTES: Final = {"none": 0.0, "8bit": 1.0, "4bit": 0.52}
"""Bytes of a quantised weight; four bits with their doubly quantised constants (Dettmers et al. 2023)."""
_PROCESS_MIB: Final = {"cpu": 900, "cuda": 500, "mps": 500}
"""What the libraries take before there is a model: of the process on a CPU, of the device elsewhere."""
_KEPT_OF_HIDDEN: Final = 14
_KEPT_OF_INTERMEDIATE: Final = 5
"""Numbers that a layer keeps for the backward pass, in hidden and intermediate sizes a token."""


@dataclass(frozen=True)
class Shape:
    """A model's weights by what they do; `adapted` are inputs plus outputs of all layers that get LoRA."""

    linear: int
    other: int
    layers: int
    hidden: int
    intermediate: int
    vocabulary: int
    adapted: int

    @property
    def weights(self) -> int:
        """All of them."""
        return self.linear + self.other


class Layout(NamedTuple):
    """What decides how much memory a training takes."""

    quantisation: Quantisation
    rank: int
    row_tokens: int
    checkpointing: bool


@dataclass(frozen=True)
class MemoryPlan:
    """The layout that a training gets, its estimated peak in MiB, and the sentences that say why."""

    layout: Layout
    peak_mib: float
    reasons: list[str]


def fit(settings: TrainingSettings, machine: Machine, shape: Shape, longest: int) -> MemoryPlan:
    """The best layout that fits into the machine's free memory; `longest` is the longest example, in tokens.

    Of what fits, the first in this order: shorter rows, then activations computed twice, then a base of four
    bits, then half the rank. Where nothing fits, the smallest is taken, and the reasons say so. Raises
    TrainingError for a quantisation that cannot be spread over processes.
    """
    allowed = SHARE_OF_MEMORY * machine.free_mib
    layouts = _layouts(settings, machine)
    peaks = [_peak_mib(layout, shape, machine, longest) for layout in layouts]
    chosen = next((index for index, peak in enumerate(peaks) if peak <= allowed), -1)
    layout, peak = layouts[chosen], peaks[chosen]
    reasons = [_summary(layout, peak, shape, machine)]
    saved = _savings(layout, layouts[0])
    if saved:
        reasons.append(f"To fit, {', '.join(saved)}.")
    if peak > allowed:
        reasons.append("That may be more than there is: free some memory, or choose a smaller model.")
    return MemoryPlan(layout, peak, reasons)


def read_shape(folder: Path, settings: TrainingSettings) -> Shape:
    """The shape of the model in `folder`, read from its configuration; no weights are loaded."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    head = model.get_output_embeddings()
    wanted = {name.strip() for name in settings.target_modules.split(",")}
    linear = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    }
    in_linear = sum(module.weight.numel() for module in linear.values())
    text: Any = config.get_text_config()
    return Shape(
        linear=in_linear,
        other=sum(weight.numel() for weight in model.parameters()) - in_linear,
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        intermediate=getattr(text, "intermediate_size", None) or 4 * text.hidden_size,
        vocabulary=text.vocab_size,
        adapted=sum(
            module.in_features + module.out_features
            for name, module in linear.items()
            if settings.target_modules == "all-linear" or name.rpartition(".")[2] in wanted
        ),
    )


def _layouts(settings: TrainingSettings, machine: Machine) -> list[Layout]:
    """What may be tried, the best first."""
    given = settings.quantisation
    kinds: tuple[Quantisation, ...] = ("none", "4bit") if given == "auto" else (given,)
    if machine.config.sharded:
        if given in ("8bit", "4bit"):
            raise TrainingError(
                f"{machine.config.kind} does not share out a base model of {given[0]} bits.",
                "Set THUMBLOOP_TRAINING__QUANTISATION=none, or leave THUMBLOOP_TRAINING__ACCELERATE_CONFIG "
                "empty: then every GPU holds all of it.",
            )
        kinds = ("none",)
    rank = settings.rank or DEFAULT_RANK
    row = ROW_TOKENS[machine.device]
    layouts = [
        Layout(kind, rank, row // shorter, checkpointing)
        for kind in kinds
        for checkpointing in (False, True)
        for shorter in (1, 2, 4)
    ]
    return layouts if settings.rank else [*layouts, layouts[-1]._replace(rank=rank // 2)]


def _peak_mib(layout: Layout, shape: Shape, machine: Machine, longest: int) -> float:
    """The most memory that a run holds at once, in MiB."""
    width = 4 if machine.precision == "fp32" else 2
    weights = shape.other * width + shape.linear * (_BYTES[layout.quantisation] or width)
    if machine.config.sharded:
        weights /= machine.processes
    # in fp32: the adapter, its gradient and two moments of Adam
    adapter = 16 * layout.rank * shape.adapted
    row = max(layout.row_tokens, longest)
    of_a_layer = row * width * (_KEPT_OF_HIDDEN * shape.hidden + _KEPT_OF_INTERMEDIATE * shape.intermediate)
    kept = (
        of_a_layer + shape.layers * row * width * shape.hidden
        if layout.checkpointing
        else shape.layers * of_a_layer
    )
    # where an answer's tokens are predicted: logits, their softmax in fp32 and its gradient
    scored = row / 2 * shape.vocabulary * (width + 8)
    return _PROCESS_MIB[machine.device] + (weights + adapter + kept + scored) / 2**20


def _summary(layout: Layout, peak: float, shape: Shape, machine: Machine) -> str:
    weights = "16 bits" if machine.precision != "fp32" else "32 bits"
    where = (
        machine.device
        if machine.processes == 1
        else f"{machine.device}, each of {machine.processes} processes"
    )
    kind = {"none": f"in {weights}", "8bit": "in 8 bits", "4bit": "in 4 bits (NF4)"}[layout.quantisation]
    return (
        f"{shape.weights / 1e6:,.0f} million weights {kind}, LoRA of rank {layout.rank}, rows of "
        f"{layout.row_tokens} tokens: about {peak:,.0f} of {machine.free_mib:,.0f} MiB free ({where})."
    )


def _savings(layout: Layout, best: Layout) -> list[str]:
    """What `layout` gives up beside the best one."""
    saved = {
        f"rows are shorter than {best.row_tokens} tokens": layout.row_tokens < best.row_tokens,
        "activations are computed twice instead of kept": layout.checkpointing,
        "the base is held in 4 bits": layout.quantisation != best.quantisation,
        f"the rank is not {best.rank}": layout.rank < best.rank,
    }
    return [text for text, differs in saved.items() if differs]
