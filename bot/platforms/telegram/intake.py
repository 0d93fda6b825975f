"""What Telegram delivers, written down before it is confirmed, handed on once, and done with when it is done.

However updates come, by polling or by webhook, and however often, `take` is their way in. What a killed
process had written down and not finished, `resume` hands on again. Work that must not be done twice is marked
as begun first (`begin`); a crash in the middle of it is told to who asked for it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final

import structlog
from telegram import Update

from bot.platforms.telegram.context import PLATFORM, TelegramContext
from feedback import incoming
from feedback.errors import DatabaseError
from feedback.incoming import Incoming

WHO: Final = (
    ("message", "from"),
    ("edited_message", "from"),
    ("callback_query", "from"),
    ("message_reaction", "user"),
    ("my_chat_member", "from"),
)
"""Where an update says who it came from."""

FINISH_AGAIN_S: Final = (1.0, 5.0, 30.0)
"""Pauses before it is noted again that an update is done with."""

log = structlog.get_logger(__name__)


class Intake:
    """The way in of one bot's updates. `handle` is given each, `interrupted` those that a crash cut off."""

    def __init__(
        self,
        context: TelegramContext,
        handle: Callable[[Update], Awaitable[None]],
        interrupted: Callable[[Update], Awaitable[None]],
    ) -> None:
        self._context = context
        self._handle = handle
        self._interrupted = interrupted
        self._in_hand: set[int] = set()

    async def take(self, delivered: Sequence[Any]) -> int | None:
        """Write updates down and hand on those that are new; the number after the last, None without any.

        Raises DatabaseError: then nothing was written down, and Telegram must deliver all of them again.
        """
        readable = {one["update_id"]: one for one in delivered if _has_number(one)}
        if len(readable) < len(delivered):
            log.error("Telegram delivered what is no update", how_many=len(delivered) - len(readable))
        async with self._context.core.database.session() as session:
            new = await incoming.store(
                session, PLATFORM, [self._incoming(number, one) for number, one in readable.items()]
            )
        for number in new:
            await self._hand_on(readable[int(number)], self._handle)
        return max(readable) + 1 if readable else None

    async def resume(self) -> None:
        """Hand on what a former process did not finish."""
        async with self._context.core.database.session(read_only=True) as session:
            left = await incoming.unfinished(session, PLATFORM)
        for one in left:
            await self._hand_on(json.loads(one.payload), self._interrupted if one.begun else self._handle)
        if left:
            log.info("updates of a former process are taken up again", how_many=len(left))

    async def prune(self) -> None:
        """Forget the numbers of updates that Telegram delivers no more."""
        async with self._context.core.database.session() as session:
            await incoming.prune(session, PLATFORM)

    async def begin(self, number: int) -> None:
        """Note that the work of an update begins that must not be done twice."""
        async with self._context.core.database.session() as session:
            await incoming.begin(session, PLATFORM, str(number))

    def start(self, number: int, work: Coroutine[Any, Any, bool | None]) -> None:
        """Do the work of an update beside the next ones; then it is done with.

        Work that returns True has seen to that itself. What the end of the service cuts off stays unfinished.
        """
        self._in_hand.add(number)
        self._context.start(self._finished_by(number, work))

    async def _hand_on(self, payload: dict[str, Any], handle: Callable[[Update], Awaitable[None]]) -> None:
        number = int(payload["update_id"])
        try:
            update = Update.de_json(payload, self._context.bot)
        except Exception as error:  # whatever the library stumbles on; the payload holds people's words
            log.error("an update could not be understood", update=number, why=type(error).__name__)
        else:
            await handle(update)
        if number not in self._in_hand:  # nothing to do about it
            await self._finish(number)

    async def _finished_by(self, number: int, work: Coroutine[Any, Any, bool | None]) -> None:
        try:
            if not await work:
                await self._finish(number)
        finally:
            self._in_hand.discard(number)

    async def _finish(self, number: int) -> None:
        """Note that an update is done with, or the next start would do it again."""
        for pause in (*FINISH_AGAIN_S, None):
            try:
                async with self._context.core.database.session() as session:
                    await incoming.finish(session, PLATFORM, str(number))
                return
            except DatabaseError as error:
                log.warning("an update is not done with yet", update=number, why=str(error), again_in_s=pause)
            if pause is not None:
                await asyncio.sleep(pause)

    def _incoming(self, number: int, payload: dict[str, Any]) -> Incoming:
        return Incoming(str(number), json.dumps(payload), self._pseudonym(payload))

    def _pseudonym(self, payload: dict[str, Any]) -> str:
        for kind, who in WHO:
            match payload.get(kind):
                case {**update} if isinstance(sender := update.get(who), dict) and "id" in sender:
                    return self._context.core.pseudonym(PLATFORM, str(sender["id"]))
        return ""


def _has_number(one: Any) -> bool:
    return isinstance(one, dict) and isinstance(one.get("update_id"), int)
