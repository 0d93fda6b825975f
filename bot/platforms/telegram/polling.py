"""Fetches updates by long polling: the next ones are asked for only when the last are written down.

Asking for what follows confirms what came before to Telegram, which then forgets it. The library's own poller
confirms what waits in its queue, and logs an update whole that it cannot read, with names and texts.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final
from urllib.parse import urlencode

import structlog
from telegram import Bot
from telegram.error import Conflict, InvalidToken, RetryAfter, TelegramError, TimedOut
from telegram.request import HTTPXRequest

from bot.platforms.telegram.errors import TelegramRefused
from feedback.errors import DatabaseError

WAIT_S: Final = 10
"""How long Telegram holds a poll that has nothing to tell."""

PATIENCE_S: Final = 5.0
"""How much longer its answer may take, before the connection counts as dead and is closed."""

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 30.0
"""The pause after a fault doubles from the first to the longest."""

CONFLICTS: Final = 3
CONFLICT_S: Final = 60.0
"""So many conflicts within that time are another poller; one alone is the former process going."""

log = structlog.get_logger(__name__)


class Polling:
    """Fetches one bot's updates. `take` writes them down and says with which number to go on.

    `note` is told whether fetching works: "" when it does, and why not when it doesn't.
    """

    def __init__(
        self,
        bot: Bot,
        allowed: Sequence[str],
        take: Callable[[Sequence[Any]], Awaitable[int | None]],
        note: Callable[[str], None],
    ) -> None:
        self._bot = bot
        self._allowed = json.dumps(list(allowed))
        self._take = take
        self._note = note
        self._offset = 0
        self._conflicts: deque[float] = deque(maxlen=CONFLICTS)

    async def run(self) -> None:
        """Fetch until cancelled. Raises TelegramRefused when the token is wrong, or another process polls."""
        request = HTTPXRequest(connection_pool_size=1, read_timeout=WAIT_S + PATIENCE_S)
        await request.initialize()
        try:
            await self._keep_fetching(request)
        finally:
            await request.shutdown()

    async def _keep_fetching(self, request: HTTPXRequest) -> None:
        pause = FIRST_PAUSE_S
        while True:
            try:
                self._offset = await self._take(await self._fetch(request)) or self._offset
            except InvalidToken as error:
                raise TelegramRefused.token() from error
            except TimedOut:  # a poll whose connection died; the next one has its own
                continue
            except (TelegramError, DatabaseError) as error:
                log.warning("fetching updates failed", why=str(error), again_in_s=pause)
                self._refuse_another_poller(error)
                self._note("Telegram's updates cannot be fetched; it is tried again.")
                await asyncio.sleep(_seconds(error.retry_after) if isinstance(error, RetryAfter) else pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)
            else:
                self._note("")
                pause = FIRST_PAUSE_S

    async def _fetch(self, request: HTTPXRequest) -> list[Any]:
        values = {"offset": self._offset, "timeout": WAIT_S, "allowed_updates": self._allowed}
        found: Any = await request.post(f"{self._bot.base_url}/getUpdates?{urlencode(values)}")
        if not isinstance(found, list):
            raise TelegramError("getUpdates gave no list of updates")
        return found

    def _refuse_another_poller(self, error: Exception) -> None:
        if not isinstance(error, Conflict):
            return
        now = asyncio.get_running_loop().time()
        self._conflicts.append(now)
        if len(self._conflicts) == CONFLICTS and now - self._conflicts[0] < CONFLICT_S:
            raise TelegramRefused.conflict() from error


def _seconds(pause: Any) -> float:
    """A pause as the library gives it: a number, or a timedelta where it is set to."""
    return float(pause.total_seconds() if hasattr(pause, "total_seconds") else pause)
