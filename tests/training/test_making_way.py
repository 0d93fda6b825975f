"""Training waits while answers are given, goes on when it is quiet, and never waits for the dead."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.training import lessons
from training.fit import hyperparameters, sft
from training.making_way import PATIENCE_S, TURN_S, Answering, MakingWay, between_layers
from training.run import threads

HOLDER = """
import sys
from pathlib import Path
from training.making_way import Answering
Answering(Path(sys.argv[1])).begin()
print("holds", flush=True)
sys.stdin.read()
"""


class Clock:
    """Time that passes while somebody sleeps; `on_sleep` is what happens meanwhile."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept = 0
        self.on_sleep = lambda: None

    def read(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += 1
        self.on_sleep()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_training_waits_until_the_answer_is_given(tmp_path: Path, clock: Clock) -> None:
    answering, make_way = Answering(tmp_path), MakingWay(tmp_path, clock.read, clock.sleep)
    answering.begin()
    clock.on_sleep = lambda: answering.end() if clock.slept == 7 else None
    make_way()
    assert clock.slept == 7 and make_way.waited_s == pytest.approx(clock.now)
    make_way()
    assert clock.slept == 7


def test_it_waits_for_all_who_answer(tmp_path: Path, clock: Clock) -> None:
    first, second = Answering(tmp_path), Answering(tmp_path)
    make_way = MakingWay(tmp_path, clock.read, clock.sleep)
    first.begin()
    second.begin()
    first.end()
    clock.on_sleep = lambda: second.end() if clock.slept == 3 else None
    make_way()
    assert clock.slept == 3


def test_where_answers_never_end_training_gets_a_turn_now_and_then(tmp_path: Path, clock: Clock) -> None:
    Answering(tmp_path).begin()
    make_way = MakingWay(tmp_path, clock.read, clock.sleep)
    make_way()
    assert PATIENCE_S <= clock.now < PATIENCE_S + 1
    clock.now += TURN_S / 2
    before = clock.now
    make_way()
    assert clock.now == before
    clock.now += TURN_S
    make_way()
    assert clock.now - before >= PATIENCE_S


def test_nobody_waits_for_a_process_that_was_killed(tmp_path: Path, clock: Clock) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"holds\n"
        make_way = MakingWay(tmp_path, clock.read, clock.sleep)

        def kill() -> None:
            holder.send_signal(signal.SIGKILL)
            holder.wait()

        clock.on_sleep = lambda: kill() if clock.slept == 2 else None
        make_way()
    assert clock.slept == 2


def test_a_folder_that_nobody_can_write_keeps_nobody_from_answering(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "data").write_text("no folder")
    Answering(tmp_path / "data").begin()
    MakingWay(tmp_path / "data", clock.read, clock.sleep)()
    assert clock.slept == 0


def test_the_model_makes_way_before_each_layer_there_and_after_each_on_the_way_back(
    tiny_model_folder: Path,
) -> None:
    model = lessons.load(tiny_model_folder).model
    asked: list[str] = []
    between_layers(model, lambda: asked.append("made way"))
    embedded = torch.zeros(1, 3, model.config.hidden_size, requires_grad=True)
    logits = model(inputs_embeds=embedded).logits
    layers = model.config.num_hidden_layers
    assert len(asked) == layers
    logits.sum().backward()
    assert len(asked) == 2 * layers


def test_a_training_through_an_adapter_makes_way(tiny_model_folder: Path, tmp_path: Path) -> None:
    base, asked = lessons.load(tiny_model_folder), list[bool]()
    between_layers(base.model, lambda: asked.append(torch.is_grad_enabled()))
    settings = lessons.settings(epochs=1, batch_size=4)
    plan = hyperparameters.for_sft(4, settings)
    sft.train(base, lessons.splits(train=4), plan, settings, tmp_path)
    assert True in asked and False in asked


async def test_a_run_that_is_stopped_waits_for_no_answer(tmp_path: Path) -> None:
    Answering(tmp_path).begin()
    make_way, waiting = MakingWay(tmp_path), asyncio.Event()
    loop = asyncio.get_running_loop()

    def work(_: object) -> None:
        loop.call_soon_threadsafe(waiting.set)
        make_way()

    run = asyncio.create_task(threads.in_thread(work, lambda progress: None, on_stop=make_way.hurry))
    await waiting.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(run, PATIENCE_S / 2)
