"""The schema's history: from nothing, from every released schema, and refused from the future.

`AS_0001_LEFT_IT` and `AS_0003_LEFT_IT` are what those schemas held and stay as they are; a new revision adds
nothing here but what it promises about those rows.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, create_engine, inspect, text
from sqlmodel import SQLModel, col, select

from feedback import journal, open_questions, platform_state, tables
from feedback.database import _MIGRATIONS, Database, Upgraded, _config, _revisions
from feedback.errors import DatabaseError, SchemaTooNew

AS_0001_LEFT_IT: Final = (
    "INSERT INTO community (id, platform, external_id, name, persona, language, default_mode,"
    " training_allowed, created_at) VALUES (1, 'discord', 'g', 'Guild', '', 'auto', 'default', true,"
    " '2026-01-02 03:04:05')",
    "INSERT INTO member (id, platform, pseudonym, opted_out, created_at) VALUES"
    " (1, 'discord', 'ada', false, '2026-01-02 03:04:05')",
    "INSERT INTO conversation (id, community_id, external_id, started_at) VALUES"
    " (1, 1, 't', '2026-01-02 03:04:05')",
    "INSERT INTO turn (id, community_id, conversation_id, member_id, external_id, state, question, input,"
    " answer, mode, language, task_type, base_model, base_revision, prompt_fingerprint, prompt_tokens,"
    " answer_tokens, first_token_s, total_s, error_reference, asked_at, review_state, approved_answer,"
    " held_out, queue_rank, claimed_by) VALUES (1, 1, 1, 1, 'm', 'answered', 'Why?', '', 'Because.',"
    " 'default', 'en', 'qa', 'base', '', '', 1, 2, 0.5, 1.5, '', '2026-01-02 03:04:05', 'approved',"
    " 'Because.', false, -1, '')",
    "INSERT INTO vote (id, turn_id, member_id, value, reason, suggested_answer, voted_at) VALUES"
    " (1, 1, 1, 1, '', '', '2026-01-02 03:04:05')",
    "INSERT INTO review (id, turn_id, reviewer, decision, answer, note, decided_at) VALUES"
    " (1, 1, 'mo', 'approve', '', '', '2026-01-02 03:04:05')",
)

_TURN: Final = (
    "INSERT INTO turn (id, community_id, conversation_id, external_id, state, question, input, answer, mode,"
    " language, task_type, base_model, base_revision, prompt_fingerprint, prompt_tokens, answer_tokens,"
    " first_token_s, total_s, error_reference, asked_at, review_state, approved_answer, held_out,"
    " queue_rank, claimed_by) VALUES ({ids}, 'asked', '{question}', '', '', 'default', 'en', 'qa', '', '',"
    " '', 0, 0, 0, 0, '', '2026-01-02 03:04:05', 'waiting', '', false, 0, '')"
)
_OPEN_IN_A_GROUP: Final = (
    '{"community": "-5", "external_id": "-5-7", "conversation": "-5-7", "member": "1001",'
    ' "spot": {"chat": -5, "thread": null, "reply_to": 7}, "private": false, "drawn": [8, 9],'
    ' "text": "In the group?", "asked": 1767323045.5, "regenerates": null}'
)
_OPEN_WITHOUT_A_TURN: Final = (
    '{"community": "direct", "external_id": "key-3", "conversation": "key", "member": "1002",'
    ' "spot": {"chat": 1002, "thread": null, "reply_to": 0}, "private": true, "drawn": [],'
    ' "text": "Not yet a turn?", "asked": 1767323045.5, "regenerates": null}'
)
AS_0003_LEFT_IT: Final = (
    *AS_0001_LEFT_IT,
    "INSERT INTO community (id, platform, external_id, name, persona, language, default_mode,"
    " training_allowed, own_channels, moderator_roles, log_channel, cooldown_seconds, created_at) VALUES"
    " (2, 'telegram', '-5', 'Group', '', 'auto', 'default', false, '[]', '[]', '', 3, '2026-01-02 03:04:05')",
    "INSERT INTO conversation (id, community_id, external_id, started_at) VALUES"
    " (2, 2, '-5-7', '2026-01-02 03:04:05'), (3, 1, '200/300', '2026-01-02 03:04:05'),"
    " (4, 1, 'chat-abc', '2026-01-02 03:04:05')",
    _TURN.format(ids="2, 2, 2, '-5-7'", question="In the group?"),
    _TURN.format(ids="3, 1, 3, '300'", question="In the channel?"),
    _TURN.format(ids="4, 1, 4, 'api-1'", question="Through the API?"),
    *(
        "INSERT INTO bookmark (id, platform, external_id, last_seen, seen_at) VALUES"
        f" ({number}, '{platform}', '{name}', '{value}', '2026-01-02 03:04:05')"
        for number, (platform, name, value) in enumerate(
            (
                ("telegram", "open:-5-7", _OPEN_IN_A_GROUP),
                ("telegram", "open:key-3", _OPEN_WITHOUT_A_TURN),
                ("telegram", "commands:42", "hash"),
                ("telegram", "tapped", "77"),
                ("discord", "200", "17"),
                ("discord", "heard", "18"),
            ),
            1,
        )
    ),
)
HELD_BY_0001: Final = (
    "INSERT INTO run (id, adapter_name, state, step, progress, settings, verdict, started_by, pid, host,"
    " started_at) VALUES (1, 'a', 'held', 'verdict', '{}', '{}', 'Held: Held: by whom.', 'mo', 1, '',"
    " '2026-01-02 03:04:05')",
    "INSERT INTO run (id, adapter_name, state, step, progress, settings, verdict, started_by, pid, host,"
    " started_at) VALUES (2, 'a', 'failed', 'verdict', '{}', '{}', 'Held: no verdict.', 'mo', 1, '',"
    " '2026-01-02 03:04:05')",
    "INSERT INTO adapter (id, name, version, state, folder, content_hash, base_model, base_revision, metrics,"
    " created_at) VALUES (1, 'a', 1, 'held', 'adapters/a/1', '', 'base', '', '{}', '2026-01-02 03:04:05')",
)


def head() -> str:
    return _revisions(_MIGRATIONS)[0]


async def test_an_empty_database_gets_the_newest_schema(empty_database: Database) -> None:
    assert await empty_database.upgrade() == Upgraded("", head())
    await empty_database.require_current()
    async with empty_database.session() as session:
        await journal.member(session, "web", "ada")


async def test_upgrading_twice_changes_nothing(database: Database) -> None:
    assert await database.upgrade() == Upgraded(head(), head())


async def test_two_processes_may_upgrade_at_once(empty_database: Database, empty_database_url: str) -> None:
    others = [Database(empty_database_url) for _ in range(3)]
    upgrades = await asyncio.gather(*(one.upgrade() for one in (empty_database, *others)))
    assert sorted(done.before for done in upgrades) == ["", *[head()] * 3]


def test_the_migrations_make_what_the_tables_declare(database_url: str) -> None:
    def is_ours(thing: Any, name: str | None, kind: str, reflected: bool, compare_to: Any) -> bool:
        return not (kind == "table" and name in tables.TABLES_OF_OTHERS)

    with create_engine(Database(database_url).sync_url).connect() as connection:
        # as APScheduler's job store makes it, in the same database
        connection.execute(text("CREATE TABLE apscheduler_jobs (id VARCHAR(191) PRIMARY KEY)"))
        options = {"compare_type": True, "include_object": is_ours}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, SQLModel.metadata) == []


def test_every_constraint_has_a_name_that_a_later_migration_can_call(database_url: str) -> None:
    with create_engine(Database(database_url).sync_url).connect() as connection:
        found = inspect(connection)
        for table in SQLModel.metadata.tables:
            for key in found.get_foreign_keys(table):
                assert key["name"] == f"fk_{table}_{key['constrained_columns'][0]}_{key['referred_table']}"
            assert found.get_pk_constraint(table)["name"] == f"pk_{table}"


async def test_a_database_of_a_newer_schema_is_left_alone(database: Database) -> None:
    async with database.session() as session:
        await (await session.connection()).execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for attempt in (database.upgrade, database.require_current):
        with pytest.raises(SchemaTooNew, match="schema 9999, newer than") as refused:
            await attempt()
        assert "newer Thumbloop" in refused.value.remedy


async def test_a_database_without_schema_is_not_current(empty_database: Database) -> None:
    with pytest.raises(DatabaseError, match="thumbloop db upgrade"):
        await empty_database.require_current()


async def test_asking_whether_a_file_is_current_does_not_make_it(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="thumbloop db upgrade"):
        await Database(f"sqlite:///{tmp_path / 'record.db'}").require_current()
    assert list(tmp_path.iterdir()) == []


async def test_writing_without_a_schema_says_to_upgrade(empty_database: Database) -> None:
    if empty_database.file is not None:
        empty_database.file.parent.mkdir()
    with pytest.raises(DatabaseError, match="thumbloop db upgrade"):
        async with empty_database.session() as session:
            await journal.member(session, "web", "ada")


async def test_rows_of_the_first_schema_survive_every_upgrade(empty_database: Database) -> None:
    await _leave_as_0001(empty_database)
    await empty_database.upgrade()
    async with empty_database.session(read_only=True) as session:
        turn = await journal.find_turn(session, 1)
        vote = (await session.exec(select(tables.Vote))).one()
        review = (await session.exec(select(tables.Review))).one()
    assert (turn.question, turn.approved_answer, turn.review_state) == ("Why?", "Because.", "approved")
    assert str(turn.asked_at) == "2026-01-02 03:04:05+00:00"
    assert (vote.value, review.reviewer) == (1, "mo")


async def test_open_questions_and_what_platforms_remembered_move_out_of_the_bookmarks(
    empty_database: Database,
) -> None:
    await _leave_as("0003", empty_database, AS_0003_LEFT_IT)
    await empty_database.upgrade()
    async with empty_database.session(read_only=True) as session:
        group, private = await open_questions.all_open(session, "telegram")
        (channel,) = await open_questions.all_open(session, "discord")
        bookmarks = await journal.bookmarks(session, "telegram"), await journal.bookmarks(session, "discord")
        commands = await platform_state.recall(session, "telegram", "commands:42")
        tapped = (await session.exec(select(tables.IncomingUpdate))).one()
    assert (group.turn.id, group.turn.question, group.turn.state) == (2, "In the group?", "asked")
    assert (group.asker, group.conversation, group.drawn) == ("1001", "-5-7", ("8", "9"))
    assert group.shown_in == {"chat": -5, "thread": None, "reply_to": 7, "private": False}
    assert (private.turn.question, private.turn.state) == ("Not yet a turn?", "asked")
    assert (private.turn.external_id, private.turn.asked_at.timestamp()) == ("key-3", 1767323045.5)
    assert (private.community.external_id, private.conversation) == ("direct", "key")
    assert (private.asker, private.shown_in["chat"], private.turn.member_id) == ("1002", 1002, None)
    assert (channel.turn.id, channel.shown_in, channel.asker) == (3, {"channel": 200}, "")
    assert bookmarks == ({}, {"200": "17", "heard": "18"})
    assert commands == "hash"
    assert (tapped.external_id, tapped.handled_at is not None) == ("77", True)


async def test_what_earlier_schemas_called_held_is_rejected_and_its_verdict_says_so(
    empty_database: Database,
) -> None:
    await _leave_as_0001(empty_database, *HELD_BY_0001)
    await empty_database.upgrade()
    async with empty_database.session(read_only=True) as session:
        runs = (await session.exec(select(tables.Run).order_by(col(tables.Run.id)))).all()
        adapter = (await session.exec(select(tables.Adapter))).one()
    assert [(run.state, run.verdict) for run in runs] == [
        ("rejected", "Rejected: Held: by whom."),
        ("failed", "Held: no verdict."),
    ]
    assert adapter.state == "rejected"


async def test_a_sqlite_file_is_backed_up_before_its_schema_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(f"sqlite:///{tmp_path / 'record.db'}")
    await _leave_as_0001(database)
    _add_revision(tmp_path, monkeypatch, "op.execute('DELETE FROM vote')")

    done = await database.upgrade()

    assert done == Upgraded("0001", "next", tmp_path / "record.db.before-next")
    assert done.backup is not None
    kept = sqlite3.connect(done.backup).execute(
        "SELECT count(*), max(version_num) FROM vote, alembic_version"
    )
    assert kept.fetchone() == (1, "0001")


async def test_an_upgrade_that_fails_half_way_changes_nothing(
    empty_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _leave_as_0001(empty_database)
    with monkeypatch.context() as patch:
        _add_revision(tmp_path, patch, "op.drop_table('vote'); raise LookupError")
        with pytest.raises(LookupError):
            await empty_database.upgrade()
    await empty_database.upgrade()
    async with empty_database.session(read_only=True) as session:
        assert len((await session.exec(select(tables.Vote))).all()) == 1


async def test_a_table_can_be_rebuilt_without_losing_rows_that_point_to_it(
    empty_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _leave_as_0001(empty_database)
    _add_revision(
        tmp_path,
        monkeypatch,
        "\n    with op.batch_alter_table('turn', recreate='auto') as turn:"
        "\n        turn.alter_column('mode', existing_type=sa.String(), type_=sa.Text())",
    )
    await empty_database.upgrade()
    async with empty_database.session(read_only=True) as session:
        assert (await journal.find_turn(session, 1)).question == "Why?"
        assert len((await session.exec(select(tables.Vote))).all()) == 1


async def test_an_upgrade_that_would_break_links_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(f"sqlite:///{tmp_path / 'record.db'}")
    await _leave_as_0001(database)
    _add_revision(tmp_path, monkeypatch, "op.execute('DELETE FROM member')")
    with pytest.raises(DatabaseError, match="breaks links between rows"):
        await database.upgrade()
    rows = sqlite3.connect(tmp_path / "record.db").execute("SELECT count(*) FROM member")
    assert rows.fetchone() == (1,)


async def _leave_as_0001(database: Database, *more: str) -> None:
    await _leave_as("0001", database, (*AS_0001_LEFT_IT, *more))


async def _leave_as(revision: str, database: Database, rows: Sequence[str]) -> None:
    def make() -> None:
        if database.file is not None:
            database.file.parent.mkdir(exist_ok=True)
        with create_engine(database.sync_url).begin() as connection:
            _upgrade_to(connection, revision)
            for statement in rows:
                connection.exec_driver_sql(statement)
            if (
                connection.dialect.name == "postgresql"
            ):  # rows with ids of their own leave the counters behind
                for table in ("community", "conversation", "turn"):
                    counter = f"pg_get_serial_sequence('{table}', 'id')"
                    connection.exec_driver_sql(f"SELECT setval({counter}, 1000)")

    await asyncio.to_thread(make)


def _upgrade_to(connection: Connection, revision: str) -> None:
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _add_revision(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Make this Thumbloop one whose newest schema is "next", which does `body`."""
    newest = head()
    migrations = folder / "migrations"
    shutil.copytree(Path(tables.__file__).parent / "migrations", migrations)
    (migrations / "versions" / "next.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import op\n"
        f"revision = 'next'\ndown_revision = {newest!r}\nbranch_labels = depends_on = None\n"
        f"def upgrade():\n    {body}\n"
    )
    monkeypatch.setattr("feedback.database._MIGRATIONS", migrations)
