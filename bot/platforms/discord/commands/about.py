"""/about for everyone and /stats for moderators: who answers here, and how it goes."""

from __future__ import annotations

import discord
from discord import app_commands

from bot.chat import reports
from bot.platforms.discord import texts
from bot.platforms.discord.context import DiscordContext, Interaction, language_of, place_in, say
from bot.platforms.discord.permissions import MODERATES, authorised
from bot.platforms.discord.texts import localised
from bot.texts import ABOUT_ABOUT, STATS_ABOUT


@app_commands.command(name=localised(texts.ABOUT), description=localised(ABOUT_ABOUT))
async def about(interaction: Interaction) -> None:
    """Say which adapter answers, since when, and what it learned from."""
    context, place = DiscordContext.of(interaction), place_in(interaction.guild)
    language = language_of(interaction)
    await say(interaction, await reports.about(context, place, language, discord.utils.format_dt))


@app_commands.command(name=localised(texts.STATS), description=localised(STATS_ABOUT))
@app_commands.guild_only()
@app_commands.default_permissions(MODERATES)
async def stats(interaction: Interaction) -> None:
    """Show this server's counts, and how each adapter did."""
    context = DiscordContext.of(interaction)
    await authorised(context, interaction, "statistics.view")
    text = await reports.stats(context, place_in(interaction.guild), language_of(interaction))
    await say(interaction, text[:2000])
