"""Tells each group, in the topic that `/settings` names, the digest and what became of adapters by itself."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
from telegram.error import TelegramError

from bot.chat import announcements
from bot.chat.surface import MayNotWrite
from bot.platforms.telegram.buttons import rows
from bot.platforms.telegram.context import PLATFORM, Spot, TelegramContext
from bot.platforms.telegram.markdown import pieces

LOOK_EVERY_S: Final = 30.0

log = structlog.get_logger(__name__)


async def keep_telling(context: TelegramContext) -> None:
    """Tell what is due, now and every half-minute, until cancelled. Raises DatabaseError."""
    while True:
        await tell(context)
        await asyncio.sleep(LOOK_EVERY_S)


async def tell(context: TelegramContext) -> None:
    """Tell what is due. It is noted first: killed in between, it is lost rather than told twice."""
    for one in await announcements.due(context.core, PLATFORM):
        await announcements.note_told(context.core, PLATFORM, one)
        spot = Spot(int(one.community), int(one.channel) or None)
        *first, last = pieces(one.text)
        try:
            for piece in first:
                await context.send(spot, piece)
            await context.send(spot, last, rows(*one.buttons))
        except (MayNotWrite, TelegramError) as error:
            log.warning("moderators could not be told", chat=one.community, why=str(error))
