"""Writers of one process: first come, first served, and none refused because of the others."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest
from sqlmodel import func, select

from feedback import journal
from feedback.database import Database
from feedback.errors import DatabaseLocked
from feedback.tables import Member
from feedback.write_queue import Nested
from tests.conftest import SQLITE


async def test_many_writers_at_once_all_succeed_although_nobody_waits_for_the_files_lock(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("feedback.database.BUSY_SECONDS", 0)
    await asyncio.gather(*(_write(database, f"member {number}") for number in range(64)))
    async with database.session(read_only=True) as session:
        assert (await session.exec(select(func.count()).select_from(Member))).one() == 64


@SQLITE
async def test_writers_are_let_in_in_the_order_in_which_they_came(database: Database) -> None:
    written: list[int] = []

    async def write(number: int) -> None:
        async with database.session() as session:
            await journal.member(session, "web", f"member {number}")
            written.append(number)

    await asyncio.gather(*(write(number) for number in range(20)))
    assert written == list(range(20))


@SQLITE
async def test_a_writer_does_not_wait_for_those_who_read(database: Database) -> None:
    async with AsyncExitStack() as reading:
        for _ in range(15):  # as many as are connected at once
            session = await reading.enter_async_context(database.session(read_only=True))
            await session.exec(select(Member))
        await _write(database, "ada")


@SQLITE
async def test_a_writer_cancelled_while_it_waits_lets_those_behind_it_in(database: Database) -> None:
    async with database.session() as session:
        waiting = [asyncio.create_task(_write(database, f"member {number}")) for number in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await journal.member(session, "web", "ada")
    waiting[1].cancel()  # at the moment at which it is let in
    ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(end) for end in ends] == [asyncio.CancelledError, asyncio.CancelledError, type(None)]
    await _write(database, "ben")


async def test_writers_cancelled_at_any_moment_hold_up_nobody(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("feedback.database.BUSY_SECONDS", 0)  # a lock left behind is met at once
    for steps in range(0, 60, 2):
        writing = [asyncio.create_task(_write(database, f"{steps} {number}")) for number in range(4)]
        for _ in range(steps):
            await asyncio.sleep(0)
        for task in (writing[0], writing[2], writing[0]):
            task.cancel()
            await asyncio.sleep(0)
        ends = await asyncio.gather(*writing, return_exceptions=True)
        assert (ends[1], ends[3]) == (None, None)


async def test_a_writing_session_within_another_one_is_refused(database: Database) -> None:
    with pytest.raises(Nested):
        async with database.session():
            await _write(database, "ada")
    await _write(database, "ada")


@SQLITE
async def test_a_writer_that_waits_for_a_task_of_its_own_that_writes_ends_in_an_error(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("feedback.write_queue.DEADLOCK_SECONDS", 0)
    with pytest.raises(Nested):
        async with database.session():
            await asyncio.create_task(_write(database, "ada"))
    await _write(database, "ada")


async def test_a_task_that_a_writer_started_writes_after_it(database: Database) -> None:
    async with database.session() as session:
        later = asyncio.create_task(_write(database, "ben"))
        await journal.member(session, "web", "ada")
    await later
    assert await _members(database) == ["ada", "ben"]


async def test_one_may_read_while_one_writes(database: Database) -> None:
    async with database.session() as session:
        await journal.member(session, "web", "ada")
        assert await _members(database) == []


async def test_writers_that_waited_behind_one_locked_out_by_another_program_are_told_with_it(
    tmp_path: Path, sqlite_template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("feedback.database.BUSY_SECONDS", 0)
    file = tmp_path / "record.db"
    file.write_bytes(sqlite_template.read_bytes())
    database = Database(f"sqlite:///{file}")
    with closing(sqlite3.connect(file, isolation_level=None)) as other:

        async def first() -> None:
            other.execute("BEGIN IMMEDIATE")
            try:
                await _write(database, "ada")
            finally:
                other.execute("ROLLBACK")

        async with database.session():
            waiting = [asyncio.create_task(work) for work in (first(), _write(database, "ben"))]
            await asyncio.sleep(0)
        ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(end) for end in ends] == [DatabaseLocked, DatabaseLocked]
    assert "another program" in str(ends[1])
    await _write(database, "cyd")
    assert await _members(database) == ["cyd"]
    await database.close()


async def _write(database: Database, name: str) -> None:
    async with database.session() as session:
        await journal.member(session, "web", name)


async def _members(database: Database) -> list[str]:
    async with database.session(read_only=True) as session:
        return list((await session.exec(select(Member.pseudonym).order_by(Member.pseudonym))).all())
