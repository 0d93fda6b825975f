"""Rows come whole and in order, whether they come with the statement or are asked for afterwards."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy.exc import OperationalError
from sqlmodel import col, delete, select, text

from feedback import journal
from feedback.database import Database
from feedback.tables import Member
from tests.conftest import SQLITE

pytestmark = SQLITE


@pytest.fixture(autouse=True)
def _few_rows_come_with_the_statement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("feedback.sqlite_connection.FIRST_ROWS", 3)


@pytest.mark.parametrize("count", [0, 2, 3, 4, 10])
async def test_all_rows_come_in_order(database: Database, count: int) -> None:
    names = await _written(database, count)
    by_name = select(Member.pseudonym).order_by(col(Member.id))
    async with database.session(read_only=True) as session:
        assert (await session.exec(by_name)).all() == names
        assert [row async for row in await session.stream_scalars(by_name)] == names
        pages = [list(page) async for page in (await session.stream_scalars(by_name)).partitions(2)]
        assert [name for page in pages for name in page] == names
        assert (await session.stream_scalars(by_name)) is not None  # one that nobody reads holds up nothing
    async with database.session() as session:
        assert (await session.exec(delete(Member))).rowcount == count


async def test_a_statement_that_fails_leaves_the_session_to_be_rolled_back(database: Database) -> None:
    with pytest.raises(OperationalError, match="no such column"):
        async with database.session() as session:
            await journal.member(session, "web", "ada")
            await session.execute(text("SELECT no_such FROM member"))
    assert await _written(database, 1) == ["member 0"]


async def test_a_task_cancelled_while_many_rows_are_read_leaves_a_connection_that_works(
    database: Database,
) -> None:
    names = await _written(database, 10)

    async def read() -> list[str]:
        async with database.session(read_only=True) as session:
            return list((await session.exec(select(Member.pseudonym).order_by(col(Member.id)))).all())

    for steps in range(25):
        reading = asyncio.create_task(read())
        for _ in range(steps):
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        assert await read() == names


async def _written(database: Database, count: int) -> list[str]:
    names = [f"member {number}" for number in range(count)]
    async with database.session() as session:
        for name in names:
            await journal.member(session, "web", name)
    return names
