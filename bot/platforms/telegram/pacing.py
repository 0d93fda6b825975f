"""Who may call Telegram now: what must arrive waits its turn, updates of a growing answer never do.

Telegram allows about one message a second in a chat, 20 a minute in a group and 30 a second overall, edits
counted; it answers what is beyond that with a flood-wait. So each call goes one of two ways:

    must arrive:  wait until the chat's flood-wait is over, and for the turn that the library's limiter gives
                  call; after a new flood-wait, begin again, `TRIES` times
    update:       drop it unless pause(chat) is 0; call

    pause(chat) = the longest of: what is left of the chat's flood-wait
                                  1 s while something that must arrive waits there
                                  1 / per_second_in_chat since the chat's last call
                                  until half of the group's minute is free, spaced as `_spacing` says
                                  until half of the second overall is free

Known limits: what is counted dies with the process, and other processes with the same token are not seen.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, Literal

import structlog
from telegram.constants import FloodLimit
from telegram.error import RetryAfter, TelegramError
from telegram.ext import AIORateLimiter, BaseRateLimiter

MINUTE_S: Final = 60.0
TRIES: Final = 6
"""How often something that must arrive is brought again after flood-waits, before its caller is told."""

MOST_CHATS: Final = 1000
"""How many chats are remembered before the quiet ones are forgotten."""

COUNTED: Final = ("send", "edit", "delete")
"""What endpoints begin with that Telegram counts; questions about members and answers to taps are free."""

Importance = Literal["update"]
Result = bool | dict[str, Any] | list[dict[str, Any]]

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Limits:
    """What Telegram allows. `kept_free` is the share of each that updates leave to what must arrive."""

    per_second: float = FloodLimit.MESSAGES_PER_SECOND
    per_second_in_chat: float = FloodLimit.MESSAGES_PER_SECOND_PER_CHAT
    per_minute_in_group: float = FloodLimit.MESSAGES_PER_MINUTE_PER_GROUP
    kept_free: float = 0.5


class Dropped(TelegramError):
    """An update was not sent, to leave the room to something that must arrive."""

    def __init__(self) -> None:
        super().__init__("An update was dropped.")


class Pacer(BaseRateLimiter[Importance]):
    """The limiter of one bot. Calls with `rate_limit_args="update"` may be dropped, others must arrive."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._library = AIORateLimiter(
            overall_max_rate=self._limits.per_second,
            group_max_rate=self._limits.per_minute_in_group,
            group_time_period=MINUTE_S,
            max_retries=0,  # it would halt every chat for the flood-wait of one
        )
        self._overall: deque[float] = deque()
        self._in_chat: dict[int, deque[float]] = {}
        self._closed_until: dict[int, float] = {}
        self._must_arrive: Counter[int] = Counter()

    async def initialize(self) -> None:
        """Nothing is needed."""

    async def shutdown(self) -> None:
        """Nothing is held."""

    async def process_request(
        self,
        callback: Callable[..., Coroutine[Any, Any, Result]],
        args: Any,
        kwargs: dict[str, Any],
        endpoint: str,
        data: dict[str, Any],
        rate_limit_args: Importance | None,
    ) -> Result:
        """Make the call when its turn has come. Raises Dropped for an update whose turn is not now."""
        chat = data.get("chat_id")
        if not endpoint.startswith(COUNTED) or not isinstance(chat, int):
            return await callback(*args, **kwargs)
        if endpoint == "sendChatAction":  # in passing: it takes nothing from its chat
            if self._until_overall_room() > 0:
                raise Dropped
            self._overall.append(asyncio.get_running_loop().time())
            return await callback(*args, **kwargs)
        call = _Call(callback, args, kwargs, endpoint, data)
        if rate_limit_args == "update":
            if self.pause(chat) > 0:
                raise Dropped
            return await self._go(chat, call)
        self._must_arrive[chat] += 1
        try:
            return await self._arrive(chat, call)
        finally:
            self._must_arrive[chat] -= 1
            if not self._must_arrive[chat]:
                del self._must_arrive[chat]

    def pause(self, chat: int) -> float:
        """Seconds until an update may be sent in that chat; 0 is now."""
        now = asyncio.get_running_loop().time()
        calls = self._recent(self._in_chat.setdefault(chat, deque()), now, MINUTE_S)
        waits = [self._closed_until.get(chat, 0.0) - now]
        if chat in self._must_arrive:
            waits.append(1.0)
        if calls:
            waits.append(calls[-1] + 1 / self._limits.per_second_in_chat - now)
        if chat < 0:
            waits.append(self._until_room(calls, self._limits.per_minute_in_group, MINUTE_S, now))
            if calls:
                waits.append(calls[-1] + self._spacing(len(calls)) - now)
        waits.append(self._until_overall_room())
        return max(0.0, *waits)

    def has_room(self, chat: int) -> bool:
        """Whether nothing need wait in the chat: no flood-wait, and half of a group's minute is free."""
        now = asyncio.get_running_loop().time()
        if self._closed_until.get(chat, 0.0) > now:
            return False
        if chat > 0:
            return True
        calls = self._recent(self._in_chat.setdefault(chat, deque()), now, MINUTE_S)
        return self._until_room(calls, self._limits.per_minute_in_group, MINUTE_S, now) <= 0

    def _spacing(self, calls: int) -> float:
        """Seconds between two updates in a group with that many calls in its last minute.

        Short answers grow fast, and long ones go on, ever more rarely.
        """
        room = self._room(self._limits.per_minute_in_group)
        # MINUTE_S / room seconds apart, calls never exceed `room` a minute; while only n of `room` were made,
        # the share n / room of that is enough, so that they spread over sum(n/room · 60/room) ≈ 30 s
        return calls / room * (MINUTE_S / room)

    async def _arrive(self, chat: int, call: _Call) -> Result:
        for tried in range(1, TRIES + 1):
            await self._reopened(chat)
            try:
                return await self._go(chat, call)
            except RetryAfter:
                if tried == TRIES:
                    raise
        raise AssertionError("the last try returns or raises")

    async def _reopened(self, chat: int) -> None:
        loop = asyncio.get_running_loop()
        while (wait := self._closed_until.get(chat, 0.0) - loop.time()) > 0:
            await asyncio.sleep(wait)
        self._closed_until.pop(chat, None)

    async def _go(self, chat: int, call: _Call) -> Result:
        """Call through the library's limiter, and count the call when it is made."""

        async def counted(*args: Any, **kwargs: Any) -> Result:
            now = asyncio.get_running_loop().time()
            self._overall.append(now)
            if len(self._in_chat) >= MOST_CHATS:
                self._in_chat = {
                    key: calls for key, calls in self._in_chat.items() if self._recent(calls, now, MINUTE_S)
                }
            self._in_chat.setdefault(chat, deque()).append(now)
            return await call.callback(*args, **kwargs)

        try:
            return await self._library.process_request(
                counted, call.args, call.kwargs, call.endpoint, call.data, None
            )
        except RetryAfter as error:
            wait = _seconds(error)
            log.warning("Telegram asks us to wait", chat=chat, seconds=wait)
            self._closed_until[chat] = asyncio.get_running_loop().time() + wait
            raise

    def _until_overall_room(self) -> float:
        now = asyncio.get_running_loop().time()
        overall = self._recent(self._overall, now, 1.0)
        return self._until_room(overall, self._limits.per_second, 1.0, now)

    def _until_room(self, calls: deque[float], most: float, period: float, now: float) -> float:
        room = self._room(most)
        return calls[-room] + period - now if len(calls) >= room else 0.0

    def _room(self, most: float) -> int:
        """After how many calls of a period updates stop."""
        return max(int(most * (1 - self._limits.kept_free)), 1)

    @staticmethod
    def _recent(calls: deque[float], now: float, period: float) -> deque[float]:
        while calls and calls[0] <= now - period:
            calls.popleft()
        return calls


@dataclass(frozen=True)
class _Call:
    """A call as the library hands it over."""

    callback: Callable[..., Coroutine[Any, Any, Result]]
    args: Any
    kwargs: dict[str, Any]
    endpoint: str
    data: dict[str, Any]


def _seconds(error: RetryAfter) -> float:
    wait = error.retry_after
    return float(wait) if isinstance(wait, int | float) else wait.total_seconds()
