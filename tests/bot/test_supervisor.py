"""The supervisor: what dies is logged and begins again, and what it does is known."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from bot import supervisor
from bot.supervisor import Supervisor
from feedback.errors import DatabaseError, ThumbloopError


class Refused(ThumbloopError):
    """A refusal that anybody may read."""

    is_public = True


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
    reported = []

    async def look(_: float) -> None:
        reported.extend(watching.health.components)

    work = Work(Refused("Discord refused the bot token.", "Copy it anew."), KeyError("shard"))
    watching = Supervisor(look)
    watching.watch("Discord", work, says_when_it_runs=True)
    await work.begun.wait()
    refused, broken = reported
    assert (refused.state, refused.why) == ("down", "Discord refused the bot token. Copy it anew.")
    assert broken.why.startswith("An unexpected fault. The log has more under ")
    assert watching.health.components == (broken,), "it has not said yet that it runs"
    await watching.stop()
    assert watching.health.components == ()


async def test_work_that_says_nothing_of_itself_counts_as_well_once_it_goes_on() -> None:
    work = Work(OSError())
    watching = Supervisor(Pauses())
    watching.watch("Discord upkeep", work)
    await work.begun.wait()
    assert watching.health.components == ()
    await watching.stop()


async def test_addresses_in_a_fault_are_for_the_log_alone(logged: list[dict[str, object]]) -> None:
    work = Work(DatabaseError("postgresql://host/name cannot be reached."))
    watching = Supervisor(Pauses())
    watching.watch("Telegram", work, says_when_it_runs=True)
    await work.begun.wait()
    (telegram,) = watching.health.components
    assert "host" not in telegram.why and "its record" in telegram.why
    assert "host" in str(logged)
    await watching.stop()


async def test_a_task_that_both_its_owner_and_the_supervisor_end_puts_its_things_in_order() -> None:
    working, tidying, in_order, tidied = asyncio.Event(), asyncio.Event(), asyncio.Event(), []

    async def work() -> None:
        working.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            tidying.set()
            await in_order.wait()
            tidied.append(True)

    watching = Supervisor()
    watched = watching.watch("Discord upkeep", work)
    await working.wait()
    owner = asyncio.create_task(supervisor.end(watched))
    await tidying.wait()
    service = asyncio.create_task(watching.stop())
    await asyncio.sleep(0)
    in_order.set()
    await asyncio.gather(owner, service)
    assert tidied == [True]


async def test_work_that_fails_while_it_is_ended_does_not_begin_again(
    logged: list[dict[str, object]],
) -> None:
    begun: list[str] = []

    async def cannot_note_its_end() -> None:
        begun.append("once")
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            raise DatabaseError("The record is locked.")

    pauses = Pauses()
    watching = Supervisor(pauses)
    watched = watching.watch("Discord", cannot_note_its_end)
    while not begun:
        await asyncio.sleep(0)
    await watching.stop()
    assert watched.cancelled() and len(begun) == 1
    assert [line["part"] for line in logged] == ["Discord"]
