"""Sends each community's weekly digest to its log channel."""

from __future__ import annotations

import asyncio
from typing import Final

import discord
import structlog

from bot.chat import digest
from bot.platforms.discord.context import PLATFORM, DiscordContext

LOOK_EVERY_S: Final = 600.0

log = structlog.get_logger(__name__)


async def keep_telling(context: DiscordContext) -> None:
    """Send what is due, now and every ten minutes, until cancelled. Raises DatabaseError."""
    await context.client.wait_until_ready()
    while True:
        await tell(context)
        await asyncio.sleep(LOOK_EVERY_S)


async def tell(context: DiscordContext) -> None:
    """Send what is due to the communities that this process serves.

    It is noted first: killed in between, a week's digest is lost rather than sent twice.
    """
    for one in await digest.due(context.core, PLATFORM):
        if context.client.get_guild(int(one.community)) is None:
            continue
        await digest.note_sent(context.core, PLATFORM, one)
        try:
            channel = context.client.get_partial_messageable(int(one.channel))
            await channel.send(one.text, allowed_mentions=discord.AllowedMentions.none())
        except discord.HTTPException as error:
            log.warning("a weekly digest could not be sent", channel=one.channel, why=str(error))
