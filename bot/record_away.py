"""Work on the record that is done as soon as the record can be reached, however long it is away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from itertools import chain, repeat
from typing import Final, TypeVar

import structlog

from feedback.errors import DatabaseError

PAUSES_S: Final = (1.0, 5.0)
"""Pauses before the record is tried again; the last is repeated for as long as it is away."""

Result = TypeVar("Result")

log = structlog.get_logger(__name__)


def pauses() -> Iterator[float]:
    """The pauses between attempts, in seconds, without end."""
    return chain(PAUSES_S, repeat(PAUSES_S[-1]))


async def until_done(work: Callable[[], Awaitable[Result]], what: str, **about: object) -> Result:
    """The result of `work`, begun again while the record is away; the log says `what` waits, and `about`."""
    again = pauses()
    while True:
        try:
            return await work()
        except DatabaseError as error:
            log.warning("the record is away", waits=what, why=str(error), **about)
        await asyncio.sleep(next(again))
