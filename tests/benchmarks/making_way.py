"""What a training run costs those who are answered meanwhile, on the default model and this machine.

Run by hand: `python -m tests.benchmarks.making_way [--json] [--rounds N] [--model NAME]`. The real engine
answers one question after the other, with a pause between them in which a run gets going again. Two real
trainings run in processes of their own, niced as the service starts them: one makes way for answers, one does
not. Each is stopped by SIGSTOP while it is not its turn, and the three conditions (nobody trains, training
that makes way, training that does not) take turns question by question, so that noise from elsewhere hits all
alike. Times to the first token are compared at the 95th percentile, tokens per second by their median.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

from bot.answering.answerer import AnswerRequest, Message, Sampling
from tests.benchmarks.answering import PERSONA, SUBJECTS
from training.model.names import DEFAULT_MODEL

MOST: Final = 64
"""Tokens of an answer."""
PAUSE_S: Final = 0.7
CONDITIONS: Final = ("alone", "makes way", "niced only")


@dataclass
class Seen:
    """What was measured under one condition."""

    first_token_s: list[float] = field(default_factory=list)
    tokens_per_s: list[float] = field(default_factory=list)

    def figures(self) -> dict[str, float]:
        ordered = sorted(self.first_token_s)
        return {
            "first_token_median_s": median(ordered),
            "first_token_p95_s": ordered[math.ceil(0.95 * len(ordered)) - 1],
            "tokens_per_s_median": median(self.tokens_per_s),
        }


def question(number: int) -> list[Message]:
    """A question with about 200 tokens of notes before it, none of which was computed for another one."""
    notes = " ".join(SUBJECTS[number % len(SUBJECTS) :] + SUBJECTS[: number % len(SUBJECTS)])
    return [
        {"role": "system", "content": PERSONA},
        {
            "role": "user",
            "content": f"{number}. Notes: {notes}. {notes}. Which of them comes first, and why?",
        },
    ]


def train(model: str, models: Path, data: Path, makes_way: bool) -> None:
    """Train for ever, in this process, from a service's point of view its child."""
    from tests.benchmarks.training import BATCH, pairs
    from training.data.dataset import Splits
    from training.fit import hyperparameters, sft
    from training.making_way import MakingWay, between_layers
    from training.model.base_model import ModelChoice
    from training.progress import Progress
    from training.run import background
    from training.settings import TrainingSettings

    background.step_back(TrainingSettings())
    base, chosen = ModelChoice(model, models).load(), pairs()
    make_way = MakingWay(data)
    if makes_way:
        between_layers(base.model, make_way)

    def told(progress: Progress) -> None:
        if progress.done:
            print(json.dumps({"step": progress.done, "waited_s": make_way.waited_s}), flush=True)

    rows = hyperparameters.ROW_TOKENS[base.device]
    plan = hyperparameters.SftHyperparameters(1e-4, 999, BATCH, 0.1, 99, row_tokens=rows, checkpointing=False)
    with tempfile.TemporaryDirectory() as scratch:
        sft.train(
            base, Splits(chosen, chosen[:1], []), plan, TrainingSettings(), Path(scratch), on_progress=told
        )


@contextmanager
def trainer(model: str, models: Path, data: Path, makes_way: bool) -> Iterator[subprocess.Popen[bytes]]:
    """A training that has made its first step, and stands still."""
    told = json.dumps([model, str(models), str(data), makes_way])
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.making_way", "--train", told],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise SystemExit("The training did not begin.")
        process.send_signal(signal.SIGSTOP)
        yield process
    finally:
        process.kill()
        process.wait()


async def measure(model: str, models: Path, rounds: int) -> dict[str, Any]:
    from bot.answering.own_thread import run_in_own_thread
    from bot.answering.serving import local_answerer
    from bot.settings import load_settings

    seen = {condition: Seen() for condition in CONDITIONS}
    data = models.resolve().parent
    settings = load_settings(data=data, model=model)
    with ExitStack() as stack:
        trainers = {
            "makes way": stack.enter_context(trainer(model, models, data, True)),
            "niced only": stack.enter_context(trainer(model, models, data, False)),
        }
        answerer = await run_in_own_thread(lambda: local_answerer(settings))
        asked = 0
        for turn in range(-1, rounds):
            order = CONDITIONS[turn % 3 :] + CONDITIONS[: turn % 3]
            for condition in order:
                asked += 1
                if condition in trainers:
                    trainers[condition].send_signal(signal.SIGCONT)
                await asyncio.sleep(PAUSE_S)
                usage = None
                began, first = time.perf_counter(), 0.0
                request = AnswerRequest(
                    question(asked), None, Sampling(temperature=0.0, max_new_tokens=MOST), ""
                )
                async for piece in answerer.stream(request):
                    first = first or time.perf_counter() - began
                    usage = piece.usage or usage
                if condition in trainers:
                    trainers[condition].send_signal(signal.SIGSTOP)
                assert usage is not None
                if turn >= 0:  # the first turn warms up
                    seen[condition].first_token_s.append(first)
                    rest = usage.total_s - usage.first_token_s
                    seen[condition].tokens_per_s.append((usage.answer_tokens - 1) / rest)
        await answerer.close()
    figures: dict[str, Any] = {condition: seen[condition].figures() for condition in CONDITIONS}
    alone = figures["alone"]
    for condition in CONDITIONS[1:]:
        own = figures[condition]
        own["first_token_p95_ratio"] = own["first_token_p95_s"] / alone["first_token_p95_s"]
        own["tokens_per_s_ratio"] = own["tokens_per_s_median"] / alone["tokens_per_s_median"]
    return {"rounds": rounds, "cores": os.cpu_count(), "load": os.getloadavg()[0], **figures}


def as_table(figures: dict[str, Any]) -> str:
    lines = [
        "| | first token, median | p95 | against alone | tokens/s | against alone |",
        "|---|---|---|---|---|---|",
    ]
    for condition in CONDITIONS:
        own = figures[condition]
        ratios = (
            ("", "")
            if condition == "alone"
            else (f"{own['first_token_p95_ratio']:.2f} ×", f"{own['tokens_per_s_ratio']:.2f} ×")
        )
        lines.append(
            f"| {condition} | {own['first_token_median_s']:.2f} s | {own['first_token_p95_s']:.2f} s "
            f"| {ratios[0]} | {own['tokens_per_s_median']:.1f} | {ratios[1]} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line sets it
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--models", type=Path, default=Path("data/models"))
    parser.add_argument("--train", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.train:
        model, models, data, makes_way = json.loads(given.train)
        train(model, Path(models), Path(data), makes_way)
        return
    figures = asyncio.run(measure(given.model, given.models, given.rounds))
    print(json.dumps(figures, indent=1) if given.json else as_table(figures))


if __name__ == "__main__":
    main()
