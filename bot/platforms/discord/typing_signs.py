"""The typing indicator: one per channel, however many answers are under way there.

It lasts until the last of them has ended, and its faults never touch them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Final

import aiohttp
import discord
import structlog

EVERY_S: Final = 8.0
"""Discord shows the indicator for 10 seconds."""

log = structlog.get_logger(__name__)


class TypingSigns:
    """Keeps the indicators alive."""

    def __init__(self) -> None:
        self._holders: Counter[int] = Counter()
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def begin(self, channel: discord.abc.Messageable, channel_id: int) -> Callable[[], None]:
        """Show the indicator until the function returned is called; calling it again does nothing."""
        self._holders[channel_id] += 1
        if channel_id not in self._tasks:
            self._tasks[channel_id] = asyncio.create_task(self._show(channel))
        held = True

        def end() -> None:
            nonlocal held
            if held:
                held = False
                self._release(channel_id)

        return end

    def _release(self, channel_id: int) -> None:
        self._holders[channel_id] -= 1
        if self._holders[channel_id] <= 0:
            del self._holders[channel_id]
            self._tasks.pop(channel_id).cancel()

    async def _show(self, channel: discord.abc.Messageable) -> None:
        while True:
            try:
                await channel.typing()
            except (discord.DiscordException, aiohttp.ClientError, OSError) as error:  # a courtesy, no more
                log.debug("no typing indicator", why=str(error))
            await asyncio.sleep(EVERY_S)
