"""One owner of a record's timetable: of several services on one database only one lets jobs run.

A lock says which, and it goes with the process that has it: for SQLite one on a file beside the database, for
PostgreSQL an advisory lock of a connection that stays open. All calls may block for a moment.
"""

from __future__ import annotations

from typing import Final, Protocol

import structlog
from filelock import FileLock, Timeout
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from feedback.database import Database

ADVISORY_LOCK: Final = 0x7468756D626C6F6F
"""The number of the lock in PostgreSQL: "thumbloo"."""

log = structlog.get_logger(__name__)


class Ownership(Protocol):
    """The right to run a record's jobs."""

    def take(self) -> bool:
        """Whether it is ours now, as it was or because nobody else has it."""

    def give_up(self) -> None:
        """Let others have it."""


def ownership(database: Database) -> Ownership:
    """The ownership of the timetable in that database; not taken yet."""
    if database.file is not None:
        return _OfFile(
            FileLock(database.file.with_name(f"{database.file.name}.owner"), timeout=0, thread_local=False)
        )
    return _OfServer(database.sync_url)


class _OfFile:
    def __init__(self, lock: FileLock) -> None:
        self._lock = lock

    def take(self) -> bool:
        if self._lock.is_locked:
            return True
        try:
            self._lock.acquire()
        except Timeout:
            return False
        return True

    def give_up(self) -> None:
        self._lock.release()


class _OfServer:
    def __init__(self, url: str) -> None:
        self._engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        self._connection: Connection | None = None

    def take(self) -> bool:
        if self._connection is not None:
            try:
                self._connection.execute(text("SELECT 1"))
            except SQLAlchemyError as error:  # the lock went with the connection
                log.warning("the timetable's lock was lost", reason=str(error.__cause__ or error))
                self._close()
            else:
                return True
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
        return True

    def give_up(self) -> None:
        self._close()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None
