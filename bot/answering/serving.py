"""In which form the base model answers on this machine, and the answerer that holds it.

On an x86-64 CPU the compiled step over 8-bit weights is the default where it is clearly faster than torch's
own products in the precision of this CPU. Whether it is, a short measurement says: on random weights of the
model's shapes, two blocks deep, once for a model and a CPU; the result is kept in the models folder.
"""

from __future__ import annotations

import copy
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog
import torch

from bot.answering.engine import native, quantised
from bot.answering.engine.batch import Batch, PrefillChunk, build_batch
from bot.answering.engine.cache import Cache
from bot.answering.engine.decoder import Decoder, is_llama_like
from bot.answering.engine.model import StepModel
from bot.answering.engine.native_decoder import NativeDecoder, cores
from bot.answering.local import LocalAnswerer
from bot.answering.lookups import Lookups
from bot.settings import Settings
from training.making_way import Answering
from training.model import devices, locating
from training.settings import Quantisation

PROMPT: Final = 300
ANSWER: Final = 60
"""Tokens of a typical exchange. Their proportion decides on CPUs where 8 bits speed up answers and slow down
prompts."""
AT_ONCE: Final = (1, 16)
_LAYERS: Final = 2
CLEARLY: Final = 1.3
"""How many times as fast 8 bits must be. With bf16 instructions a gain below that comes from answers to one
person alone, while prompts, and so sixteen people at once, are served more slowly."""
_ROUNDS: Final = 3
_SECONDS: Final = 0.05
"""How long each of the measured steps is repeated; the fastest counts, because others only make it slower."""
_BUSY: Final = 0.5
_FILE: Final = "serving-measured.json"

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Serving:
    """`bits` of the compiled step, or None: through torch, as `quantisation` has it; and the `reason`."""

    bits: quantised.Bits | None
    quantisation: Quantisation
    reason: str


@dataclass(frozen=True)
class Measured:
    """Seconds that exchanges take by the compiled step in 8 bits, and by torch in `precision`.

    `load` is how many threads wanted each core in the minute before.
    """

    compiled_s: float
    torch_s: float
    precision: str
    load: float


def local_answerer(settings: Settings, lookups: Lookups | None = None) -> LocalAnswerer:
    """Load the base model in the form that `serving` says; it makes way for `lookups`. Raises ModelError."""
    choice = settings.model_choice
    plan = serving(settings)
    limits: dict[str, Any] = {
        "max_running": settings.answering.max_running,
        "max_waiting": settings.answering.max_waiting,
        "answering": Answering(settings.data),
        "lookups": lookups,
    }
    log.info("how the model answers", form=plan.reason)
    if plan.bits is None:
        base = choice.load(plan.quantisation)
        return LocalAnswerer(base.model, base.tokenizer, name=base.name, revision=base.revision, **limits)
    folder = choice.prepare()
    name, revision = locating.name_and_revision(choice.name, folder)
    model = quantised.prepared(choice, folder, name, revision, plan.bits)
    return LocalAnswerer(model, choice.tokenizer(folder), name=name, revision=revision, **limits)


def serving(settings: Settings, *, measure: bool = True) -> Serving:
    """How the model answers here; without `measure`, what is not measured yet is only said to be.

    Raises ModelError.
    """
    wanted = settings.quantisation
    given: Quantisation = "none" if wanted == "auto" else wanted
    device = devices.usable_device(settings.device)
    precision = devices.usable_precision(settings.precision, device)
    full = f"{given if given != 'none' else precision} on {device}"
    if wanted == "none" or device != "cpu":
        return Serving(None, given, full)
    if native.library() is None:
        return Serving(None, given, f"{full}: the compiled step is not installed, or not for this CPU")
    choice = settings.model_choice
    folder = choice.prepare() if measure else choice.present()
    if folder is None:
        return Serving(None, given, "decided when the model is there")
    bits: quantised.Bits = 4 if wanted == "4bit" else 8
    name, revision = locating.name_and_revision(choice.name, folder)
    known = quantised.is_prepared(choice, name, revision, bits)
    if not known and not is_llama_like(quantised.skeleton(folder)):
        return Serving(None, given, f"{full}: the compiled step does not know this kind of model")
    compiled = f"compiled step ({native.instructions()}), {cores()} threads"
    if wanted != "auto":
        return Serving(bits, given, f"{wanted} weights, {compiled}")
    if settings.precision != "auto":
        return Serving(None, given, f"{full}, as set")
    found = _measured(settings.models_folder, folder, precision, measure=measure)
    if found is None:
        return Serving(None, given, "measured at the first start")
    ratio = found.torch_s / found.compiled_s
    compared = f"measured {ratio:.1f} times as fast as {found.precision}"
    if ratio > CLEARLY:
        return Serving(8, given, f"8bit weights, {compiled}, {compared}")
    return Serving(None, given, f"{full}: 8bit weights are {compared}, too little to take them")


def _measured(folder: Path, model: Path, precision: str, *, measure: bool) -> Measured | None:
    """The measurement kept in `folder` for the shapes of `model` and this CPU; made where there is none.

    One made while others used the cores is made again at a start that is quieter by half.
    """
    config = json.loads((model / "config.json").read_bytes())
    names = ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads")
    key = " ".join(
        map(str, (_cpu(), native.instructions(), cores(), torch.__version__, precision,
                  *(config.get(name) for name in names)))
    )  # fmt: skip
    file = folder / _FILE
    try:
        kept = Measured(**json.loads(file.read_text(encoding="utf-8"))[key])
        if not measure or kept.load < _BUSY or _load() > kept.load / 2:
            return kept
    except (OSError, ValueError, KeyError, TypeError):
        if not measure:
            return None
    found = _measure(quantised.config_of(model), precision)
    try:
        folder.mkdir(parents=True, exist_ok=True)  # a model from elsewhere leaves it unmade
        part = file.with_name(f".{file.name}.{time.monotonic_ns()}")
        part.write_text(json.dumps({key: found.__dict__}), encoding="utf-8")
        part.replace(file)
    except OSError as error:
        log.warning("the measurement could not be kept", reason=error.strerror)
    return found


def _load() -> float:
    return os.getloadavg()[0] / cores() if hasattr(os, "getloadavg") else 0.0


def _cpu() -> str:
    return str(torch.cpu.get_capabilities().get("cpu_name") or platform.processor())


def _measure(config: Any, precision: str) -> Measured:
    # what is kept spares every later start these imports
    from transformers import AutoModelForCausalLM
    from transformers.initialization import no_init_weights

    load = _load()
    small = type(config).from_dict(config.to_dict())
    small.num_hidden_layers = _LAYERS
    # the output layer's share of the work is that of the whole model
    small.vocab_size = max(native.BLOCK, config.vocab_size * _LAYERS // config.num_hidden_layers)
    small.layer_types = small.pad_token_id = None
    torch.manual_seed(0)
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float32, "fp32": torch.float32}[precision]
    with no_init_weights():
        model = AutoModelForCausalLM.from_config(small, dtype=torch.float32).eval()
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.02)
    compiled = NativeDecoder(quantised.quantised(copy.deepcopy(model), 8))
    compiled_s, torch_s = _seconds(compiled, Decoder(model.to(dtype)))
    return Measured(compiled_s, torch_s, precision, load)


@dataclass(frozen=True)
class _Step:
    """A step to be measured, and its `weight`: how many of them an exchange takes."""

    model: StepModel
    batch: Batch
    rows: int
    weight: float

    def __call__(self) -> None:
        self.model.adapters.begin_step([None] * self.rows)
        self.model.forward(self.batch)


def _steps(model: StepModel) -> list[_Step]:
    """One exchange alone and one among sixteen: AT_ONCE, a person's share of each."""
    cache = Cache(model.cache_shape, 4 * PROMPT)
    chunk = PrefillChunk(cache.allocate(PROMPT + ANSWER), range(PROMPT), wants_logits=True)
    device = model.cache_shape.device
    steps = [_Step(model, build_batch(cache.slabs, {}, [chunk], device), PROMPT, len(AT_ONCE))]
    for people in AT_ONCE:
        cache = Cache(model.cache_shape, 4 * PROMPT)
        slots = [cache.allocate(PROMPT + ANSWER) for _ in range(people)]
        for slot in slots:
            slot.length = PROMPT
        for slot in list(slots):
            slot.begin_decoding()
        batch = build_batch(cache.slabs, dict.fromkeys(slots, 1), [], device)
        steps.append(_Step(model, batch, people, ANSWER / people))
    return steps


@torch.inference_mode()
def _seconds(*models: StepModel) -> list[float]:
    """Each model's seconds for its `_steps`. They take turns, so that other work on the machine hits all."""
    steps = [_steps(model) for model in models]
    rounds = [[[_fastest(step) for step in own] for own in steps] for _ in range(_ROUNDS)]
    return [
        sum(step.weight * min(times[place][n] for times in rounds) for n, step in enumerate(own))
        for place, own in enumerate(steps)
    ]


def _fastest(work: Callable[[], object]) -> float:
    best, began = float("inf"), time.perf_counter()
    while time.perf_counter() - began < _SECONDS or best == float("inf"):
        before = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - before)
    return best
