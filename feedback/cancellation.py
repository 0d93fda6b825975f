"""Work that a cancelled task sees through, and work that must hear of its cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

CANCEL_AGAIN_S: Final = 10.0
"""How long work that was cancelled may put its things in order, before the cancellation counts as unheard."""

Result = TypeVar("Result")


async def to_its_end(work: Coroutine[Any, Any, Result] | asyncio.Future[Result]) -> Result:
    """The result of `work`; a cancellation, or another one after it, waits until it is done."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return task.result()
    if not task.cancelled():
        task.exception()  # asked for, or asyncio reports it as never retrieved
    raise cancelled


async def insisting(work: Coroutine[Any, Any, Result], *, again_s: float = CANCEL_AGAIN_S) -> Result:
    """The result of `work`, which is cancelled with us: again every `again_s` seconds until it has ended.

    For work that ends in a library: `asyncio.wait_for` before Python 3.12 swallows a cancellation that comes
    at the moment in which what it waits for is done (https://github.com/python/cpython/issues/86296), and a
    platform would be served for ever by a service that was told to stop.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        while not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=again_s)
        if not task.cancelled():
            task.exception()  # asked for, or asyncio reports it as never retrieved
        raise
    return task.result()
