"""SQLite connections for an event loop that go to their thread once for each statement.

aiosqlite goes there four times: to make a cursor, to execute, to fetch, to close. Each time the machine's
scheduler is waited for twice, which takes long while a model answers on every core, and whoever waits for the
write lock waits along. Here the first rows come back with the statement, mostly all there are.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import aiosqlite
from aiosqlite.context import contextmanager

from feedback.cancellation import to_its_end

FIRST_ROWS: Final = 100
"""How many rows come back with the statement; the others are fetched as they are asked for."""


class Connections:
    """The connections to one file, and those of them that their threads have still to close."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._closing: set[asyncio.Future[Any]] = set()

    def connect(self) -> aiosqlite.Connection:
        """A connection that opens when it is awaited. Raises sqlite3.Error then."""
        open_file = partial(sqlite3.connect, self._file, check_same_thread=False, factory=_FreeingConnection)
        connection = _Connection(open_file, self._closing)
        connection._thread.daemon = True  # one that nobody closed must not keep the process alive
        return connection

    async def closed(self) -> None:
        """Wait until no connection that was given up keeps the file locked."""
        if self._closing:
            await asyncio.wait(self._closing)


class _Connection(aiosqlite.Connection):
    def __init__(
        self, connector: Callable[[], sqlite3.Connection], closing: set[asyncio.Future[Any]]
    ) -> None:
        super().__init__(connector, iter_chunk_size=FIRST_ROWS)
        self._all_closing = closing
        self._closed: asyncio.Future[Any] | None = None

    @contextmanager
    async def cursor(self) -> aiosqlite.Cursor:
        return _Cursor(self, self._conn.cursor())

    async def _execute(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        # a cancelled task waits for the thread: what it has begun, the next session would have to wait for
        return await to_its_end(super()._execute(fn, *args, **kwargs))  # type: ignore[no-untyped-call]

    def stop(self) -> asyncio.Future[Any] | None:
        if self._closed is None:  # the thread ends with the first time, and would not answer a second one
            self._closed = super().stop()
            if self._closed is not None:
                self._all_closing.add(self._closed)
                self._closed.add_done_callback(self._all_closing.discard)
        return self._closed


class _Cursor(aiosqlite.Cursor):
    def __init__(self, connection: aiosqlite.Connection, cursor: sqlite3.Cursor) -> None:
        super().__init__(connection, cursor)
        self._rows: list[Any] = []
        self._exhausted = True

    async def execute(self, sql: str, parameters: Iterable[Any] | None = None) -> aiosqlite.Cursor:
        self._exhausted = False
        self._rows = await self._execute(self._run, sql, parameters or ())  # type: ignore[no-untyped-call]
        self._exhausted = len(self._rows) < FIRST_ROWS
        return self

    async def executemany(self, sql: str, parameters: Iterable[Iterable[Any]]) -> aiosqlite.Cursor:
        self._exhausted = False
        await super().executemany(sql, parameters)
        self._exhausted = True
        return self

    async def fetchone(self) -> Any:
        return next(iter(await self.fetchmany(1)), None)

    async def fetchmany(self, size: int | None = None) -> list[Any]:
        wanted = self.arraysize if size is None else size
        rows, self._rows = self._rows[:wanted], self._rows[wanted:]
        if len(rows) < wanted and not self._exhausted:
            rows += await super().fetchmany(wanted - len(rows))
        return rows

    async def fetchall(self) -> list[Any]:
        rows, self._rows = self._rows, []
        if not self._exhausted:
            rows += await super().fetchall()
        return rows

    async def close(self) -> None:
        if self._exhausted:
            self._cursor.close()  # nothing is left of the statement, so the thread need not be asked
        else:
            await super().close()

    def _run(self, sql: str, parameters: Any) -> list[Any]:
        self._cursor.execute(sql, parameters)
        return self._cursor.fetchmany(FIRST_ROWS)


class _FreeingConnection(sqlite3.Connection):
    def close(self) -> None:
        # A task cancelled between two statements may leave a cursor behind, and SQLite then keeps a closed
        # connection, with its transaction and the write lock, for as long as the cursor lives
        # (https://sqlite.org/c3ref/close.html).
        with suppress(sqlite3.Error):  # closed before, or broken: it is to be closed all the same
            self.rollback()
        super().close()
