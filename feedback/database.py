"""Opening a database, sessions on it, and bringing its schema up to date.

SQLite (a file, WAL) and PostgreSQL behave alike here: a session is one transaction, committed when its
block ends well and rolled back otherwise. On SQLite the writing sessions of a process queue (`write_queue`),
and the first of them takes the file's write lock at its first statement, so that processes wait for one
another instead of deadlocking: keep sessions short, and never hold one while a model answers. Faults become
`DatabaseError` with what to do; no password ever appears in one.
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, pool, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from feedback.cancellation import to_its_end
from feedback.errors import DatabaseError, DatabaseLocked, SchemaTooNew, SettingsError
from feedback.sqlite_connection import Connections
from feedback.write_queue import WriteQueue

ALLOWED_URLS: Final = "sqlite:///path/to/file.db or postgresql://user:password@host/name"
BUSY_SECONDS: Final = 30
"""How long a SQLite statement waits for another process's lock before it gives up."""
ROOM_BYTES: Final = 65_536
"""Room that the record of a long answer takes, indexes and journal included."""
CONNECT_SECONDS: Final = 10
"""How long a PostgreSQL server may take to accept a connection."""

_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_UPGRADE_LOCK = 0x7468756D62  # "thumb": the advisory lock that upgrades of one PostgreSQL database queue on
_READ_ONLY = "thumbloop_read_only"
_UPGRADE = "Run `thumbloop db upgrade`, then start again."


@dataclass(frozen=True)
class Upgraded:
    """What an upgrade did: revisions before ("" is an empty database) and after, and the backup kept."""

    before: str
    after: str
    backup: Path | None = None


class Database:
    """The record's database. Holds the URL; the first session connects.

    Use one in one event loop, and `close` it there.
    """

    def __init__(self, url: str) -> None:
        """Take a URL of `ALLOWED_URLS`. Raises SettingsError when it is anything else."""
        self._url = _parse(url)
        self._queue = WriteQueue(ordered=self.is_sqlite)
        self._connections = Connections(self.file) if self.file is not None else None

    def __repr__(self) -> str:
        return f"Database({self.display_url!r})"

    @property
    def display_url(self) -> str:
        """The URL with its password masked, for people and logs."""
        return self._url.render_as_string(hide_password=True)

    @property
    def sync_url(self) -> str:
        """The URL, password included, for libraries that open the database synchronously."""
        driver = "sqlite" if self.is_sqlite else "postgresql+psycopg"
        return self._url.set(drivername=driver).render_as_string(hide_password=False)

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is a SQLite file."""
        return self._url.get_backend_name() == "sqlite"

    @property
    def file(self) -> Path | None:
        """The SQLite file; None for PostgreSQL."""
        return Path(self._url.database) if self.is_sqlite and self._url.database else None

    @asynccontextmanager
    async def session(self, *, read_only: bool = False) -> AsyncIterator[AsyncSession]:
        """One transaction: committed at the end of the block, rolled back when the block raises.

        A task cancelled in the block leaves nothing behind, neither rows nor locks; cancelled during the
        commit, it ends after it. Writing sessions on SQLite are let in one by one, in the order in which
        they were asked for; a task that has one may not open another one, nor wait for a task that does.

        `read_only` sees one snapshot and holds up nobody; writing in it fails. Rows stay usable after
        the block. Raises DatabaseError when the database cannot do what was asked.
        """
        if read_only:
            async with self._transaction(self._reading) as session:
                yield session
        else:
            async with self._queue.entered(), self._transaction(self._writing) as session:
                yield session

    def writing(self) -> AbstractAsyncContextManager[None]:
        """A block in which a library writes over connections of its own, as a writing session does."""
        return self._queue.entered()

    async def upgrade(self, to: str = "") -> Upgraded:
        """Create the schema or bring it up to date; two processes may do so at once.

        An existing SQLite file is first copied beside itself, as `<name>.before-<revision>`. `to` is an older
        revision, for rows that come from there. Raises SchemaTooNew when the database was written by a newer
        Thumbloop; DatabaseError otherwise.
        """
        return await asyncio.to_thread(self._upgrade, to)

    async def require_current(self) -> None:
        """Raise DatabaseError unless the schema is the one that this Thumbloop works with."""
        if self.file is not None and not self.file.exists():
            raise DatabaseError(f"There is no database at {self.display_url} yet.", _UPGRADE)
        with self._faults_explained():
            async with self._reading.connect() as connection:
                found = await connection.run_sync(_revision)
        head, _ = _revisions(_MIGRATIONS)
        if found != head:
            raise DatabaseError(
                f"The database {self.display_url} has schema {found or 'none'}; this Thumbloop needs {head}.",
                _UPGRADE,
            )

    async def check_writing(self) -> None:
        """Raise DatabaseError unless the schema is current and a transaction that writes can be committed.

        One row is written over with what it holds, so nothing grows. SQLite does that in room that it has, so
        beside its file as much room is asked for as answers take.
        """
        await self.require_current()
        if self.file is not None:
            await asyncio.to_thread(self._require_room, self.file.parent)
        async with self.session() as session:
            await session.execute(text("UPDATE alembic_version SET version_num = version_num"))

    def _require_room(self, folder: Path) -> None:
        try:
            with tempfile.TemporaryFile(dir=folder) as probe:
                probe.write(b"\0" * ROOM_BYTES)
                probe.flush()
        except OSError as error:
            raise DatabaseError(
                f"Beside {self.display_url} nothing can be written ({error.strerror}).",
                "Make room there, or grant writing.",
            ) from error

    async def maintain(self) -> None:
        """What a database wants once a day. Raises DatabaseError.

        SQLite updates its statistics of tables that have changed much, so that queries take the right index.
        PostgreSQL does its own (autovacuum).
        """
        if self.is_sqlite:
            async with self.session() as session:
                await session.exec(text("PRAGMA optimize"))  # type: ignore[call-overload]

    async def close(self) -> None:
        """Give all connections back. The database may be used again afterwards."""
        for name in ("_writing", "_reading"):
            engine = self.__dict__.pop(name, None)
            if engine is not None:
                await engine.dispose()
        self._queue = WriteQueue(ordered=self.is_sqlite)

    @asynccontextmanager
    async def _transaction(self, engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
        with self._faults_explained():
            session = AsyncSession(engine, expire_on_commit=False)
            try:
                yield session
                await to_its_end(session.commit())
            finally:
                await to_its_end(self._close(session))

    async def _close(self, session: AsyncSession) -> None:
        await session.close()
        # a connection that a cancelled task gave up holds the write lock until it is closed
        if self._connections is not None:
            await self._connections.closed()

    @cached_property
    def _writing(self) -> AsyncEngine:
        if not self.is_sqlite:
            return self._new_engine(read_only=False)
        # one writes at a time, on a connection of its own: it never waits for those who read
        return self._new_engine(read_only=False, pool_size=1, max_overflow=0)

    @cached_property
    def _reading(self) -> AsyncEngine:
        if self.is_sqlite:
            return self._new_engine(read_only=True)
        return self._writing.execution_options(**{_READ_ONLY: True})

    def _new_engine(self, *, read_only: bool, **options: Any) -> AsyncEngine:
        driver = "sqlite+aiosqlite" if self.is_sqlite else "postgresql+psycopg"
        if self._connections is not None:
            options |= {"async_creator": self._connections.connect}
        else:
            options |= {"pool_pre_ping": True, "connect_args": {"connect_timeout": CONNECT_SECONDS}}
        # parameters are people's words, so they stay out of error texts
        engine = create_async_engine(self._url.set(drivername=driver), hide_parameters=True, **options)
        _listen(engine.sync_engine, read_only=read_only, foreign_keys=True)
        return engine

    def _upgrade(self, to: str = "") -> Upgraded:
        if self.file is not None:
            self._make_folder(self.file.parent)
        engine = create_engine(self.sync_url, poolclass=pool.NullPool, hide_parameters=True)
        # SQLite changes a table by rebuilding it, which only works while its foreign keys are not enforced
        _listen(engine, read_only=False, foreign_keys=False)
        with self._faults_explained(), engine.begin() as connection:
            # from here on nobody else upgrades: SQLite's write lock, PostgreSQL's advisory one
            if not self.is_sqlite:
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_UPGRADE_LOCK})")
            found, wanted = _revision(connection), to or _revisions(_MIGRATIONS)[0]
            if found == wanted:
                return Upgraded(found, wanted)
            backup = self._back_up(wanted) if found else None
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, wanted)
            if self.is_sqlite and connection.exec_driver_sql("PRAGMA foreign_key_check").first():
                raise DatabaseError(
                    f"Upgrading {self.display_url} to {wanted} breaks links between rows; nothing changed.",
                    "Please report this with the output of `thumbloop doctor`.",
                )
            return Upgraded(found, wanted, backup)

    def _make_folder(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DatabaseError(
                f"The folder {folder} of the database cannot be made ({error.strerror}).",
                "Make it, grant writing to the folder above it, or set another database URL.",
            ) from error

    def _back_up(self, wanted: str) -> Path | None:
        if self.file is None:
            return None
        backup = self.file.with_name(f"{self.file.name}.before-{wanted}")
        part = backup.with_name(f"{backup.name}.part")
        part.unlink(missing_ok=True)
        try:
            # a second connection sees the state before the upgrade's transaction, even with a WAL beside it
            with closing(sqlite3.connect(self.file)) as source, closing(sqlite3.connect(part)) as target:
                source.backup(target)
            part.replace(backup)
        except (sqlite3.Error, OSError) as error:
            part.unlink(missing_ok=True)
            raise DatabaseError(
                f"The backup {backup} could not be written ({error}), so the database was not upgraded.",
                "Make room or grant writing there, then run `thumbloop db upgrade` again.",
            ) from error
        return backup

    @contextmanager
    def _faults_explained(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            fault = self._fault(error)
            if fault is None:
                raise
            raise fault from error
        except PoolTimeout as error:
            raise DatabaseError(
                f"All connections to {self.display_url} are in use.", "Try again in a moment."
            ) from error

    def _fault(self, error: DBAPIError) -> DatabaseError | None:
        """The sentence for a fault of the database, or None when the statement is to blame."""
        told = _SQLITE_FAULTS if self.is_sqlite else _POSTGRESQL_FAULTS
        for code in _codes(error.orig):
            if code in told:
                problem, remedy = told[code]
                kind = DatabaseLocked if code == sqlite3.SQLITE_BUSY else DatabaseError
                return kind(f"{self.display_url} {problem}.", remedy)
        if self.is_sqlite and "no such table" in str(error.orig):
            return DatabaseError(f"{self.display_url} lacks tables.", _UPGRADE)
        if not self.is_sqlite and isinstance(error, OperationalError) and not _codes(error.orig):
            # libpq says why a connection failed in words only; they hold no password, but nothing is risked
            reason = str(error.orig).partition("\n")[0].replace(self._url.password or "\0", "***")
            return DatabaseError(
                f"{self.display_url} cannot be reached: {reason.rstrip('.')}.",
                "Check that PostgreSQL runs there, and the user, password and name in the database URL.",
            )
        return None


_SQLITE_FAULTS: Final[dict[int | str, tuple[str, str]]] = {
    sqlite3.SQLITE_BUSY: (
        f"has been locked by another program for {BUSY_SECONDS} seconds",
        "Close what is writing to it, then try again.",
    ),
    sqlite3.SQLITE_LOCKED: ("is locked by another session", "Try again in a moment."),
    sqlite3.SQLITE_FULL: ("cannot grow: the disk is full", "Free some space, then try again."),
    sqlite3.SQLITE_READONLY: (
        "may not be written: the file, its folder or this session is read-only",
        "Grant writing to the file and its folder.",
    ),
    sqlite3.SQLITE_CANTOPEN: ("cannot be opened", "Check that its folder exists and may be written."),
    sqlite3.SQLITE_IOERR: ("cannot be read or written: the disk reports an error", "Check the disk."),
    sqlite3.SQLITE_NOTADB: ("is not a database", "Move the file away, or set another database URL."),
    sqlite3.SQLITE_CORRUPT: ("is damaged", "Restore a backup; `sqlite3 FILE .recover` may save the rest."),
}

_POSTGRESQL_FAULTS: Final[dict[int | str, tuple[str, str]]] = {
    "25006": (
        "may not be written: the server or this session is read-only",
        "Write in a session of its own.",
    ),
    "42501": ("may not be used so by this user", "Grant the user the right to create and write tables."),
    "42P01": ("lacks tables", _UPGRADE),
    "53100": ("cannot grow: the server's disk is full", "Free some space there, then try again."),
    "40P01": ("chose this transaction to break a deadlock", "Try again."),
    "57P01": ("was shut down", "Start the server, then try again."),
}


async def opened(url: str) -> Database:
    """The record, its schema current; a data folder's first SQLite file is made here.

    Raises DatabaseError, SchemaTooNew.
    """
    database = Database(url)

    async def make_current() -> None:
        if database.file is not None and not database.file.exists():
            await database.upgrade()
        await database.require_current()

    try:
        # whoever is cancelled meanwhile must not leave a connection that nobody closes
        await to_its_end(make_current())
    except BaseException:
        await database.close()
        raise
    return database


def _codes(fault: BaseException | None) -> list[int | str]:
    """What the driver calls a fault: SQLite's primary result code, PostgreSQL's SQLSTATE."""
    number = getattr(fault, "sqlite_errorcode", None)
    if isinstance(number, int):
        return [number & 0xFF]  # the higher bits tell variants of one fault
    state = getattr(fault, "sqlstate", None)
    return [state] if isinstance(state, str) else []


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # the text is not repeated: a malformed URL may hold a password anywhere
        raise SettingsError("The database URL cannot be read.", f"Write {ALLOWED_URLS}.") from None
    if parsed.drivername in ("sqlite", "sqlite+aiosqlite", "sqlite+pysqlite"):
        if parsed.database in (None, "", ":memory:"):
            raise SettingsError("The database URL names no file.", f"Write {ALLOWED_URLS}.")
        if parsed.query:
            raise SettingsError("A SQLite URL takes no options after '?'.", f"Write {ALLOWED_URLS}.")
        return parsed.set(drivername="sqlite")
    if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        password = parsed.query.get("password")
        if isinstance(password, str):  # libpq allows it there, but only its proper place is masked
            parsed = parsed.set(password=password).difference_update_query(["password"])
        return parsed.set(drivername="postgresql")
    raise SettingsError(
        f"The database URL starts with {parsed.drivername}://, which is not supported.",
        f"Write {ALLOWED_URLS}.",
    )


def _listen(engine: Engine, *, read_only: bool, foreign_keys: bool) -> None:
    """Make the connections and transactions of `engine` behave as the module promises.

    PostgreSQL's transactions say themselves that they only read, SQLite's connections do.
    """
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def _prepare(connection: Any, _record: Any) -> None:
            connection.isolation_level = None  # the driver's own BEGIN would come too late and too weak
            cursor = connection.cursor()
            cursor.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
            cursor.execute(f"PRAGMA foreign_keys = {int(foreign_keys)}")
            cursor.execute("PRAGMA journal_mode")
            if cursor.fetchone()[0] != "wal":
                # two first connections collide here without waiting; the file remembers, so one is enough
                try:
                    cursor.execute("PRAGMA journal_mode = WAL")
                    cursor.fetchone()
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                        raise
            cursor.execute(f"PRAGMA query_only = {int(read_only)}")
            cursor.close()

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    else:

        @event.listens_for(engine, "begin")
        def _begin_postgresql(connection: Connection) -> None:
            if connection.get_execution_options().get(_READ_ONLY):
                connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config


@cache
def _revisions(folder: Path) -> tuple[str, frozenset[str]]:
    """The revision that the newest migration makes, and those that any makes; reading them takes 20 ms."""
    script = ScriptDirectory(str(folder))
    head = script.get_current_head()
    assert head is not None, "the package ships its migrations"
    return head, frozenset(known.revision for known in script.walk_revisions())


def require_known(revision: str) -> None:
    """Raise SchemaTooNew when no migration of this Thumbloop makes that revision."""
    head, known = _revisions(_MIGRATIONS)
    if revision not in known:
        raise SchemaTooNew(revision, head)


def _revision(connection: Connection) -> str:
    """The schema revision found, "" for a database without one. Raises SchemaTooNew when it is unknown."""
    found = MigrationContext.configure(connection).get_current_revision() or ""
    if found:
        require_known(found)
    return found
