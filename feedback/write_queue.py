"""Where the writers of one database wait for one another within this process.

SQLite lets one connection write at a time. The others try again and again, in no order, until their patience
ends, so that some wait for ever while others overtake them. Here they are let in one by one, first come,
first served, and whoever has been let in meets at the file's lock nobody but other processes. PostgreSQL
locks rows, so its writers need no queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

from feedback.errors import DatabaseLocked

DEADLOCK_SECONDS: Final = 30.0
"""How long a task that a writer started waits for that writer, who may be waiting for the task."""


class WriteQueue:
    """The queue of one database; unless it is `ordered`, everybody is let in at once."""

    def __init__(self, *, ordered: bool) -> None:
        self._ordered = ordered
        self._lock = asyncio.Lock()
        self._arrivals = count()
        self._locked_out: tuple[int, DatabaseLocked] | None = None

    @asynccontextmanager
    async def entered(self) -> AsyncIterator[None]:
        """Write in this block: alone in this process where writers queue.

        Raises RuntimeError when the task is in such a block already, or was started in one that has not ended
        for `DEADLOCK_SECONDS`. Raises DatabaseLocked when a writer before was locked out by another process
        for as long as it would wait, and this one has waited behind it all the time.
        """
        around = [block for block in _blocks.get() if block.queue is self and not block.over]
        if any(block.task is asyncio.current_task() for block in around):
            raise Nested
        if not self._ordered:
            with self._noted():
                yield
            return
        arrival = next(self._arrivals)
        try:
            async with asyncio.timeout(DEADLOCK_SECONDS if around else None):
                await self._lock.acquire()
        except TimeoutError:
            raise Nested from None
        try:
            if self._locked_out is not None and arrival < self._locked_out[0]:
                raise DatabaseLocked(self._locked_out[1].problem, self._locked_out[1].remedy)
            with self._noted(), self._noting_lock_outs(next(self._arrivals)):
                yield
        finally:
            self._lock.release()

    @contextmanager
    def _noting_lock_outs(self, began: int) -> Iterator[None]:
        try:
            yield
        except DatabaseLocked as error:
            self._locked_out = (began, error)
            raise

    @contextmanager
    def _noted(self) -> Iterator[None]:
        block = _Block(self, asyncio.current_task())
        _blocks.set((*_blocks.get(), block))
        try:
            yield
        finally:
            block.over = True
            _blocks.set(tuple(one for one in _blocks.get() if not one.over))


class Nested(RuntimeError):
    """A defect of ours: a writing session was opened within another one, which would wait for it."""

    def __init__(self) -> None:
        super().__init__("A writing session was opened within another one of the same database.")


@dataclass(eq=False)
class _Block:
    """A block that a queue let `task` into; the tasks started in it see it too."""

    queue: WriteQueue
    task: asyncio.Task[Any] | None
    over: bool = False


_blocks: Final[ContextVar[tuple[_Block, ...]]] = ContextVar("writing_blocks", default=())
