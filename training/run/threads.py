"""A run's long work in a thread, and its progress: at once to the caller, now and then to the record."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final, TypeVar

from feedback.database import Database
from feedback.errors import DatabaseError
from training.progress import Progress
from training.run import lifecycle

RECORD_EVERY_S: Final = 1.0
"""How often at most a run's progress is written into the record."""
HEARTBEAT_EVERY_S: Final = 5.0
"""How often at least a run writes into the record that it is alive."""

Result = TypeVar("Result")


class _Stopped(Exception):
    """The run was cancelled; this ends its thread."""


async def in_thread(
    work: Callable[[Callable[[Progress], None]], Result],
    report: Callable[[Progress], None],
    *,
    on_stop: Callable[[], None] = lambda: None,
) -> Result:
    """Call `work` in a thread, with a function through which it reports progress.

    Cancelled, it is stopped at its next report, and waited for; `on_stop` is called before that.
    """
    stop = threading.Event()

    def report_or_stop(progress: Progress) -> None:
        if stop.is_set():
            raise _Stopped
        report(progress)

    # no task of the loop's: those are all cancelled when a second Ctrl-C ends the loop
    working = asyncio.get_running_loop().run_in_executor(None, work, report_or_stop)
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        stop.set()
        on_stop()
        while not working.done():  # however often this is cancelled: the thread's files are removed next
            with suppress(asyncio.CancelledError):
                await asyncio.wait([working])
        working.exception()  # asked for, or asyncio reports it as never retrieved
        raise


@asynccontextmanager
async def progress_recorded(
    database: Database, run_id: int, on_progress: Callable[[Progress], None]
) -> AsyncIterator[Callable[[Progress], None]]:
    """A function, safe in any thread, that passes progress to `on_progress` and, at intervals, the record.

    In between, heartbeats go to the record.
    """
    loop = asyncio.get_running_loop()
    news, over = asyncio.Event(), asyncio.Event()
    newest: list[Progress] = []

    def report(progress: Progress) -> None:
        newest[:] = [progress]
        loop.call_soon_threadsafe(news.set)
        on_progress(progress)

    async def note() -> None:
        progress = newest[0] if newest and news.is_set() else None
        news.clear()
        with suppress(DatabaseError):  # what cannot be recorded is no reason to stop a run
            await lifecycle.record_heartbeat(database, run_id, progress)

    async def keep_noting() -> None:
        while not over.is_set():
            await note()
            with suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), RECORD_EVERY_S)
            with suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), HEARTBEAT_EVERY_S)
        await note()  # what came last

    noting = asyncio.create_task(keep_noting())
    try:
        yield report
    finally:
        over.set()
        news.set()
        await noting
