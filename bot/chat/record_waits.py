"""Questions that wait for the record while it is away: they are done when it is back, not refused.

A chat delivers a question whether or not the record can be read, and gives it again to the next process until
it is written down there. So whoever was told that it failed would be answered later all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from bot.record_away import pauses
from feedback.errors import DatabaseError

Result = TypeVar("Result")

log = structlog.get_logger(__name__)


class RecordWaits:
    """What on one platform waits for the record; `waiting` counts it."""

    def __init__(self) -> None:
        self.waiting = 0

    async def done(
        self, work: Callable[[], Awaitable[Result]], promise: Callable[[], Awaitable[None]]
    ) -> Result:
        """Do `work`, again and again while the record is away; once that lasts, `promise` that it will be."""
        try:
            return await work()
        except DatabaseError as error:
            log.warning("something waits for the record", why=str(error))
        self.waiting += 1
        again, promised = pauses(), False
        try:
            while True:
                await asyncio.sleep(next(again))
                try:
                    return await work()
                except DatabaseError as error:
                    log.debug("the record is still away", why=str(error))
                if not promised:
                    await promise()
                    promised = True
        finally:
            self.waiting -= 1
