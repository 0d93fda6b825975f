"""One owner of a record's timetable: of several services on one database only one lets jobs run.

A lock says which, and goes with the process that has it: for SQLite one on a file beside the database, for
PostgreSQL an advisory lock of a connection that stays open. A connection may be lost before its process hears
of it, so the lock alone would let two believe in it for a while. Therefore whoever gets it also takes the
next number in the record's `lease`, a fencing token (Kleppmann, "How to do distributed locking", 2016): jobs
are looked for while that row is held, and only by who has its newest number. All calls may block a moment.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final, Protocol

import structlog
from filelock import FileLock, Timeout
from sqlalchemy import Connection, Engine, bindparam, create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from feedback.database import Database
from feedback.tables import UtcDateTime, now

ADVISORY_LOCK: Final = 0x7468756D626C6F6F
"""The number of the lock in PostgreSQL: "thumbloo"."""
TIMETABLE: Final = "timetable"
"""What the lease on the jobs is called."""

log = structlog.get_logger(__name__)


class Ownership(Protocol):
    """The right to run a record's jobs."""

    def take(self) -> bool:
        """Whether it is ours now, as it was or because nobody else has it."""

    def held(self) -> AbstractContextManager[bool]:
        """A block during which nobody can take it from us; whether it is ours at all, by the record."""

    def give_up(self) -> None:
        """Let others have it."""


def ownership(database: Database) -> Ownership:
    """The ownership of the timetable in that database; not taken yet."""
    if database.file is not None:
        return _OfFile(
            FileLock(database.file.with_name(f"{database.file.name}.owner"), timeout=0, thread_local=False),
            create_engine(database.sync_url, poolclass=NullPool),
        )
    return _OfServer(database.sync_url)


class _OfFile:
    """The kernel keeps this lock, so nobody can lose it unnoticed; the number tells people who has it."""

    def __init__(self, lock: FileLock, engine: Engine) -> None:
        self._lock = lock
        self._engine = engine

    def take(self) -> bool:
        if self._lock.is_locked:
            return True
        try:
            self._lock.acquire()
        except Timeout:
            return False
        with self._engine.begin() as connection:
            _next_token(connection)
        return True

    @contextmanager
    def held(self) -> Iterator[bool]:
        yield self._lock.is_locked

    def give_up(self) -> None:
        self._lock.release()


class _OfServer:
    def __init__(self, url: str) -> None:
        self._engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        self._fenced = create_engine(url, poolclass=NullPool)
        self._connection: Connection | None = None
        self._token = 0

    def take(self) -> bool:
        if self._connection is not None:
            try:
                current = self._connection.execute(_TOKEN, {"name": TIMETABLE}).scalar_one()
            except SQLAlchemyError as error:  # the lock went with the connection
                log.warning("the timetable's lock was lost", reason=str(error.__cause__ or error))
                self._close()
            else:
                if current == self._token:
                    return True
                self._close()
        try:
            connection = self._engine.connect()
        except SQLAlchemyError as error:
            log.warning("the timetable's lock cannot be asked for", reason=str(error.__cause__ or error))
            return False
        found = connection.execute(text("SELECT pg_try_advisory_lock(:number)"), {"number": ADVISORY_LOCK})
        if not found.scalar_one():
            connection.close()
            return False
        self._connection = connection
        # waits for a former owner who is looking for jobs this moment, and whom the server has given up
        self._token = _next_token(connection)
        return True

    @contextmanager
    def held(self) -> Iterator[bool]:
        with self._fenced.begin() as connection:
            current = connection.execute(_TOKEN_HELD, {"name": TIMETABLE}).scalar_one_or_none()
            yield self._connection is not None and current == self._token

    def give_up(self) -> None:
        self._close()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None


_TOKEN: Final = text("SELECT token FROM lease WHERE name = :name")
_TOKEN_HELD: Final = text("SELECT token FROM lease WHERE name = :name FOR UPDATE")
_NEXT_TOKEN: Final = text(
    "INSERT INTO lease (name, holder, token, taken_at) VALUES (:name, :holder, 1, :at) "
    "ON CONFLICT (name) DO UPDATE SET token = lease.token + 1, holder = :holder, taken_at = :at "
    "RETURNING token"
).bindparams(bindparam("at", type_=UtcDateTime()))


def _next_token(connection: Connection) -> int:
    """Take the next number, with who we are, for people."""
    holder = f"process {os.getpid()} on {socket.gethostname()}"
    values = {"name": TIMETABLE, "holder": holder, "at": now()}
    return int(connection.execute(_NEXT_TOKEN, values).scalar_one())
