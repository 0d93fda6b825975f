"""What weights of 8 and of 4 bits change in the default model's answers.

Run by hand: `python -m tests.benchmarks.bits [--json] [--models FOLDER]`; needs the compiled step. Against
transformers in fp32 with the whole weights, over this documentation and the demo community's questions and
answers in windows of 512 tokens: the perplexity, and how often the likeliest next token is the same. Then the
demo's held-out questions, answered greedily: how many answers are the same to the last token, and after how
many tokens the others part.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median, stdev
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from bot.answering.answerer import Sampling
from bot.answering.engine import quantised
from bot.answering.engine.batch import PrefillChunk, build_batch
from bot.answering.engine.cache import Cache
from bot.answering.engine.engine import Engine, Request
from bot.answering.engine.native_decoder import NativeDecoder
from bot.demo.seed import seed_pairs
from training.model import locating
from training.model.base_model import ModelChoice
from training.model.chat_format import prompt_token_ids
from training.model.names import DEFAULT_MODEL

WINDOW: Final = 512
ANSWER: Final = 64
BITS: Final[tuple[quantised.Bits, ...]] = (8, 4)

Logits = Callable[[Sequence[int]], Tensor]
"""Tokens (T) to the logits (T, V) after each."""


def texts() -> list[str]:
    """The documentation, page by page, and the demo's questions with their answers."""
    root = Path(__file__).resolve().parents[2]
    pages = [page.read_text("utf-8") for page in (root / "README.md", *sorted((root / "docs").glob("*.md")))]
    return ["\n\n".join(pages), "\n\n".join(f"{p.questions[0]}\n{p.answer}" for p in seed_pairs())]


def windows(tokenizer: Any, most: int) -> list[list[int]]:
    """Of each text so many windows of tokens, evenly spread over it."""
    found = []
    for text in texts():
        tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
        starts = range(0, len(tokens) - WINDOW, WINDOW)
        found += [tokens[start : start + WINDOW] for start in starts[:: max(1, len(starts) // most)][:most]]
    return found


def by_the_compiled_step(model: quantised.QuantisedModel) -> Logits:
    decoder = NativeDecoder(model)

    def logits(tokens: Sequence[int]) -> Tensor:
        cache = Cache(decoder.cache_shape, WINDOW)
        decoder.adapters.begin_step([None] * len(tokens))
        chunk = PrefillChunk(cache.allocate(len(tokens)), tokens, wants_logits=True)
        batch = build_batch(cache.slabs, {}, [chunk], torch.device("cpu"))
        return decoder.forward(replace(batch, logits_rows=torch.arange(len(tokens))))

    return logits


def compared(exact: Logits, others: dict[str, Logits], asked: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Perplexity over that of `exact`, with the standard error of the windows' mean, and agreement."""
    losses: dict[str, list[float]] = {name: [] for name in others}
    same: dict[str, list[float]] = {name: [] for name in others}
    for tokens in asked:
        wanted = exact(tokens)[:-1]
        following = torch.tensor(tokens[1:])
        loss = float(cross_entropy(wanted, following))
        for name, logits in others.items():
            found = logits(tokens)[:-1]
            losses[name].append(float(cross_entropy(found, following)) - loss)
            same[name].append(float((found.argmax(-1) == wanted.argmax(-1)).float().mean()))
    return {
        name: {
            "perplexity_ratio": round(math.exp(sum(losses[name]) / len(asked)), 4),
            "standard_error": round(stdev(losses[name]) / math.sqrt(len(asked)), 4),
            "same_likeliest_token": round(sum(same[name]) / len(asked), 4),
        }
        for name in others
    }


def answers(engine: Engine, prompts: Sequence[Sequence[int]]) -> list[list[int]]:
    requests = [Request(tuple(prompt), sampling=Sampling(max_new_tokens=ANSWER)) for prompt in prompts]
    for request in requests:
        engine.submit(request)
    while not engine.idle:
        engine.step()
    return [request.output for request in requests]


def parted(wanted: Sequence[Sequence[int]], found: Sequence[Sequence[int]]) -> dict[str, Any]:
    """How many answers are the same, and after how many tokens the others part (median)."""
    places = []
    for a, b in zip(wanted, found, strict=True):
        if a != b:
            places.append(next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), len(b)))
    return {
        "same_answers": f"{len(wanted) - len(places)} of {len(wanted)}",
        "others_part_after": median(places) if places else None,
    }


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.bits", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument(
        "--models", type=Path, default=Path("build/models"), help="folder of the default model"
    )
    parser.add_argument("--windows", type=int, default=12, help="of each text (12)")
    parser.add_argument("--questions", type=int, default=48, help="answered greedily (48)")
    options = parser.parse_args()
    choice = ModelChoice(DEFAULT_MODEL, options.models, precision="fp32")
    folder = choice.prepare()
    name, revision = locating.name_and_revision(choice.name, folder)
    base = choice.load()
    models = {f"{bits} bits": quantised.prepared(choice, folder, name, revision, bits) for bits in BITS}
    exact: Logits = lambda tokens: base.model(torch.tensor([tokens])).logits[0]  # noqa: E731
    figures = compared(
        exact,
        {form: by_the_compiled_step(model) for form, model in models.items()},
        windows(base.tokenizer, options.windows),
    )
    pairs = seed_pairs()[:: max(1, len(seed_pairs()) // options.questions)][: options.questions]
    prompts = [
        prompt_token_ids(base.tokenizer, [{"role": "user", "content": pair.held_out}]) for pair in pairs
    ]
    eos = [base.tokenizer.eos_token_id]
    wanted = answers(Engine(base.model, eos), prompts)
    for form, model in models.items():
        figures[form] |= parted(wanted, answers(Engine(model, eos), prompts))
    print(
        json.dumps(figures, indent=1) if options.json else "\n".join(f"{k}: {v}" for k, v in figures.items())
    )


if __name__ == "__main__":
    main()
