"""Time of one step: the compiled step in 8 bits beside torch in this CPU's precision.

Run by hand: `python -m tests.benchmarks.steps [--threads N] [--large]`. Prints the wall time and, in
brackets, the processor time of all threads, which on a machine that others work on too leaves out the
waiting; each the least of several alternating repetitions. The machine's load is that of the last minute
before. `tests.benchmarks.answering` says how the narrower instructions of another CPU are emulated. `--large`
takes random 8-bit weights in the shapes of Qwen2.5-1.5B instead, one person's token, and says what share of
the memory's speed it reaches: what a step reads over its time, beside adding up 1 GiB of floats, in turns.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import torch
from transformers import Qwen2Config

from bot.answering.engine import native, quantised
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


def large() -> tuple[quantised.QuantisedModel, int]:
    """Random 8-bit weights in the shapes of Qwen2.5-1.5B, and the bytes of them that a step reads."""
    config = Qwen2Config(
        hidden_size=1536, intermediate_size=8960, num_hidden_layers=28, num_attention_heads=12,
        num_key_value_heads=2, vocab_size=151_936, tie_word_embeddings=True,
    )  # fmt: skip
    keys = 2 * 128
    shapes = [
        (1536, 1536),
        (1536, keys),
        (1536, keys),
        (1536, 1536),
        (1536, 8960),
        (1536, 8960),
        (8960, 1536),
    ]
    linears = []
    for inputs, outputs in [*shapes * 28, (1536, 151_936)]:
        blocks = outputs // native.BLOCK
        weights = torch.randint(-127, 128, (blocks, inputs // 2, native.BLOCK, 2), dtype=torch.int8)
        scales = torch.full((blocks, inputs // native.GROUP, native.BLOCK), 1e-3, dtype=torch.float16)
        linears.append(quantised.QuantisedLinear(inputs, outputs, 8, weights, scales))
    norms: list[torch.Tensor | None] = [torch.ones(1536), torch.ones(1536), None, None] * 28
    rotary = quantised.Rotary(1e6 ** -(torch.arange(64) / 64), 1.0)
    model = quantised.QuantisedModel(
        config, 8, [str(number) for number in range(len(linears))], linears, [*norms, torch.ones(1536)],
        None, rotary, 128**-0.5, torch.empty(0), None,
    )  # fmt: skip
    return model, sum(linear.weights.nbytes + linear.scales.nbytes for linear in linears)


def share_of_bandwidth(threads: int) -> None:
    """Print one person's step of the large model beside what the memory can deliver."""
    model, read = large()
    decoder = NativeDecoder(model)
    decoder.threads = threads
    step, floats = decoding(decoder, 1), torch.ones(2**28)
    shares = []
    for _ in range(2 * ROUNDS):
        took, adding = milliseconds(step)[0], milliseconds(floats.sum)[0]
        shares.append((read / took) / (floats.nbytes / adding))
        speeds = f"{read / took / 1e6:.1f} GB/s; adding up {floats.nbytes / adding / 1e6:.1f} GB/s"
        print(f"{took:.1f} ms a token, {speeds}; share {shares[-1]:.2f}")
    print(f"median share {median(shares):.2f}")


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.steps", description=__doc__)
    parser.add_argument(
        "--models", type=Path, default=Path("build/models"), help="folder of the default model"
    )
    parser.add_argument("--precision", default="auto", help="what torch computes in; emulating, say fp32")
    parser.add_argument("--threads", type=int, default=1, help="that compute (1)")
    parser.add_argument("--large", action="store_true", help="a larger model beside the memory's speed")
    options = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.2f}, threads {options.threads}")
    torch.set_num_threads(options.threads)
    if options.large:
        share_of_bandwidth(options.threads)
        return
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
