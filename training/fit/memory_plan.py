"""How a training fits into the memory at hand: precision of the base, LoRA rank, row length, checkpointing.

`fit` takes the best layout whose estimated peak fits. Bytes are estimated by the model's shapes, which are
read from its configuration; no weights are loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from feedback.text import Text, thousands
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


_SUMMARY: Final = Text(
    "{weights} million weights {kind}, LoRA of rank {rank}, rows of {row} tokens: about {peak} of {free} MiB "
    "free ({where}).",
    "{weights} mln wag {kind}, LoRA rzędu {rank}, wiersze po {row} tokenów: około {peak} z {free} MiB wolnej "
    "pamięci ({where}).",
)
_IN_BITS: Final = Text("in {bits} bits", "w {bits} bitach")
_IN_FOUR_BITS: Final = Text("in 4 bits (NF4)", "w 4 bitach (NF4)")
_EACH_PROCESS: Final = Text(
    "{device}, each of {processes} processes", "{device}, każdy z {processes} procesów"
)
_TO_FIT: Final = Text("To fit, {saved}.", "Żeby się zmieścić: {saved}.")
_SHORTER_ROWS: Final = Text("rows are shorter than {tokens} tokens", "wiersze krótsze niż {tokens} tokenów")
_COMPUTED_TWICE: Final = Text(
    "activations are computed twice instead of kept", "aktywacje liczone dwa razy zamiast przechowywanych"
)
_BASE_IN_FOUR_BITS: Final = Text("the base is held in 4 bits", "model bazowy w 4 bitach")
_SMALLER_RANK: Final = Text("the rank is not {rank}", "rząd mniejszy niż {rank}")
_TOO_MUCH: Final = Text(
    "That may be more than there is: free some memory, or choose a smaller model.",
    "To może być więcej, niż jest: zwolnij pamięć albo wybierz mniejszy model.",
)


@dataclass(frozen=True)
class MemoryPlan:
    """The layout that a training gets, its estimated peak in MiB, and the sentences that say why."""

    layout: Layout
    peak_mib: float
    reasons: list[Text]


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
        reasons.append(_TO_FIT.filled(saved=Text(*map(", ".join, zip(*saved, strict=True)))))
    if peak > allowed:
        reasons.append(_TOO_MUCH)
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


def _summary(layout: Layout, peak: float, shape: Shape, machine: Machine) -> Text:
    bits = {"none": 32 if machine.precision == "fp32" else 16, "8bit": 8}.get(layout.quantisation)
    where = Text(machine.device, machine.device)
    if machine.processes > 1:
        where = _EACH_PROCESS.filled(device=machine.device, processes=machine.processes)
    return _SUMMARY.filled(
        weights=thousands(shape.weights / 1e6),
        kind=_IN_BITS.filled(bits=bits) if bits else _IN_FOUR_BITS,
        rank=layout.rank,
        row=layout.row_tokens,
        peak=thousands(peak),
        free=thousands(machine.free_mib),
        where=where,
    )


def _savings(layout: Layout, best: Layout) -> list[Text]:
    """What `layout` gives up beside the best one."""
    saved = {
        _SHORTER_ROWS.filled(tokens=best.row_tokens): layout.row_tokens < best.row_tokens,
        _COMPUTED_TWICE: layout.checkpointing,
        _BASE_IN_FOUR_BITS: layout.quantisation != best.quantisation,
        _SMALLER_RANK.filled(rank=best.rank): layout.rank < best.rank,
    }
    return [text for text, differs in saved.items() if differs]
