"""The record as files and back, on both databases."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlmodel import select

from feedback import dump, journal
from feedback.database import Database
from feedback.errors import Conflict, DatabaseError, SchemaTooNew
from feedback.tables import Member, Turn
from tests.chronicle import Chronicle
from tests.feedback.test_migrations import AS_0001_LEFT_IT


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    """An empty folder for a dump, beside the record's own."""
    folder = tmp_path / "copies"
    folder.mkdir()
    return folder


ODD = 'tab\there, a line\nbreak, \\N and \\., a "quote", zażółć, \N{ROCKET}, and \r at the end\r'


async def test_what_was_said_comes_back_word_for_word(
    database: Database, empty_database: Database, chronicle: Chronicle, copies: Path
) -> None:
    turn_id = await chronicle.answered(ODD)
    await chronicle.vote(turn_id, -1, reason="tone", suggested_answer=ODD)
    dumped = await dump.dump(database, copies)
    dump.check(copies, dumped)
    await dump.load(empty_database, copies, dumped)
    await empty_database.require_current()
    async with empty_database.session(read_only=True) as session:
        turn = (await session.exec(select(Turn))).one()
    assert (turn.id, turn.question, turn.state) == (turn_id, ODD, "answered")
    assert turn.asked_at == (await chronicle.turn(turn_id)).asked_at


async def test_the_restored_record_goes_on_counting_where_it_was(
    database: Database, empty_database: Database, chronicle: Chronicle, copies: Path
) -> None:
    last = [await chronicle.asked() for _ in range(3)][-1]
    await dump.load(empty_database, copies, await dump.dump(database, copies))
    async with empty_database.session() as session:
        first = await journal.find_turn(session, last)
        asked = await journal.ask(
            session,
            community_id=first.community_id,
            conversation_id=first.conversation_id,
            member_id=None,
            external_id="after",
            question="And now?",
            mode="default",
            language="en",
        )
    assert asked.is_new and asked.turn.id == last + 1


async def test_a_dump_of_an_older_schema_is_loaded_as_it_was_and_then_brought_up_to_date(
    empty_database: Database, copies: Path
) -> None:
    await empty_database.upgrade(to="0001")
    async with empty_database.session() as session:
        for statement in AS_0001_LEFT_IT:
            await session.execute(text(statement))
    dumped = await dump.dump(empty_database, copies)
    assert dumped.revision == "0001"
    await _empty(empty_database)
    await dump.load(empty_database, copies, dumped)
    assert (await empty_database.upgrade()).before == "0001"
    async with empty_database.session(read_only=True) as session:
        assert (await session.exec(select(Member))).one().pseudonym == "ada"


async def test_what_is_written_while_the_record_is_copied_holds_nobody_up(
    database: Database, chronicle: Chronicle, copies: Path
) -> None:
    await chronicle.asked()
    async with database.session() as session:  # it writes, and has not come to its end
        await journal.member(session, "discord", "unfinished")
        dumped = await dump.dump(database, copies)
    dump.check(copies, dumped)
    assert (dumped.rows["turn"], dumped.rows["member"]) == (1, 1)


async def test_a_record_that_holds_something_is_never_written_into(
    database: Database, chronicle: Chronicle, copies: Path
) -> None:
    await chronicle.asked()
    dumped = await dump.dump(database, copies)
    with pytest.raises(Conflict, match="already"):
        await dump.load(database, copies, dumped)


async def test_a_dump_of_a_newer_thumbloop_is_refused(
    database: Database, empty_database: Database, copies: Path
) -> None:
    dumped = await dump.dump(database, copies)
    with pytest.raises(SchemaTooNew):
        await dump.load(empty_database, copies, dump.Dump(dumped.kind, "9999", dumped.rows, dumped.columns))


async def test_a_copy_that_lost_rows_is_noticed(
    database: Database, chronicle: Chronicle, copies: Path, dialect: str
) -> None:
    await chronicle.asked()
    dumped = await dump.dump(database, copies)
    if dialect == "sqlite":
        with sqlite3.connect(copies / dump.SQLITE_FILE) as copy:
            copy.execute("DELETE FROM turn")
    else:
        (copies / "turn.copy").write_bytes(b"")
    with pytest.raises(DatabaseError, match="0 rows of turn instead of 1"):
        dump.check(copies, dumped)


async def _empty(database: Database) -> None:
    if database.file is None:
        async with database.session() as session:
            await session.execute(text("TRUNCATE community, member CASCADE"))
    else:
        await database.close()
        database.file.unlink()
