"""What a run will do, before it does it: method, numbers, seconds and memory, each with its reason.

`plan` chooses what the settings leave open by the number of pairs, `choose_method` by what there is to learn
from, `forecast` fits the rest to the memory at hand. Memory and time are estimates: bytes by the model's
shapes, seconds by its operations and a rate measured here. Loads no weights.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import psutil

from training.data.dataset import Splits, messages
from training.data.pairs import PreferencePair, Thumb, TrainingPair
from training.data.preferences import Preferences
from training.errors import TrainingError
from training.fit import accelerate_config
from training.fit.accelerate_config import DDP, AccelerateConfig
from training.model.base_model import usable_device, usable_precision
from training.settings import Quantisation, TrainingSettings

PreferenceMethod = Literal["dpo", "kto"]
Stage = Literal["sft", "dpo", "kto"]

ROW_TOKENS: Final = {"cpu": 1024, "mps": 2048, "cuda": 4096}
"""Tokens of a packed row by device: enough to fill the device, few enough that attention stays cheap."""
FEWEST_PREFERENCES: Final = 50
"""Preference pairs from which on `auto` lets DPO follow."""
FEWEST_VOTES: Final = 100
"""Thumbs without a review from which on `auto` may choose KTO; a tenth of them must be of either kind."""
VOTES_PER_PAIR: Final = 5
"""How many times more thumbs than approved pairs make them the better teacher."""
RANK: Final = 16
"""The LoRA rank where the settings leave it open, halved where memory is short."""
SHARE_OF_MEMORY: Final = 0.9
"""How much of the memory that is free now a run may plan with."""
SAMPLE: Final = 200
"""Pairs whose tokens are counted; the others are taken to be like them."""


@dataclass(frozen=True)
class Plan:
    """The numbers of a run.

    `learning_rate` is the peak, `batch_size` the pairs of an optimiser step, `warmup` the share of steps that
    rise to the peak, `patience` the validations without improvement after which the run ends, `row_tokens`
    the most tokens that go through the model at once, `checkpointing` whether activations are computed again
    in the backward pass instead of being kept. `fewer_at_once`: by how many times fewer pairs go through the
    model at once than fit into a row, where memory has run out before.
    """

    learning_rate: float
    epochs: float
    batch_size: int
    warmup: float
    patience: int
    row_tokens: int = ROW_TOKENS["cpu"]
    checkpointing: bool = False
    fewer_at_once: int = 1


_BY_PAIRS: Final = (
    # fewer pairs than, learning rate at WIDTH, epochs, batch size
    (40, 2e-3, 8, 4),
    (120, 3e-3, 5, 4),
    (400, 3e-3, 3, 4),
    (1500, 2e-3, 3, 16),
    (math.inf, 1e-3, 3, 32),
)
WIDTH: Final = 576
"""The hidden size of the default model, on which the learning rates above were tried."""


def plan(
    pairs: int,
    settings: TrainingSettings,
    *,
    width: int = WIDTH,
    row_tokens: int = ROW_TOKENS["cpu"],
    checkpointing: bool = False,
) -> Plan:
    """What the settings leave open, chosen by the number of pairs that are trained on.

    | pairs     | learning rate | epochs | batch |
    | --------- | ------------- | ------ | ----- |
    | below 40  | 2e-3          | 8      | 4     |
    | below 120 | 3e-3          | 5      | 4     |
    | below 400 | 3e-3          | 3      | 4     |
    | below 1500| 2e-3          | 3      | 16    |
    | more      | 1e-3          | 3      | 32    |

    Few pairs make few steps, so each step must go further; early stopping ends the run when it goes too far.
    Measured with the default model on 178 pairs in batches of 4, loss on 68 held-out paraphrases: 1e-3 for 2
    epochs 1.67, 2e-3 1.01, 3e-3 0.79, 5e-3 0.66; 3e-3 for 3 epochs 0.33; the base model 4.34.
    `width` is the model's hidden size: the best rate falls with it, about as its power of -0.78 (Schulman et
    al. 2025), so a model of width 4096 learns at a rate of 2e-4 from many pairs.
    """
    _, learning_rate, epochs, batch_size = next(row for row in _BY_PAIRS if pairs < row[0])
    return Plan(
        learning_rate=settings.learning_rate or learning_rate * min(1.0, (WIDTH / width) ** 0.78),
        epochs=settings.epochs or epochs,
        batch_size=min(settings.batch_size or batch_size, max(pairs, 1)),
        warmup=0.1,
        patience=settings.patience,
        row_tokens=row_tokens,
        checkpointing=checkpointing,
    )


_BY_EXAMPLES: Final = (
    # fewer examples than, learning rate at WIDTH, epochs, batch size, beta
    (40, 5e-4, 3, 4, 0.3),
    (400, 3e-4, 3, 8, 0.2),
    (2000, 2e-4, 2, 16, 0.1),
    (math.inf, 1e-4, 1, 32, 0.1),
)


@dataclass(frozen=True)
class PreferencePlan:
    """The numbers of a preference training; `batch_size` counts examples of an optimiser step."""

    method: PreferenceMethod
    beta: float
    learning_rate: float
    epochs: float
    batch_size: int
    patience: int
    fewer_at_once: int = 1


def plan_preferences(
    method: PreferenceMethod, examples: int, settings: TrainingSettings, *, width: int = WIDTH
) -> PreferencePlan:
    """What the settings leave open, chosen by the number of examples that are trained on.

    | examples   | learning rate | epochs | batch | beta |
    | ---------- | ------------- | ------ | ----- | ---- |
    | below 40   | 5e-4          | 3      | 4     | 0.3  |
    | below 400  | 3e-4          | 3      | 8     | 0.2  |
    | below 2000 | 2e-4          | 2      | 16    | 0.1  |
    | more       | 1e-4          | 1      | 32    | 0.1  |

    `width` is the model's hidden size: the rate falls with it as it does in `plan`.
    """
    _, learning_rate, epochs, batch_size, beta = next(row for row in _BY_EXAMPLES if examples < row[0])
    return PreferencePlan(
        method=method,
        beta=settings.preference_beta or beta,
        learning_rate=settings.preference_learning_rate or learning_rate * min(1.0, (WIDTH / width) ** 0.78),
        epochs=settings.preference_epochs or epochs,
        batch_size=min(settings.batch_size or batch_size, max(examples, 1)),
        patience=settings.patience,
    )


class Chosen(NamedTuple):
    """The trainings of a run in their order, and the sentence that says why."""

    stages: tuple[Stage, ...]
    why: str


def choose_method(splits: Splits, preferences: Preferences, settings: TrainingSettings) -> Chosen:
    """What the settings say, or (auto) what there is the most to learn from. Raises TrainingError.

    DPO needs a model that answers acceptably already, so it follows SFT, unless it goes on from an adapter.
    """
    approved = len(splits.train)
    pairs = len(preferences.pairs["train"])
    kinds = [sum(thumb.desirable is kind for thumb in preferences.thumbs["train"]) for kind in (True, False)]
    thumbs = sum(kinds)
    goes_on = settings.start_from == "current"
    if settings.method == "dpo":
        if not pairs:
            raise TrainingError(
                "There is no answer preferred over another to train on by dpo.",
                "Edit answers in the review, or regenerate some and vote on both; "
                "or set THUMBLOOP_TRAINING__METHOD=auto.",
            )
        return Chosen(("dpo",) if goes_on else ("sft", "dpo"), f"DPO on {pairs} pairs, because it is set.")
    if settings.method == "kto":
        if min(kinds) == 0:
            raise TrainingError(
                f"KTO learns from good and bad answers; there are {kinds[0]} good and {kinds[1]} bad ones.",
                "Wait for votes of either kind, or set THUMBLOOP_TRAINING__METHOD=auto.",
            )
        return Chosen(("kto",), f"KTO on {thumbs} thumbs, because it is set.")
    if settings.method == "sft":
        return Chosen(("sft",), f"SFT on {approved} approved pairs, because it is set.")
    votes = preferences.votes
    if votes >= max(FEWEST_VOTES, VOTES_PER_PAIR * approved) and min(kinds) >= thumbs / 10:
        return Chosen(
            ("kto",),
            f"KTO on {thumbs} thumbs ({kinds[0]} up, {kinds[1]} down): there are {votes} votes without a "
            f"review and only {approved} approved pairs.",
        )
    if pairs >= FEWEST_PREFERENCES:
        return Chosen(
            ("sft", "dpo"),
            f"SFT on {approved} approved pairs, then DPO on {pairs} answers that were preferred over others.",
        )
    return Chosen(
        ("sft",),
        f"SFT on {approved} approved pairs; DPO follows from {FEWEST_PREFERENCES} preferred answers on, and "
        f"there are {pairs}.",
    )


@dataclass(frozen=True)
class Machine:
    """What a run has here: free memory in MiB, and multiply-adds of the model's type in a second.

    Both are those of one device; up to `processes` train together, on a GPU each or on one CPU.
    """

    device: str
    precision: str
    free_mib: float
    rate: float
    processes: int = 1
    config: AccelerateConfig = DDP


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


@dataclass(frozen=True)
class Forecast:
    """What a run will do, what that is expected to take, and why.

    `settings` are those given with nothing left open that memory decides. `reasons` are sentences. Memory is
    that of one of the `processes`.
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
    reasons: list[str] = field(default_factory=list)
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
            "reasons": self.reasons,
        }


def machine(device: str, precision: str, settings: TrainingSettings) -> Machine:
    """This machine as it is now; measuring its rate takes a fraction of a second. Raises TrainingError."""
    device = usable_device(device)
    precision = usable_precision(precision, device)
    config, processes = processes_of(settings, device)
    return Machine(
        device, precision, free_mib(device, processes), _rate(device, precision), processes, config
    )


def processes_of(settings: TrainingSettings, device: str) -> tuple[AccelerateConfig, int]:
    """How the settings spread a training over this machine, and over how many processes at most.

    Raises TrainingError when it has too few GPUs, or accelerate could not use its configuration.
    """
    import torch

    config = DDP
    if settings.accelerate_config:
        config = accelerate_config.read(Path(settings.accelerate_config))
        if device != "cuda":
            raise TrainingError(
                f"{config.kind} by accelerate needs GPUs, and this machine trains on its {device}.",
                "Leave THUMBLOOP_TRAINING__ACCELERATE_CONFIG empty.",
            )
    gpus = torch.cuda.device_count() if device == "cuda" else 0
    wanted = settings.processes or config.processes or gpus or 1
    if device == "cuda" and wanted > gpus:
        raise TrainingError(
            f"{wanted} processes are to train together, and this machine has {gpus} GPUs.",
            "Lower THUMBLOOP_TRAINING__PROCESSES, or leave it at 0.",
        )
    if device == "mps" and wanted > 1:
        raise TrainingError("Only one process can train on mps.", "Set THUMBLOOP_TRAINING__PROCESSES=1.")
    return config, wanted


def free_mib(device: str, processes: int = 1) -> float:
    """Memory that each of so many processes could have now, in MiB; of a container no more than its limit."""
    import torch

    if device == "cuda":
        return min(float(torch.cuda.mem_get_info(gpu)[0]) for gpu in range(processes)) / 2**20
    free = psutil.virtual_memory().available
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        used = Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii").strip()
        free = min(free, int(limit) - int(used))
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        pass
    return float(free) / 2**20 / processes


def shape(folder: Path, settings: TrainingSettings) -> Shape:
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


def forecast(
    chosen: Chosen,
    splits: Splits,
    preferences: Preferences,
    settings: TrainingSettings,
    *,
    here: Machine,
    shape: Shape,
    tokenizer: Any,
) -> Forecast:
    """Fit quantisation, rank, row length and checkpointing to the memory of `here`, and estimate the rest.

    Of what fits, the first in this order: shorter rows, then activations computed twice, then a base of four
    bits, then half the rank. Where nothing fits, the smallest is tried, and the forecast says so.
    """
    lengths = _lengths(tokenizer, splits.train, settings.max_tokens)
    longest = max((length.tokens for length in lengths), default=0)
    allowed = SHARE_OF_MEMORY * here.free_mib
    options = _options(settings, here)
    batches = _batches(chosen, splits, preferences, settings)
    most, here = here.processes, replace(here, processes=_together(batches, here))
    fitted, needed = next(
        ((option, mib) for option in options if (mib := _peak_mib(option, shape, here, longest)) <= allowed),
        (options[-1], _peak_mib(options[-1], shape, here, longest)),
    )
    rank = fitted.rank
    settings = settings.model_copy(
        update={"quantisation": fitted.quantisation, "rank": rank, "alpha": settings.alpha or 2 * rank}
    )
    numbers = plan(len(splits.train), settings, width=shape.hidden)
    tokens, seconds, steps = 0.0, 0.0, 0
    if "sft" in chosen.stages:
        mean = _mean([length.tokens for length in lengths])
        answer = _mean([length.answer for length in lengths])
        tokens = mean * len(splits.train) * numbers.epochs
        watched = mean * len(splits.validation) * numbers.epochs / 3  # forward only
        steps += math.ceil(math.ceil(len(splits.train) / numbers.batch_size) * numbers.epochs)
        seconds += max(
            (tokens + watched) * _seconds_per_token(shape, here, fitted, answer / max(mean, 1)),
            steps * _seconds_of_calls(shape, here, fitted, numbers.batch_size * mean),
        )
    for stage in chosen.stages:
        if stage == "sft":
            continue
        examples = preferences.pairs["train"] if stage == "dpo" else preferences.thumbs["train"]
        after = plan_preferences(stage, len(examples), settings, width=shape.hidden)
        passed = after.epochs * len(examples) * _passes(stage, tokenizer, examples, settings.max_tokens)
        tokens += passed
        after_steps = math.ceil(math.ceil(len(examples) / after.batch_size) * after.epochs)
        seconds += max(
            passed * _seconds_per_token(shape, here, fitted, 1.0),  # TRL scores every position
            after_steps * _seconds_of_calls(shape, here, fitted, passed / after_steps),
        )
        steps += after_steps
    if here.device == "cuda":
        seconds /= here.processes
    reasons = [chosen.why, *_reasons(fitted, options, needed, allowed, shape, here, settings)]
    if most > 1:
        reasons.append(_shared_out(batches, here, most))
    if "sft" in chosen.stages:
        reasons.append(
            f"{numbers.epochs:g} epochs of {len(splits.train)} pairs in batches of {numbers.batch_size}, "
            "fewer when the validation loss stops falling."
        )
    reasons.append(f"{steps} steps, about {tokens:,.0f} tokens: about {_said(seconds)}.")
    return Forecast(
        stages=chosen.stages,
        settings=settings,
        row_tokens=fitted.row_tokens,
        checkpointing=fitted.checkpointing,
        epochs=numbers.epochs,
        steps=steps,
        tokens=round(tokens),
        seconds=seconds,
        peak_mib=round(needed),
        free_mib=round(here.free_mib),
        reasons=reasons,
        processes=here.processes,
        config=here.config,
    )


class _Option(NamedTuple):
    quantisation: Quantisation
    rank: int
    row_tokens: int
    checkpointing: bool


class _Length(NamedTuple):
    tokens: int
    answer: int


_FEWEST: Final[dict[Stage, int]] = {"sft": 1, "dpo": 1, "kto": 2}
"""Examples of a batch that a process needs: KTO compares an answer with a neighbour's."""


def _batches(
    chosen: Chosen, splits: Splits, preferences: Preferences, settings: TrainingSettings
) -> dict[Stage, int]:
    """The examples of an optimiser step by stage."""
    found: dict[Stage, int] = {}
    for stage in chosen.stages:
        if stage == "sft":
            found[stage] = plan(len(splits.train), settings).batch_size
        else:
            examples = preferences.pairs["train"] if stage == "dpo" else preferences.thumbs["train"]
            found[stage] = plan_preferences(stage, len(examples), settings).batch_size
    return found


def _together(batches: dict[Stage, int], here: Machine) -> int:
    """How many processes have work in every step, so that a step is the same as in one process.

    TRL's trainers need equal shares; ours, for SFT, does not. A group that shares the model out stays whole.
    """

    def fits(processes: int) -> bool:
        return all(
            batch >= processes if stage == "sft" else batch % (processes * _FEWEST[stage]) == 0
            for stage, batch in batches.items()
        )

    if here.config.sharded:
        return here.processes
    return next((count for count in range(here.processes, 1, -1) if fits(count)), 1)


def _shared_out(batches: dict[Stage, int], here: Machine, most: int) -> str:
    told = " and ".join(f"{batch} examples ({stage.upper()})" for stage, batch in batches.items())
    where = "GPUs" if here.device == "cuda" else "processes"
    if here.processes == 1:
        return f"Of {most} {where} one trains: batches of {told} cannot be shared out."
    some = f"{here.processes} of {most}" if here.processes < most else str(most)
    return f"{some} {where} train together ({here.config.kind}) and share batches of {told} among them."


def _options(settings: TrainingSettings, here: Machine) -> list[_Option]:
    """What may be tried, the best first."""
    given = settings.quantisation
    kinds: tuple[Quantisation, ...] = ("none", "4bit") if given == "auto" else (given,)
    if here.config.sharded:
        if given in ("8bit", "4bit"):
            raise TrainingError(
                f"{here.config.kind} does not share out a base model of {given[0]} bits.",
                "Set THUMBLOOP_TRAINING__QUANTISATION=none, or leave THUMBLOOP_TRAINING__ACCELERATE_CONFIG "
                "empty: then every GPU holds all of it.",
            )
        kinds = ("none",)
    rank = settings.rank or RANK
    row = ROW_TOKENS[here.device]
    made = [
        _Option(kind, rank, row // shorter, checkpointing)
        for kind in kinds
        for checkpointing in (False, True)
        for shorter in (1, 2, 4)
    ]
    return made if settings.rank else [*made, made[-1]._replace(rank=rank // 2)]


_BYTES: Final = {"none": 0.0, "8bit": 1.0, "4bit": 0.52}
"""Bytes of a quantised weight; four bits with their doubly quantised constants (Dettmers et al. 2023)."""
_PROCESS_MIB: Final = {"cpu": 900, "cuda": 500, "mps": 500}
"""What the libraries take before there is a model: of the process on a CPU, of the device elsewhere."""
_KEPT_OF_HIDDEN: Final = 14
_KEPT_OF_INTERMEDIATE: Final = 5
"""Numbers that a layer keeps for the backward pass, in hidden and intermediate sizes a token."""
_EFFICIENCY: Final = {"cpu": 0.5, "cuda": 0.35, "mps": 0.35}
"""The share of the measured rate that a whole training step reaches."""
_CALLS_OF_A_LAYER: Final = {"cuda": 0.003}
"""Seconds that a pass through a layer keeps the processor busy which tells the GPU what to do, whatever the
row's length: what bounds small models (6 ms forward and back beside one H100, torch 2.11)."""


def _peak_mib(option: _Option, shape: Shape, here: Machine, longest: int) -> float:
    """The most memory that a run holds at once, in MiB."""
    width = 4 if here.precision == "fp32" else 2
    weights = shape.other * width + shape.linear * (_BYTES[option.quantisation] or width)
    if here.config.sharded:
        weights /= here.processes
    # in fp32: the adapter, its gradient and two moments of Adam
    adapter = 16 * option.rank * shape.adapted
    row = max(option.row_tokens, longest)
    a_layer = row * width * (_KEPT_OF_HIDDEN * shape.hidden + _KEPT_OF_INTERMEDIATE * shape.intermediate)
    kept = (
        a_layer + shape.layers * row * width * shape.hidden
        if option.checkpointing
        else shape.layers * a_layer
    )
    # where an answer's tokens are predicted: logits, their softmax in fp32 and its gradient
    scored = row / 2 * shape.vocabulary * (width + 8)
    return _PROCESS_MIB[here.device] + (weights + adapter + kept + scored) / 2**20


def _seconds_per_token(shape: Shape, here: Machine, option: _Option, answered: float) -> float:
    """Forward, and backward through the activations; the weights themselves get no gradient.

    `answered` is the share of positions where the vocabulary is scored.
    """
    passes = 3 if option.checkpointing else 2
    lora = 3 * option.rank * shape.adapted
    scored = 2 * answered * shape.hidden * shape.vocabulary
    return (passes * shape.linear + lora + scored) / (here.rate * _EFFICIENCY[here.device])


def _seconds_of_calls(shape: Shape, here: Machine, option: _Option, batch_tokens: float) -> float:
    """The least that an optimiser step takes, however quick the device is."""
    rows = max(1, math.ceil(batch_tokens / option.row_tokens))
    passes = 3 if option.checkpointing else 2
    return rows * passes * shape.layers * _CALLS_OF_A_LAYER.get(here.device, 0.0)


def _rate(device: str, precision: str) -> float:
    """Multiply-adds in a second, measured on products like those of a model's layers."""
    import torch

    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[precision]
    size = 1024 if device == "cpu" else 4096
    left, right = (torch.ones(size, size, dtype=dtype, device=device) for _ in range(2))

    def seconds(times: int) -> float:
        started = time.perf_counter()
        for _ in range(times):
            product = left @ right
        product[0, 0].item()  # waits for the device
        return time.perf_counter() - started

    seconds(2)
    return 8 * size**3 / seconds(8)


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


def _passes(
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


def _reasons(
    fitted: _Option,
    options: Sequence[_Option],
    needed: float,
    allowed: float,
    shape: Shape,
    here: Machine,
    settings: TrainingSettings,
) -> list[str]:
    best = options[0]
    weights = "16 bits" if here.precision != "fp32" else "32 bits"
    where = here.device if here.processes == 1 else f"{here.device}, each of {here.processes} processes"
    kind = {"none": f"in {weights}", "8bit": "in 8 bits", "4bit": "in 4 bits (NF4)"}[settings.quantisation]
    said = [
        f"{shape.weights / 1e6:,.0f} million weights {kind}, LoRA of rank {fitted.rank}, rows of "
        f"{fitted.row_tokens} tokens: about {needed:,.0f} of {here.free_mib:,.0f} MiB free ({where})."
    ]
    spared = [
        text
        for text, differs in (
            (f"rows are shorter than {best.row_tokens} tokens", fitted.row_tokens < best.row_tokens),
            ("activations are computed twice instead of kept", fitted.checkpointing),
            ("the base is held in 4 bits", fitted.quantisation != best.quantisation),
            (f"the rank is not {best.rank}", fitted.rank < best.rank),
        )
        if differs
    ]
    if spared:
        said.append(f"To fit, {', '.join(spared)}.")
    if needed > allowed:
        said.append("That may be more than there is: free some memory, or choose a smaller model.")
    return said


def _said(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} seconds"
    minutes = seconds / 60
    return f"{round(minutes)} minutes" if minutes < 90 else f"{minutes / 60:.1f} hours"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
