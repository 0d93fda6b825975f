"""Keeps the service's background tasks going: a fault is logged, and the task begins again after a pause.

One supervisor per service, and nothing that runs beside the answers runs without it: a task that dies by
itself dies in silence. What it knows of a task that is down stands in `health`.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from bot.health import Health
from feedback.errors import ThumbloopError

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 300.0
"""The pause before a task begins again doubles from the first to the longest, while it keeps failing."""

STEADY_S: Final = 60.0
"""A task that ran for so long counts as mended: its next fault is a first one."""

log = structlog.get_logger(__name__)


class Supervisor:
    """Watches tasks until each has done its work, or until `stop`. `sleep` waits for some seconds."""

    def __init__(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self.health = Health()
        self._sleep = sleep
        self._tasks: set[asyncio.Task[None]] = set()

    def watch(
        self, name: str, work: Callable[[], Awaitable[None]], *, says_when_it_runs: bool = False
    ) -> asyncio.Task[None]:
        """Run `work`, again whenever it fails, until it returns; the task, which may be cancelled.

        Work that failed counts as down until it begins again, or, where it `says_when_it_runs`, until it
        reports that to `health` by itself.
        """
        task = asyncio.create_task(self._keep_going(name, work, says_when_it_runs), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def stop(self) -> None:
        """End every task that is watched, and wait until each has."""
        await end(*self._tasks)

    async def _keep_going(
        self, name: str, work: Callable[[], Awaitable[None]], says_when_it_runs: bool
    ) -> None:
        pause, clock = FIRST_PAUSE_S, asyncio.get_running_loop().time
        try:
            while True:
                began = clock()
                try:
                    await work()
                    return
                except Exception as error:  # the outermost edge of a task: whatever it is, the others go on
                    if clock() - began >= STEADY_S:
                        pause = FIRST_PAUSE_S
                    self.health.report(name, "down", _why(name, error, pause))
                    if (task := asyncio.current_task()) is not None and task.cancelling():
                        raise asyncio.CancelledError from error  # it failed while it put its things in order
                await self._sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)
                if not says_when_it_runs:
                    self.health.withdraw(name)
        finally:
            self.health.withdraw(name)


async def end(*tasks: asyncio.Task[None]) -> None:
    """Cancel tasks that nobody has cancelled yet, and wait until each has ended.

    Who watches a task and who had it watched may both end it, and a second cancellation would break off what
    the first one puts in order, such as a database connection.
    """
    for task in tasks:
        if not task.cancelling():
            task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _why(name: str, error: Exception, pause: float) -> str:
    """What anybody may read of the fault; the log gets all of it."""
    ours = error if isinstance(error, ThumbloopError) else None
    if ours is not None and not ours.withholds:
        log.error("a part of the service is down", part=name, why=str(error), again_in_s=pause)
        return ours.public if ours.remedy in ours.public else f"{ours.public} The log says what to do."
    reference = secrets.token_hex(4)
    log.error(
        "a part of the service is down", part=name, reference=reference, again_in_s=pause, exc_info=error
    )
    said = (ours.public if ours else "") or "An unexpected fault."
    return f"{said} The log has more under {reference}."
