"""Time of one step: the compiled step in 8 bits beside torch in this CPU's precision.

Run by hand: `python -m tests.benchmarks.steps [--threads N]`. Prints the wall time and, in brackets, the
processor time of all threads, which on a machine that others work on too leaves out the waiting; each the
least of several alternating repetitions. The machine's load is that of the last minute before.
`tests.benchmarks.answering` says how the narrower instructions of another CPU are emulated.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from bot.answering.engine import quantised
from bot.answering.engine.batch import PrefillChunk, build_batch
from bot.answering.engine.cache import Cache
from bot.answering.engine.decoder import Decoder
from bot.answering.engine.model import StepModel
from bot.answering.engine.native_decoder import NativeDecoder
from training.model import locating
from training.model.base_model import ModelChoice
from training.model.names import DEFAULT_MODEL

LENGTH = 100
PROMPT = 128
ROUNDS = 3
REPEATS = 3


def decoding(model: StepModel, people: int) -> Callable[[], object]:
    """A step in which everybody's answer grows by a token, after LENGTH positions."""
    cache = Cache(model.cache_shape, 512)
    slots = [cache.allocate(2 * LENGTH) for _ in range(people)]
    for slot in slots:
        slot.length = LENGTH
    for slot in list(slots):
        slot.begin_decoding()
    model.adapters.begin_step([None] * people)
    return partial(model.forward, build_batch(cache.slabs, dict.fromkeys(slots, 5), [], torch.device("cpu")))


def prefill(model: StepModel) -> Callable[[], object]:
    """A step that computes a prompt of PROMPT tokens."""
    cache = Cache(model.cache_shape, 512)
    chunk = PrefillChunk(cache.allocate(2 * PROMPT), range(100, 100 + PROMPT), wants_logits=True)
    model.adapters.begin_step([None] * PROMPT)
    return partial(model.forward, build_batch(cache.slabs, {}, [chunk], torch.device("cpu")))


def milliseconds(work: Callable[[], object]) -> tuple[float, float]:
    """The least wall time and the least processor time of REPEATS."""
    wall, processor = [], []
    for _ in range(REPEATS):
        began = time.perf_counter(), time.process_time()
        work()
        wall.append(1000 * (time.perf_counter() - began[0]))
        processor.append(1000 * (time.process_time() - began[1]))
    return min(wall), min(processor)


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.steps", description=__doc__)
    parser.add_argument(
        "--models", type=Path, default=Path("build/models"), help="folder of the default model"
    )
    parser.add_argument("--precision", default="auto", help="what torch computes in; emulating, say fp32")
    parser.add_argument("--threads", type=int, default=1, help="that compute (1)")
    options = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.2f}, threads {options.threads}")
    torch.set_num_threads(options.threads)
    choice = ModelChoice(DEFAULT_MODEL, options.models, precision=options.precision)
    folder = choice.prepare()
    name, revision = locating.name_and_revision(choice.name, folder)
    compiled = NativeDecoder(quantised.prepared(choice, folder, name, revision, 8))
    compiled.threads = options.threads
    base = choice.load()
    models = {f"torch {base.precision}": Decoder(base.model), "compiled 8bit": compiled}
    print(torch.backends.cpu.get_cpu_capability(), *models, sep=" | ")
    cases: dict[str, Callable[[StepModel], Callable[[], object]]] = {
        **{f"{people} rows": partial(decoding, people=people) for people in (1, 4, 16)},
        f"a prompt of {PROMPT}": prefill,
    }
    for case, made in cases.items():
        steps = {name: made(model) for name, model in models.items()}
        rounds = [{name: milliseconds(step) for name, step in steps.items()} for _ in range(ROUNDS)]
        least = [
            [min(times) for times in zip(*(found[name] for found in rounds), strict=True)] for name in models
        ]
        print(case, *(f"{wall:.1f} ms ({processor:.1f})" for wall, processor in least), sep=" | ")


if __name__ == "__main__":
    main()
