"""/console: a link that signs whoever asked in to the web console; only they see it."""

from __future__ import annotations

from discord import app_commands

from bot.chat.console_link import console_link
from bot.platforms.discord import texts
from bot.platforms.discord.context import DiscordContext, Interaction, language_of, say
from bot.platforms.discord.permissions import actor_of
from bot.platforms.discord.texts import localised
from bot.texts import CONSOLE_ABOUT


@app_commands.command(name=localised(texts.CONSOLE), description=localised(CONSOLE_ABOUT))
async def console(interaction: Interaction) -> None:
    """Send the link."""
    context = DiscordContext.of(interaction)
    said = await console_link(
        context.core,
        await actor_of(context, interaction),
        external_id=str(interaction.user.id),
        everywhere=interaction.user.id in context.settings.operators,
        language=language_of(interaction),
    )
    await say(interaction, said)
