"""What goes wrong: kills, and faults that last a while. Each says when it begins and when it is over.

The disk is full for the service alone: its limit on the size of files (RLIMIT_FSIZE) is set to a byte, so
that no file of its own can be written to; that needs no rights, and its neighbours do not notice. The clock
is set back by an hour for the service alone, by `clock.c`, preloaded; where no C compiler can build that, the
fault is left out, and says so (Debian's libfaketime made the service several times slower). The database is
away: SQLite's file is locked by another process (this one), PostgreSQL is stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import resource
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

from tests.doubles.discord_server import DiscordServer
from tests.soak.ledger import Ledger
from tests.soak.service import Service
from tests.soak.wire import Damage, Wire

Fault = Callable[[], AbstractAsyncContextManager[None]]

AN_HOUR_BACK: Final = -3600
"""In seconds."""


class Faults:
    """Everything that can go wrong with one service."""

    def __init__(
        self,
        service: Service,
        discord: DiscordServer,
        wires: dict[str, Wire],
        ledger: Ledger,
        choices: random.Random,
        postgresql: Any = None,
    ) -> None:
        self._service, self._discord, self._wires = service, discord, wires
        self._ledger, self._choices, self._postgresql = ledger, choices, postgresql
        self.all: dict[str, Fault] = {
            "database away": self._database_away,
            "disk full": self._disk_full,
            "clock set back": self._clock_back,
            "gateway drops": self._gateway_drops,
            "truncated answers": lambda: self._damaged("truncated"),
            "malformed answers": lambda: self._damaged("malformed"),
        }
        if not service.can_set_clock:
            del self.all["clock set back"]
            print("left out: the clock set back (unwanted, or there is no C compiler)")

    async def kill(self) -> None:
        """End the service, abruptly or in order."""
        how = self._choices.choice((signal.SIGKILL, signal.SIGTERM))
        with self._noted(how.name):
            await self._service.end(how)
            await asyncio.sleep(0.1)  # until the next one is on its way
            await self._service.answers()

    async def strike(self, name: str, seconds: float) -> None:
        """Let that fault last so long."""
        with self._noted(name):
            async with self.all[name]():
                await asyncio.sleep(seconds)

    @contextlib.contextmanager
    def _noted(self, name: str) -> Any:
        print(f"  after {len(self._ledger.asked)} questions: {name}", flush=True)
        self._ledger.under_way[name] += 1
        try:
            yield
        finally:
            self._ledger.under_way[name] -= 1

    @asynccontextmanager
    async def _database_away(self) -> AsyncIterator[None]:
        if self._postgresql is not None:
            await asyncio.to_thread(self._postgresql.stop)
            try:
                yield
            finally:
                await asyncio.to_thread(self._postgresql.ensure_postgres_running)
            return
        path = self._service.database_url.removeprefix("sqlite:///")
        with contextlib.closing(
            sqlite3.connect(path, isolation_level=None, timeout=30, check_same_thread=False)
        ) as connection:
            await asyncio.to_thread(connection.execute, "BEGIN EXCLUSIVE")
            yield
            connection.execute("ROLLBACK")

    @asynccontextmanager
    async def _disk_full(self) -> AsyncIterator[None]:
        pid = self._service.pid
        if pid is None:
            yield
            return
        with contextlib.suppress(ProcessLookupError):
            before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, before[1]))
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):  # killed meanwhile: the next one has room
                resource.prlimit(pid, resource.RLIMIT_FSIZE, before)

    @asynccontextmanager
    async def _clock_back(self) -> AsyncIterator[None]:
        self._service.set_clock(AN_HOUR_BACK)
        try:
            yield
        finally:
            self._service.set_clock(0)

    @asynccontextmanager
    async def _gateway_drops(self) -> AsyncIterator[None]:
        await self._discord.drop_connection()
        yield
        for wire in self._wires.values():
            wire.cut()

    @asynccontextmanager
    async def _damaged(self, how: Damage) -> AsyncIterator[None]:
        # not what Telegram is sent: it has no nonce, so nobody can know whether it arrived
        for _ in range(3):
            self._wires["Discord"].damage(how, "/messages")
            self._wires["Telegram"].damage(how, "/getUpdates")
        try:
            await self._discord.drop_connection()  # so that history is read
            yield
        finally:
            for wire in self._wires.values():
                wire.heal()
