"""Tells each community's log channel the weekly digest and what became of adapters by itself."""

from __future__ import annotations

from functools import partial
from typing import Final

import discord
import structlog

from bot.chat import announcements
from bot.platforms.discord.buttons import row
from bot.platforms.discord.context import PLATFORM, DiscordContext
from bot.platforms.discord.pacing import Rounds

LOOK_EVERY_S: Final = 30.0
MOST_CHARACTERS: Final = 2000
"""Discord's limit of a message."""

log = structlog.get_logger(__name__)


async def keep_telling(context: DiscordContext) -> None:
    """Tell what is due, now and every half-minute, until cancelled. Raises DatabaseError."""
    await context.client.wait_until_ready()
    await Rounds(partial(tell, context), LOOK_EVERY_S).start()


async def tell(context: DiscordContext) -> None:
    """Tell what is due to the communities that this process serves.

    It is noted first: killed in between, an announcement is lost rather than told twice.
    """
    for one in await announcements.due(context.core, PLATFORM):
        if context.client.get_guild(int(one.community)) is None:
            continue
        await announcements.note_told(context.core, PLATFORM, one)
        try:
            channel = context.client.get_partial_messageable(int(one.channel))
            await channel.send(
                one.text[:MOST_CHARACTERS],
                view=row([button for line in one.buttons for button in line]),
                allowed_mentions=discord.AllowedMentions.none(),
            )
        except discord.HTTPException as error:
            log.warning("moderators could not be told", channel=one.channel, why=str(error))
