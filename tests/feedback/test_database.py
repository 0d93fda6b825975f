"""Opening, sessions and faults: what a person and the other packages may rely on."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError
from sqlmodel import select

from feedback import journal
from feedback.cancellation import to_its_end
from feedback.database import Database
from feedback.errors import DatabaseError, SettingsError
from feedback.tables import Member


@pytest.fixture
def no_root_rights(tmp_path: Path) -> Iterator[None]:
    """For root, who may write everything, go on as the user nobody, let into the test's folder."""
    if os.geteuid() != 0:
        yield
        return
    nobody = 65534
    os.chown(tmp_path, nobody, nobody)
    for folder in tmp_path.parents:
        if folder == Path(tempfile.gettempdir()):
            break
        folder.chmod(folder.stat().st_mode | 0o011)
    os.seteuid(nobody)
    yield
    os.seteuid(0)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mysql://u:hunter2@host/db",
        "sqlite://",
        "sqlite:///:memory:",
        "no url",
        "sqlite:///file:x?uri=true",
        "postgresql://u:hunter2@h:x/db",
    ],
)
def test_an_unusable_url_is_refused_with_what_is_allowed_and_without_its_password(url: str) -> None:
    with pytest.raises(SettingsError, match="sqlite:///path/to") as refused:
        Database(url)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hunter2@host/db",
        "postgres://u:hunter2@host/db",
        "postgresql://u@host/db?password=hunter2",
    ],
)
def test_a_password_is_masked_wherever_the_database_is_shown(url: str) -> None:
    database = Database(url)
    assert "hunter2" not in repr(database) + str(database) + database.display_url
    assert "u:***@host/db" in database.display_url


def test_the_synchronous_url_is_for_psycopg_and_complete() -> None:
    assert Database("postgresql://u:hunter2@host/db").sync_url == "postgresql+psycopg://u:hunter2@host/db"
    assert Database("sqlite+aiosqlite:///some/file.db").sync_url == "sqlite:///some/file.db"


def test_constructing_a_database_touches_nothing(tmp_path: Path) -> None:
    Database(f"sqlite:///{tmp_path / 'folder' / 'record.db'}")
    assert list(tmp_path.iterdir()) == []


async def test_a_session_keeps_what_was_written_when_its_block_ends(database: Database) -> None:
    async with database.session() as session:
        await journal.member(session, "web", "ada")
    assert await _members(database) == ["ada"]


async def test_a_session_keeps_nothing_when_its_block_raises(database: Database) -> None:
    with pytest.raises(LookupError):
        async with database.session() as session:
            await journal.member(session, "web", "ada")
            raise LookupError
    assert await _members(database) == []


async def test_a_read_only_session_refuses_to_write(database: Database) -> None:
    with pytest.raises(DatabaseError, match="read-only"):
        async with database.session(read_only=True) as session:
            await journal.member(session, "web", "ada")
    async with database.session() as session:
        await journal.member(session, "web", "ada")
    assert await _members(database) == ["ada"]


async def test_a_read_only_session_sees_one_moment_while_others_write(database: Database) -> None:
    async with database.session(read_only=True) as reader:
        assert (await reader.exec(select(Member))).all() == []
        async with database.session() as writer:
            await journal.member(writer, "web", "ada")
        assert (await reader.exec(select(Member))).all() == []
    assert await _members(database) == ["ada"]


async def test_sessions_that_read_and_then_write_at_once_all_succeed(database: Database) -> None:
    async def rename(number: int) -> None:
        async with database.session() as session:
            found = await journal.community(session, "web", "one")
            found.name = f"name {number}"
            session.add(found)

    await asyncio.gather(*(rename(number) for number in range(12)))


async def test_tasks_cancelled_at_any_moment_leave_no_lock_no_half_and_no_error(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async def write(number: int) -> None:
        async with database.session() as session:
            await journal.member(session, "web", f"{number} first")
            await journal.member(session, "web", f"{number} second")
        async with database.session(read_only=True) as session:
            await journal.bookmarks(session, "web")

    ends: list[BaseException | None] = [asyncio.CancelledError()]
    while ends[-1] is not None:  # until one is through before it is cancelled
        writing = asyncio.create_task(write(len(ends)))
        for _ in range(len(ends) * 3):
            await asyncio.sleep(0)
        writing.cancel()
        ends += await asyncio.gather(writing, return_exceptions=True)  # and the frames in which each ended
        await write(-len(ends))
    kept = await _members(database)
    assert not [name for name in kept if name.partition(" ")[0] + " second" not in kept]
    assert not [entry for entry in caplog.records if entry.levelname == "ERROR"]


async def test_work_is_waited_for_however_often_the_waiting_is_cancelled() -> None:
    may_end, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await may_end.wait()
        ended.set()

    waiting = asyncio.create_task(to_its_end(work()))
    for _ in range(3):
        await asyncio.sleep(0)
        waiting.cancel()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended.is_set()


async def test_a_database_is_usable_again_after_closing(database: Database) -> None:
    await database.close()
    await database.close()
    assert await _members(database) == []


async def test_a_text_with_characters_that_no_database_holds_is_kept_without_them(database: Database) -> None:
    async with database.session() as session:
        await journal.community(session, "web", "one", name="a\0b\ud800c\n")
    async with database.session() as session:
        assert (await journal.community(session, "web", "one")).name == "a\N{REPLACEMENT CHARACTER}b?c\n"


async def test_times_come_back_in_utc(database: Database) -> None:
    async with database.session() as session:
        await journal.member(session, "web", "ada")
    async with database.session() as session:
        assert str((await journal.member(session, "web", "ada")).created_at).endswith("+00:00")


async def test_sqlite_runs_in_wal_mode_with_foreign_keys(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'record.db'}")
    await database.upgrade()
    async with database.session() as session:
        connection = await session.connection()
        modes = [
            (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "foreign_keys")
        ]
    await database.close()
    assert modes == ["wal", 1]


async def test_two_processes_that_write_at_once_both_succeed(database_url: str) -> None:
    program = (
        "import asyncio, sys\n"
        "from feedback import journal\n"
        "from feedback.database import Database\n"
        "async def write():\n"
        "    database = Database(sys.argv[1])\n"
        "    for number in range(30):\n"
        "        async with database.session() as session:\n"
        "            found = await journal.community(session, 'web', 'one')\n"
        "            found.name += 'x'\n"
        "            session.add(found)\n"
        "    await database.close()\n"
        "asyncio.run(write())\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", program, database_url]) for _ in range(2)]
    assert [await asyncio.to_thread(process.wait) for process in processes] == [0, 0]


async def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "record.db").write_text("a love letter, long enough to be told from a database header" * 20)
    with pytest.raises(DatabaseError, match="is not a database"):
        await Database(f"sqlite:///{tmp_path / 'record.db'}").upgrade()


async def test_a_folder_in_the_way_is_explained(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="cannot be opened"):
        await Database(f"sqlite:///{tmp_path}").upgrade()


async def test_a_file_as_data_folder_is_explained(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(DatabaseError, match="cannot be made"):
        await Database(f"sqlite:///{tmp_path / 'data' / 'record.db'}").upgrade()


async def test_a_locked_sqlite_file_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("feedback.database.BUSY_SECONDS", 0)
    database = Database(f"sqlite:///{tmp_path / 'record.db'}")
    await database.upgrade()
    holder = sqlite3.connect(tmp_path / "record.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(DatabaseError, match="locked by another program"):
            await _write(database)
    finally:
        holder.close()
        await database.close()


async def test_a_full_disk_is_explained(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'record.db'}")
    await database.upgrade()
    with pytest.raises(DatabaseError, match="the disk is full"):
        async with database.session() as session:
            # SQLite reports its own page limit exactly as it reports a disk without room
            await (await session.connection()).exec_driver_sql("PRAGMA max_page_count = 1")
            for number in range(50):
                await journal.community(session, "web", str(number), name="x" * 10_000)
    await database.close()


async def test_checking_whether_the_record_can_be_written_changes_nothing(database: Database) -> None:
    await database.check_writing()
    await database.check_writing()
    await database.require_current()


async def test_a_record_that_somebody_made_read_only_does_not_pass_for_writable(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'record.db'}")
    await database.upgrade()
    async with database.session() as session:
        connection = await session.connection()
        await connection.exec_driver_sql(
            "CREATE TRIGGER no BEFORE UPDATE ON alembic_version BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    with pytest.raises(DBAPIError):
        await database.check_writing()
    await database.close()


async def test_a_read_only_data_folder_is_explained(tmp_path: Path, no_root_rights: None) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(DatabaseError, match=r"cannot be opened.*may be written"):
        await Database(f"sqlite:///{tmp_path / 'record.db'}").upgrade()
    with pytest.raises(DatabaseError, match=r"Permission denied.*grant writing"):
        await Database(f"sqlite:///{tmp_path / 'data' / 'record.db'}").upgrade()
    assert list(tmp_path.iterdir()) == []


async def test_a_read_only_file_is_explained(tmp_path: Path, no_root_rights: None) -> None:
    database = Database(f"sqlite:///{tmp_path / 'record.db'}")
    await database.upgrade()
    (tmp_path / "record.db").chmod(0o444)
    with pytest.raises(DatabaseError, match="may not be written"):
        await _write(database)
    await database.close()


async def test_a_server_that_does_not_answer_is_explained_without_the_password() -> None:
    database = Database("postgresql://someone:hunter2@127.0.0.1:1/record")
    with pytest.raises(DatabaseError, match="cannot be reached") as unreachable:
        await _write(database)
    assert "hunter2" not in repr(unreachable.value) + repr(unreachable.value.__cause__)
    await database.close()


async def test_a_missing_postgresql_database_is_explained(postgresql_server: str) -> None:
    database = Database(postgresql_server.replace("/postgres?", "/nowhere?"))
    with pytest.raises(DatabaseError, match="does not exist"):
        await _write(database)
    await database.close()


async def _write(database: Database) -> None:
    async with database.session() as session:
        await journal.member(session, "web", "ada")


async def _members(database: Database) -> list[str]:
    async with database.session(read_only=True) as session:
        return [member.pseudonym for member in (await session.exec(select(Member))).all()]
