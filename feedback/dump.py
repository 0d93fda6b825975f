"""The whole record as files, and back: a copy of the SQLite file, or PostgreSQL's tables by COPY.

Both are one snapshot, taken while others read and write. PostgreSQL's rows go back into the schema that they
came from, made by our migrations, which then bring it up to date: so a dump outlives upgrades of Thumbloop
and of the server, and needs no pg_dump, which must be there and no older than the server. What is loaded is
of the same kind as what was dumped. All that blocks runs in threads.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from psycopg import Connection, Error, sql
from sqlalchemy import MetaData, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from feedback.database import Database, require_known
from feedback.errors import Conflict, DatabaseError

Kind = Literal["sqlite", "postgresql"]

SQLITE_FILE: Final = "record.db"
VERSION_TABLE: Final = "alembic_version"
_PIECE: Final = 1 << 20


@dataclass(frozen=True)
class Dump:
    """What a dump holds: of which kind, at which schema, and how many rows of each table.

    `columns` are those of PostgreSQL's tables, in the order of the files; a SQLite file knows its own.
    """

    kind: Kind
    revision: str
    rows: dict[str, int]
    columns: dict[str, list[str]]


async def dump(database: Database, folder: Path) -> Dump:
    """Write the record into `folder`, which is there and empty, at whatever schema it is.

    Raises DatabaseError.
    """
    if database.file is not None:
        return await asyncio.to_thread(_dump_sqlite, database.file, folder)
    return await asyncio.to_thread(_dump_postgresql, database, folder)


def check(folder: Path, dumped: Dump) -> None:
    """Read a dump back. Raises DatabaseError when it does not hold what it should."""
    found = _count_sqlite(folder / SQLITE_FILE) if dumped.kind == "sqlite" else _count_copies(folder, dumped)
    for table, number in dumped.rows.items():
        if found.get(table) != number:
            raise DatabaseError(
                f"The copy of the record holds {found.get(table, 0)} rows of {table} instead of {number}.",
                "Make the backup again; if that happens again, check the disk.",
            )


async def require_empty(database: Database) -> None:
    """Raise Conflict when the database holds anything that a restored record would mingle with."""
    if database.file is not None:
        if database.file.exists():
            raise Conflict(f"There is a record in {database.file} already.", _ELSEWHERE)
        return
    full = await asyncio.to_thread(_full_tables, database)
    if full:
        raise Conflict(f"{database.display_url} holds rows already (in {', '.join(full)}).", _ELSEWHERE)


async def load(database: Database, folder: Path, dumped: Dump) -> None:
    """Bring a dump into an empty database, at the schema that it came from.

    Raises SchemaTooNew, Conflict when the database is not empty or of the other kind, DatabaseError.
    """
    require_known(dumped.revision)
    kind: Kind = "sqlite" if database.is_sqlite else "postgresql"
    if kind != dumped.kind:
        raise Conflict(
            f"The backup is of a {_NAMES[dumped.kind]} record, and the settings name a {_NAMES[kind]} one.",
            "Restore it with a database URL of its own kind (THUMBLOOP_RECORD__DATABASE_URL).",
        )
    await require_empty(database)
    if database.file is not None:
        await asyncio.to_thread(_place_sqlite, folder / SQLITE_FILE, database.file)
    else:
        await database.upgrade(to=dumped.revision)
        await asyncio.to_thread(_load_postgresql, database, folder, dumped)


_ELSEWHERE: Final = "Restore into an empty data folder and an empty database, then look before you switch."
_NAMES: Final[dict[Kind, str]] = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


def _dump_sqlite(file: Path, folder: Path) -> Dump:
    copy = folder / SQLITE_FILE
    try:
        with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
            # alone in its file, without a WAL beside it that could be forgotten
            target.execute("PRAGMA journal_mode = DELETE")
            (revision,) = target.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()
    except sqlite3.Error as error:
        raise DatabaseError(
            f"The record in {file} could not be copied ({error}).",
            "Make room for the copy; `thumbloop doctor` says whether the record is well.",
        ) from error
    return Dump("sqlite", revision, _count_sqlite(copy), {})


def _count_sqlite(file: Path) -> dict[str, int]:
    """Rows by table of a file that is whole. Raises DatabaseError when it is not."""
    try:
        with closing(sqlite3.connect(f"file:{file.as_posix()}?mode=ro", uri=True)) as connection:
            (verdict,) = connection.execute("PRAGMA integrity_check").fetchone()
            if verdict != "ok":
                raise DatabaseError(f"The copy of the record is damaged: {verdict}.", _MEND)
            tables = connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' "
                "AND sql NOT LIKE 'CREATE VIRTUAL%'"
            ).fetchall()
            return {
                table: connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]
                for (table,) in tables
            }
    except sqlite3.Error as error:
        raise DatabaseError(f"The copy of the record cannot be read ({error}).", _MEND) from error


_MEND: Final = "Check the disk; `sqlite3 FILE .recover` may save what is in a damaged record."


def _place_sqlite(copy: Path, file: Path) -> None:
    part = file.with_name(f"{file.name}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(b"")
        part.chmod(0o600)
        with copy.open("rb") as source, part.open("wb") as target:
            while piece := source.read(_PIECE):
                target.write(piece)
        part.replace(file)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise DatabaseError(
            f"The record could not be written to {file} ({error.strerror}).", "Make room or grant writing."
        ) from error


def _dump_postgresql(database: Database, folder: Path) -> Dump:
    rows: dict[str, int] = {}
    columns: dict[str, list[str]] = {}
    with _postgresql(database) as (connection, tables):
        # one snapshot for all tables; whoever writes meanwhile is not held up
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        found = connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()
        assert found is not None, "Alembic keeps the version of what it made"
        for table in tables:
            if table == VERSION_TABLE:
                continue
            columns[table] = _columns(connection, table)
            leave = sql.SQL("COPY {} ({}) TO STDOUT").format(
                sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns[table]))
            )
            with connection.cursor() as cursor, _copy_of(folder, table).open("wb") as file:
                with cursor.copy(leave) as pieces:
                    for piece in pieces:
                        file.write(piece)
                rows[table] = cursor.rowcount
    return Dump("postgresql", found[0], rows, columns)


def _columns(connection: Connection[Any], table: str) -> list[str]:
    """The columns that hold what was written, in their order, without those that the server works out."""
    found = connection.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = current_schema() "
        "AND table_name = %s AND is_generated = 'NEVER' ORDER BY ordinal_position",
        (table,),
    )
    return [name for (name,) in found]


def _copy_of(folder: Path, table: str) -> Path:
    return folder / f"{table}.copy"


def _count_copies(folder: Path, dumped: Dump) -> dict[str, int]:
    """Rows by table: COPY writes each on a line, and line breaks in values as escapes."""
    counted = {}
    for table in dumped.columns:
        with _copy_of(folder, table).open("rb") as file:
            counted[table] = sum(piece.count(b"\n") for piece in iter(lambda: file.read(_PIECE), b""))
    return counted


def _full_tables(database: Database) -> list[str]:
    with _postgresql(database) as (connection, tables):
        return [
            table
            for table in tables
            if table != VERSION_TABLE
            and connection.execute(
                sql.SQL("SELECT 1 FROM {} LIMIT 1").format(sql.Identifier(table))
            ).fetchone()
        ]


def _load_postgresql(database: Database, folder: Path, dumped: Dump) -> None:
    with _postgresql(database) as (connection, tables):
        missing = sorted(dumped.columns.keys() - set(tables))
        if missing:
            raise DatabaseError(f"The backup holds tables that are not known here: {', '.join(missing)}.")
        for table in (table for table in tables if table in dumped.columns):
            columns = dumped.columns[table]
            enter = sql.SQL("COPY {} ({}) FROM STDIN").format(
                sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
            )
            with connection.cursor() as cursor, _copy_of(folder, table).open("rb") as file:
                with cursor.copy(enter) as target:
                    while piece := file.read(_PIECE):
                        target.write(piece)
                if cursor.rowcount != dumped.rows[table]:
                    raise DatabaseError(
                        f"Of {table}, {cursor.rowcount} rows came back instead of {dumped.rows[table]}."
                    )
            for column in columns:
                _count_on(connection, table, column)


def _count_on(connection: Connection[Any], table: str, column: str) -> None:
    """Let a column that counts up by itself go on behind the largest number loaded."""
    found = connection.execute("SELECT pg_get_serial_sequence(%s, %s)", (table, column)).fetchone()
    if found is not None and found[0] is not None:
        connection.execute(
            sql.SQL("SELECT setval(%s, max({column}), true) FROM {table} HAVING max({column}) > 0").format(
                column=sql.Identifier(column), table=sql.Identifier(table)
            ),
            found,
        )


@contextmanager
def _postgresql(database: Database) -> Iterator[tuple[Connection[Any], list[str]]]:
    """A connection in a transaction, and the tables, those first that others refer to."""
    engine = create_engine(database.sync_url, poolclass=NullPool, hide_parameters=True)
    try:
        metadata = MetaData()
        metadata.reflect(engine)
        tables = [table.name for table in metadata.sorted_tables]
        raw = engine.raw_connection()
        try:
            connection = raw.driver_connection
            assert isinstance(connection, Connection), "the driver is psycopg"
            with connection.transaction():
                yield connection, tables
        finally:
            raw.close()
    except (DBAPIError, Error) as error:
        told = error.orig if isinstance(error, DBAPIError) else error
        raise DatabaseError(
            f"{database.display_url} could not be copied: {str(told).partition(chr(10))[0]}.",
            "Check that PostgreSQL runs there, and its log.",
        ) from error
