"""What a run will do and what it takes, before it starts: stages, steps, tokens, seconds, memory, reasons.

The method and its numbers come from `hyperparameters`, the memory from `memory_plan`. Seconds are estimated
from the model's operations and the rate that `machine` measured. Loads no weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from feedback.text import Text, thousands
from training.data import retrieval
from training.data.dataset import Splits, messages
from training.data.pairs import PreferencePair, Thumb, TrainingPair
from training.data.preferences import Preferences
from training.fit import hyperparameters, memory_plan
from training.fit.accelerate_config import DDP, AccelerateConfig
from training.fit.hyperparameters import ChosenMethod, Stage
from training.fit.machine import Machine
from training.fit.memory_plan import Layout, Shape
from training.settings import TrainingSettings

SAMPLE: Final = 200
"""Pairs whose tokens are counted; the others are taken to be like them."""

_FEWEST_A_PROCESS: Final[dict[Stage, int]] = {"sft": 1, "dpo": 1, "kto": 2}
"""Examples of a batch that a process needs: KTO compares an answer with a neighbour's."""
_EFFICIENCY: Final = {"cpu": 0.5, "cuda": 0.35, "mps": 0.35}
"""The share of the measured rate that a whole training step reaches."""
_LAUNCH_SECONDS: Final = {"cuda": 0.003}
"""Seconds that the CPU needs to launch the kernels of one pass through a layer, whatever the row's length.

This bounds small models (6 ms forward and back beside one H100, torch 2.11)."""

_EPOCHS: Final = Text(
    "{epochs:g} epochs of {pairs:pair|pairs} in batches of {batch}, fewer when the validation loss stops "
    "falling.",
    "{pairs:para|pary|par} w porcjach po {batch}, epoki: {epochs:g}; mniej, gdy strata walidacji przestanie "
    "spadać.",
)
_EFFORT: Final = Text(
    "{steps:step|steps}, about {tokens} tokens: about {duration}.",
    "{steps:krok|kroki|kroków}, około {tokens} tokenów: około {duration}.",
)
_SECONDS: Final = Text("{count:second|seconds}", "{count:sekundy|sekund|sekund}")
_MINUTES: Final = Text("{count:minute|minutes}", "{count:minuty|minut|minut}")
_HOURS: Final = Text("{hours:.1f} hours", "{hours:.1f} godziny")
_SHARED: Final = Text(
    "{some} {where} train together ({kind}) and share batches of {sizes} among them.",
    "{where}: {some} trenuje razem ({kind}) i dzieli między siebie porcje po {sizes}.",
)
_NOT_SHARED: Final = Text(
    "Of {most} {where} one trains: batches of {sizes} cannot be shared out.",
    "{where}: z {most} trenuje jeden, bo porcji po {sizes} nie da się podzielić.",
)
_OF: Final = Text("{used} of {most}", "{used} z {most}")
_GPUS: Final = Text("GPUs", "GPU")
_PROCESSES: Final = Text("processes", "Procesy")
_SIZE: Final = Text("{batch} examples ({stage})", "{batch} przykładów ({stage})")
_AND: Final = Text("{one} and {other}", "{one} i {other}")


@dataclass(frozen=True)
class Forecast:
    """What a run will do, what that is expected to take, and why.

    `settings` are the given ones, with what memory decides filled in. `reasons` are sentences. Memory is that
    of one of the `processes`.
    """

    stages: tuple[Stage, ...]
    settings: TrainingSettings
    row_tokens: int
    checkpointing: bool
    epochs: float
    steps: int
    tokens: int
    seconds: float
    peak_mib: int
    free_mib: int
    reasons: list[Text] = field(default_factory=list)
    processes: int = 1
    config: AccelerateConfig = DDP

    def described(self) -> dict[str, Any]:
        """As the record keeps it."""
        return {
            "stages": list(self.stages),
            "quantisation": self.settings.quantisation,
            "rank": self.settings.rank,
            "alpha": self.settings.alpha,
            "row_tokens": self.row_tokens,
            "checkpointing": self.checkpointing,
            "processes": self.processes,
            "epochs": self.epochs,
            "steps": self.steps,
            "tokens": self.tokens,
            "seconds": round(self.seconds),
            "peak_mib": self.peak_mib,
            "free_mib": self.free_mib,
            "reasons": [reason._asdict() for reason in self.reasons],
        }


class Effort(NamedTuple):
    """What a stage takes: optimiser steps, tokens through the model, seconds in one process."""

    steps: int
    tokens: float
    seconds: float


def forecast(
    method: ChosenMethod,
    splits: Splits,
    preferences: Preferences,
    settings: TrainingSettings,
    *,
    machine: Machine,
    shape: Shape,
    tokenizer: Any,
) -> Forecast:
    """Fit the run to the machine's memory, and estimate what it takes.

    Where nothing fits, the smallest layout is tried, and the forecast says so. Raises TrainingError.
    """
    lengths = _lengths(tokenizer, splits.train, settings.max_tokens)
    batches = _batches(method, splits, preferences, settings)
    most = machine.processes
    machine = replace(machine, processes=_processes_with_work(batches, machine))
    plan = memory_plan.fit(settings, machine, shape, max((length.tokens for length in lengths), default=0))
    layout = plan.layout
    settings = settings.model_copy(
        update={
            "quantisation": layout.quantisation,
            "rank": layout.rank,
            "alpha": settings.alpha or 2 * layout.rank,
        }
    )
    numbers = hyperparameters.for_sft(len(splits.train), settings, width=shape.hidden)
    efforts = []
    for stage in method.stages:
        if stage == "sft":
            beside = _replayed_tokens(tokenizer, settings) + _contrasted_tokens(
                tokenizer, splits.train, settings
            )
            efforts.append(_sft_effort(numbers, splits, lengths, beside, machine, shape, layout))
            continue
        examples = preferences.pairs["train"] if stage == "dpo" else preferences.thumbs["train"]
        efforts.append(_preference_effort(stage, examples, settings, machine, shape, layout, tokenizer))
    steps = sum(effort.steps for effort in efforts)
    tokens = sum(effort.tokens for effort in efforts)
    seconds = sum(effort.seconds for effort in efforts)
    if machine.device == "cuda":
        seconds /= machine.processes
    reasons = [method.why, *plan.reasons]
    if most > 1:
        reasons.append(_sharing(batches, machine, most))
    if "sft" in method.stages:
        reasons.append(
            _EPOCHS.filled(epochs=numbers.epochs, pairs=len(splits.train), batch=numbers.batch_size)
        )
    reasons.append(_EFFORT.filled(steps=steps, tokens=thousands(tokens), duration=_duration(seconds)))
    return Forecast(
        stages=method.stages,
        settings=settings,
        row_tokens=layout.row_tokens,
        checkpointing=layout.checkpointing,
        epochs=numbers.epochs,
        steps=steps,
        tokens=round(tokens),
        seconds=seconds,
        peak_mib=round(plan.peak_mib),
        free_mib=round(machine.free_mib),
        reasons=reasons,
        processes=machine.processes,
        config=machine.config,
    )


def _sft_effort(
    numbers: hyperparameters.SftHyperparameters,
    splits: Splits,
    lengths: Sequence[_Length],
    beside: float,
    machine: Machine,
    shape: Shape,
    layout: Layout,
) -> Effort:
    """What supervised training takes; whichever is slower counts, computing or launching kernels.

    `beside` are the tokens of each step that are not the batch's: replayed text, and answers that compete.
    """
    mean = _mean([length.tokens for length in lengths])
    answer = _mean([length.answer for length in lengths])
    steps = math.ceil(math.ceil(len(splits.train) / numbers.batch_size) * numbers.epochs)
    tokens = mean * len(splits.train) * numbers.epochs + beside * steps
    validated = mean * len(splits.validation) * numbers.epochs / 3  # forward only
    seconds = max(
        (tokens + validated) * _seconds_per_token(shape, machine, layout, answer / max(mean, 1)),
        steps * _launch_seconds(shape, machine, layout, numbers.batch_size * mean + beside),
    )
    return Effort(steps, tokens, seconds)


def _replayed_tokens(tokenizer: Any, settings: TrainingSettings) -> float:
    """Tokens of general text that a step replays."""
    from training.fit import replay

    if not settings.replay_weight:
        return 0.0
    lengths = _lengths(tokenizer, replay.pairs(), settings.max_tokens)
    return replay.AT_ONCE * _mean([length.tokens for length in lengths])


def _contrasted_tokens(tokenizer: Any, pairs: Sequence[TrainingPair], settings: TrainingSettings) -> float:
    """Tokens of a panel: its questions without their notes, and the beginning of every answer after each."""
    from training.fit import contrastive

    if not settings.contrast_weight:
        return 0.0
    lengths = _lengths(tokenizer, retrieval.without_notes(pairs), settings.max_tokens)
    questions = _mean([length.tokens - length.answer for length in lengths])
    begun = _mean([min(length.answer, contrastive.ANSWER_TOKENS) for length in lengths])
    return contrastive.AT_ONCE * (questions + contrastive.AT_ONCE * begun)


def _preference_effort(
    stage: hyperparameters.PreferenceMethod,
    examples: Sequence[PreferencePair | Thumb],
    settings: TrainingSettings,
    machine: Machine,
    shape: Shape,
    layout: Layout,
    tokenizer: Any,
) -> Effort:
    """What DPO or KTO takes; whichever is slower counts, computing or launching kernels."""
    numbers = hyperparameters.for_preferences(stage, len(examples), settings, width=shape.hidden)
    per_example = _tokens_per_example(stage, tokenizer, examples, settings.max_tokens)
    tokens = numbers.epochs * len(examples) * per_example
    steps = math.ceil(math.ceil(len(examples) / numbers.batch_size) * numbers.epochs)
    seconds = max(
        tokens * _seconds_per_token(shape, machine, layout, 1.0),  # TRL scores every position
        steps * _launch_seconds(shape, machine, layout, tokens / steps),
    )
    return Effort(steps, tokens, seconds)


class _Length(NamedTuple):
    tokens: int
    answer: int


def _batches(
    method: ChosenMethod, splits: Splits, preferences: Preferences, settings: TrainingSettings
) -> dict[Stage, int]:
    """The examples of an optimiser step by stage."""
    sizes: dict[Stage, int] = {}
    for stage in method.stages:
        if stage == "sft":
            sizes[stage] = hyperparameters.for_sft(len(splits.train), settings).batch_size
        else:
            examples = preferences.pairs["train"] if stage == "dpo" else preferences.thumbs["train"]
            sizes[stage] = hyperparameters.for_preferences(stage, len(examples), settings).batch_size
    return sizes


def _processes_with_work(batches: dict[Stage, int], machine: Machine) -> int:
    """The most processes that all have work in every step, so that a step is the same as in one process.

    TRL's trainers need equal shares; ours, for SFT, does not. A sharded model needs all of them.
    """

    def fits(processes: int) -> bool:
        return all(
            batch >= processes if stage == "sft" else batch % (processes * _FEWEST_A_PROCESS[stage]) == 0
            for stage, batch in batches.items()
        )

    if machine.config.sharded:
        return machine.processes
    return next((count for count in range(machine.processes, 1, -1) if fits(count)), 1)


def _sharing(batches: dict[Stage, int], machine: Machine, most: int) -> Text:
    sizes = [_SIZE.filled(batch=batch, stage=stage.upper()) for stage, batch in batches.items()]
    both = sizes[0] if len(sizes) == 1 else _AND.filled(one=sizes[0], other=sizes[1])
    where = _GPUS if machine.device == "cuda" else _PROCESSES
    if machine.processes == 1:
        return _NOT_SHARED.filled(most=most, where=where, sizes=both)
    some = _OF.filled(used=machine.processes, most=most) if machine.processes < most else str(most)
    return _SHARED.filled(some=some, where=where, kind=machine.config.kind, sizes=both)


def _seconds_per_token(shape: Shape, machine: Machine, layout: Layout, answered: float) -> float:
    """Forward, and backward through the activations; the weights themselves get no gradient.

    `answered` is the share of positions where the vocabulary is scored.
    """
    passes = 3 if layout.checkpointing else 2
    lora = 3 * layout.rank * shape.adapted
    scored = 2 * answered * shape.hidden * shape.vocabulary
    return (passes * shape.linear + lora + scored) / (machine.rate * _EFFICIENCY[machine.device])


def _launch_seconds(shape: Shape, machine: Machine, layout: Layout, batch_tokens: float) -> float:
    """The least that an optimiser step takes, however quick the device is."""
    rows = max(1, math.ceil(batch_tokens / layout.row_tokens))
    passes = 3 if layout.checkpointing else 2
    return rows * passes * shape.layers * _LAUNCH_SECONDS.get(machine.device, 0.0)


def _lengths(tokenizer: Any, pairs: Sequence[TrainingPair], max_tokens: int) -> list[_Length]:
    """Tokens of whole examples and of their answers, of at most `SAMPLE` pairs from all over."""
    from training.model.chat_format import IGNORED, training_example

    every = max(1, len(pairs) // SAMPLE)
    examples = [training_example(tokenizer, messages(pair)) for pair in pairs[::every]]
    return [
        _Length(len(example.token_ids), sum(label != IGNORED for label in example.labels))
        for example in examples
        if len(example.token_ids) <= max_tokens
    ]


def _tokens_per_example(
    stage: Stage, tokenizer: Any, examples: Sequence[PreferencePair | Thumb], max_tokens: int
) -> float:
    """Tokens that an example puts through the model, in those of a training step (three forward passes).

    DPO trains on both answers and asks the reference about both; KTO trains on one and asks both models about
    a neighbour's as well.
    """
    answered = [
        pair
        for one in examples
        for pair in (
            [one.answered(one.chosen), one.answered(one.rejected)]
            if isinstance(one, PreferencePair)
            else [one.pair()]
        )
    ]
    mean = _mean([length.tokens for length in _lengths(tokenizer, answered, max_tokens)])
    return mean * (2 * 4 / 3 if stage == "dpo" else 2)


def _duration(seconds: float) -> Text:
    if seconds < 90:
        return _SECONDS.filled(count=max(1, round(seconds)))
    minutes = seconds / 60
    return _MINUTES.filled(count=round(minutes)) if minutes < 90 else _HOURS.filled(hours=minutes / 60)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
