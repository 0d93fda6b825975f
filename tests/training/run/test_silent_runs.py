"""Runs of another machine: heard of while they live, and closed within a minute of their death."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from datetime import timedelta
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlmodel import col, select, update

from feedback.database import Database
from feedback.errors import DatabaseError
from feedback.tables import Run, now
from training.run import lifecycle, opening
from training.run.lifecycle import SILENT_S, SilentRuns

pytestmark = pytest.mark.parametrize(
    "dialect", ["postgresql"], indirect=True
)  # SQLite is one machine's alone


def _trains_elsewhere(url: str, data: Path, begun: Any) -> None:
    """A run on a machine of another name, which goes on until it is killed."""
    socket.gethostname = lambda: "elsewhere"

    async def run() -> None:
        database = Database(url)
        async with opening.open_run(
            database, data, adapter_name="community", started_by="ada", settings={}, activity="The run in"
        ):
            while (await _row(database)).alive_at is None:
                await asyncio.sleep(0.01)
            begun.set()
            await asyncio.Event().wait()

    asyncio.run(run())


async def _row(database: Database) -> Run:
    async with database.session(read_only=True) as session:
        return (await session.exec(select(Run))).one()


@pytest.fixture
async def elsewhere(database: Database, monkeypatch: pytest.MonkeyPatch) -> Run:
    with monkeypatch.context() as there:
        there.setattr(socket, "gethostname", lambda: "elsewhere")
        row = await lifecycle.begin(database, adapter_name="community", started_by="ada", settings={})
    await lifecycle.record_heartbeat(database, row.id or 0)
    return row


async def test_a_run_killed_on_another_machine_is_closed_half_a_minute_after_it_was_heard_of_last(
    database: Database, database_url: str, tmp_path: Path, processes: ForkServerContext
) -> None:
    begun = processes.Event()
    training = processes.Process(target=_trains_elsewhere, args=(database_url, tmp_path / "theirs", begun))
    training.start()
    try:
        assert await asyncio.to_thread(begun.wait, 120)
        seen = await lifecycle.under_way(database)
        assert seen is not None and (seen.host, seen.pid) == ("elsewhere", training.pid)
    finally:
        os.kill(training.pid or 0, signal.SIGKILL)
        training.join()
    silent_runs = SilentRuns(database)
    assert await silent_runs.close(0) == [] == await silent_runs.close(SILENT_S - 1)
    assert await silent_runs.close(SILENT_S) == [seen.id]
    ended = await _row(database)
    assert (ended.state, ended.verdict) == ("failed", lifecycle.DIED) and ended.finished_at
    assert await silent_runs.close(3 * SILENT_S) == []


async def test_a_run_that_is_heard_of_is_left_alone(database: Database, elsewhere: Run) -> None:
    silent_runs = SilentRuns(database)
    for look in range(4):
        assert await silent_runs.close(look * SILENT_S) == []
        await lifecycle.record_heartbeat(database, elsewhere.id or 0)
    assert (await _row(database)).state == "running"


async def test_who_could_not_be_heard_while_the_record_was_away_gets_the_time_to_speak(
    database: Database, elsewhere: Run
) -> None:
    silent_runs = SilentRuns(database)
    assert await silent_runs.close(0) == []
    async with database.session() as session:
        await session.exec(text("ALTER TABLE run RENAME TO away"))  # type: ignore[call-overload]
    with pytest.raises(DatabaseError):
        await silent_runs.close(SILENT_S)
    async with database.session() as session:
        await session.exec(text("ALTER TABLE away RENAME TO run"))  # type: ignore[call-overload]
    assert await silent_runs.close(2 * SILENT_S) == []
    assert await silent_runs.close(3 * SILENT_S) == [elsewhere.id]


async def test_a_run_that_is_heard_of_no_more_is_not_under_way(database: Database, elsewhere: Run) -> None:
    assert await lifecycle.under_way(database) is not None
    earlier = update(Run).where(col(Run.id) == elsewhere.id)
    async with database.session() as session:
        await session.exec(earlier.values(alive_at=now() - timedelta(seconds=SILENT_S)))
    assert await lifecycle.under_way(database) is None
