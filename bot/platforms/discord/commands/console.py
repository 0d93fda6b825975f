"""/console: a link that signs whoever asked in to the web console; only they see it."""

from __future__ import annotations

from dataclasses import replace

from discord import app_commands

from bot.access import sign_in
from bot.platforms.discord import texts
from bot.platforms.discord.context import DiscordContext, Interaction, language_of, say
from bot.platforms.discord.permissions import actor_of
from bot.platforms.discord.texts import localised
from bot.texts import CONSOLE_ABOUT, CONSOLE_LINK
from feedback.sign_in import LINK_FOR


@app_commands.command(name=localised(texts.CONSOLE), description=localised(CONSOLE_ABOUT))
async def console(interaction: Interaction) -> None:
    """Send the link."""
    context = DiscordContext.of(interaction)
    actor = await actor_of(context, interaction)
    if interaction.user.id in context.settings.operators:
        actor = replace(actor, community_id=None)  # theirs are all
    link = await sign_in.link(context.core, actor, external_id=str(interaction.user.id))
    minutes = int(LINK_FOR.total_seconds() // 60)
    await say(interaction, CONSOLE_LINK.say(language_of(interaction), minutes=minutes, link=link))
