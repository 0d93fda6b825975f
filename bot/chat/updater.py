"""Shows a growing answer: always its newest text, one update at a time, as often as the platform allows."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

import structlog

from bot.chat.surface import MessageGone, Surface

LAST_UPDATE_S: Final = 2.0
"""How long the end of the service waits for an update under way."""

log = structlog.get_logger(__name__)


class Updater:
    """Updates one surface; `on_gone` is called once when its message was deleted."""

    def __init__(self, surface: Surface, on_gone: Callable[[], None]) -> None:
        self.gone = False
        """Whether the answer's message was deleted."""
        self._surface = surface
        self._on_gone = on_gone
        self._newest = ""
        self._ending = asyncio.Event()
        self._updating: asyncio.Task[None] | None = None

    def show(self, text: str) -> None:
        """Show that text at the next update; what was to be shown before it is skipped."""
        self._newest = text
        if (self._updating is None or self._updating.done()) and text.strip() and not self.gone:
            self._updating = asyncio.create_task(self._update())

    async def finish(self) -> None:
        """Let the update under way end, and begin no other."""
        self._end()
        if self._updating is not None:
            await asyncio.gather(self._updating, return_exceptions=True)

    async def abort(self) -> None:
        """Give the update under way a moment to end: the next start must know the message that it writes."""
        self._end()
        if self._updating is not None:
            await asyncio.wait({self._updating}, timeout=LAST_UPDATE_S)
            self._updating.cancel()

    def _end(self) -> None:
        self._newest = ""
        self._ending.set()

    async def _update(self) -> None:
        """Update the surface until it shows the newest text."""
        shown = ""
        while self._newest and self._newest != shown:
            shown = self._newest
            try:
                await self._surface.update(shown)
            except MessageGone:
                self.gone = True
                self._on_gone()
                return
            except Exception as error:  # the platform's library may raise anything; the final text counts
                log.debug("an update failed", why=str(error))
            pause = self._surface.pause()
            if pause > 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._ending.wait(), pause)
