"""How long to wait: between two edits, by what Discord last said of the limit, and between two rounds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

from discord.ext import tasks
from discord.http import HTTPClient, Route
from discord.utils import MISSING, utcnow


class Rounds(tasks.Loop[Any]):
    """The library's loop, with a rest of so many seconds after each round of `work`, whatever the clock says.

    The library's own adds them to when the last round was due, on the machine's clock: set back, it rests for
    as long, and after a night's sleep it makes up for every round of the night at once.
    """

    def __init__(self, work: Callable[[], Awaitable[None]], rest_s: float) -> None:
        async def round_() -> None:
            await work()

        super().__init__(round_, rest_s, MISSING, MISSING, MISSING, None, reconnect=True, name=None)
        self._rest = timedelta(seconds=rest_s)

    def _try_sleep_until(self, dt: datetime) -> Any:
        return super()._try_sleep_until(utcnow() + self._rest)


def pause_between_edits(http: HTTPClient, channel_id: int) -> float:
    """Seconds that spread the edits still allowed over what is left of the window; 0 when nothing is known.

    The library itself waits when none is left; spreading only keeps a stream from stuttering.
    """
    route = Route(
        "PATCH", "/channels/{channel_id}/messages/{message_id}", channel_id=channel_id, message_id=0
    )
    # the library keeps what Discord reported in these two, and has no public way to read it
    bucket = http._bucket_hashes.get(route.key, route.key)
    limit = http._buckets.get(f"{bucket}:{route.major_parameters}")
    if limit is None or limit.expires is None:
        return 0.0
    left = limit.expires - asyncio.get_running_loop().time()
    return max(left, 0.0) / max(limit.remaining, 1)
