"""How long to wait between two edits, by what Discord last said about the channel's rate limit."""

from __future__ import annotations

import asyncio

from discord.http import HTTPClient, Route


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
