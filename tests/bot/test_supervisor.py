"""The supervisor: what dies is logged and begins again, and what it does is known."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bot import components, supervisor
from bot.components import Components
from bot.supervisor import Supervisor
from feedback.errors import ThumbloopError


class Pauses:
    """Stands for time that passes at once; `taken` are the pauses in seconds."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)


class Work:
    """Fails as often as there are faults, then waits until it `may_end`."""

    def __init__(self, *faults: Exception) -> None:
        self.faults = list(faults)
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()

    async def __call__(self) -> None:
        if self.faults:
            raise self.faults.pop(0)
        self.begun.set()
        await self.may_end.wait()


@pytest.fixture
def logged() -> Iterator[list[dict[str, object]]]:
    with capture_logs() as lines:
        yield lines


async def test_work_that_fails_is_logged_and_begins_again(logged: list[dict[str, object]]) -> None:
    pauses, work = Pauses(), Work(KeyError("shard"), KeyError("shard"))
    watched = Supervisor(pauses).watch("Discord", work)
    await work.begun.wait()
    assert [(line["part"], line["log_level"]) for line in logged] == [("Discord", "error")] * 2
    assert all(isinstance(line["exc_info"], KeyError) for line in logged)
    work.may_end.set()
    await watched


async def test_the_pause_doubles_up_to_the_longest() -> None:
    pauses, work = Pauses(), Work(*[OSError()] * 12)
    watched = Supervisor(pauses).watch("Discord", work)
    await work.begun.wait()
    watched.cancel()
    assert pauses.taken[:4] == [1, 2, 4, 8]
    assert pauses.taken[-1] == supervisor.LONGEST_PAUSE_S


async def test_the_first_fault_after_a_steady_run_waits_no_longer_than_a_first_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervisor, "STEADY_S", 0.0)
    pauses, work = Pauses(), Work(OSError(), OSError())
    watched = Supervisor(pauses).watch("Discord", work)
    await work.begun.wait()
    watched.cancel()
    assert pauses.taken == [1, 1]


async def test_one_task_that_fails_leaves_the_others_alone() -> None:
    failing, steady = Work(*[OSError()] * 5), Work()
    watching = Supervisor(Pauses())
    watching.watch("Discord", failing)
    watched = watching.watch("Telegram", steady)
    await failing.begun.wait()
    assert not watched.done() and steady.begun.is_set()
    await watching.stop()
    assert watched.cancelled()


async def test_what_is_down_is_known_with_its_reason() -> None:
    states = []

    async def look(_: float) -> None:
        states.append(watching.components.all()[0])

    work = Work(ThumbloopError("Discord refused the bot token.", "Copy it anew."), KeyError("shard"))
    watching = Supervisor(look)
    watching.watch("Discord", work, says_when_it_runs=True)
    await work.begun.wait()
    refused, broken = states
    assert (refused.state, refused.why) == ("down", "Discord refused the bot token. Copy it anew.")
    assert "reference" in broken.why and "shard" not in broken.why
    assert [one.state for one in watching.components.all()] == ["starting"]
    watching.components.note("Discord", "running")
    assert watching.components.down() == []
    await watching.stop()
    assert watching.components.all() == []


async def test_other_processes_can_read_the_states_while_the_service_lives(tmp_path: Path) -> None:
    known = Components()
    known.on_change = lambda: components.write(known.all(), tmp_path)
    known.note("Discord", "running")
    known.note("Discord", "down", "Discord refused the bot token.")
    assert components.read(tmp_path) == known.all()
    components.withdraw(tmp_path)
    assert components.read(tmp_path) is None


async def test_what_a_killed_service_left_is_not_believed(tmp_path: Path) -> None:
    components.write([], tmp_path)
    file = tmp_path / components.FILE
    file.write_text(file.read_text().replace('"started": ', '"started": 1'))
    assert components.read(tmp_path) is None


@pytest.mark.parametrize("content", ["", "{}", '{"pid": 1, "started": 0}', '{"pid": 2147483646}'])
def test_a_file_that_tells_nothing_is_no_service(tmp_path: Path, content: str) -> None:
    assert components.read(tmp_path) is None
    (tmp_path / components.FILE).write_text(content)
    assert components.read(tmp_path) is None
