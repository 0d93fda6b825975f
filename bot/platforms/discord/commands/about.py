"""/about for everyone and /stats for moderators: who answers here, and how it goes."""

from __future__ import annotations

from dataclasses import asdict

import discord
from discord import app_commands

from bot.commands import about as facts
from bot.platforms.discord import texts
from bot.platforms.discord.context import DiscordContext, Interaction, language_of, place_in, say
from bot.platforms.discord.permissions import MODERATES, refused_moderation
from bot.platforms.discord.texts import localised
from bot.texts import (
    ANSWERS_HERE,
    BASE_MODEL_IS,
    LEARNED_FROM,
    MAY_NOT_TRAIN,
    MAY_TRAIN,
    SINCE,
    STATS,
    STATS_OF_ADAPTER,
)


@app_commands.command(name=localised(texts.ABOUT), description=localised(texts.ABOUT_ABOUT))
async def about(interaction: Interaction) -> None:
    """Say which adapter answers, since when, and what it learned from."""
    context, language = DiscordContext.of(interaction), language_of(interaction)
    found = await facts.about(
        context.core.database, place_in(interaction.guild), base_model=context.core.model.base_model
    )
    lines = [ANSWERS_HERE.say(language, adapter=f"**{found.adapter}**")]
    if found.since is not None:
        lines.append(SINCE.say(language, since=discord.utils.format_dt(found.since)))
    if found.pairs:
        lines.append(LEARNED_FROM.say(language, pairs=found.pairs))
    lines.append(BASE_MODEL_IS.say(language, base_model=found.base_model))
    lines.append((MAY_TRAIN if found.training_allowed else MAY_NOT_TRAIN).say(language))
    await say(interaction, " ".join(lines))


@app_commands.command(name=localised(texts.STATS), description=localised(texts.STATS_ABOUT))
@app_commands.guild_only()
@app_commands.default_permissions(MODERATES)
async def stats(interaction: Interaction) -> None:
    """Show this server's counts, and how each adapter did."""
    context, language = DiscordContext.of(interaction), language_of(interaction)
    if await refused_moderation(context, interaction):
        return
    found = await facts.stats(context.core.database, place_in(interaction.guild))
    lines = [STATS.say(language, new_pairs=found.new_pairs, **asdict(found.counts))]
    for label, one in found.by_adapter.items():
        figures = STATS_OF_ADAPTER.say(
            language,
            adapter=f"**{label}**",
            answered=one.answered,
            votes_up=one.votes_up,
            votes_down=one.votes_down,
            first=one.median_first_token_s,
            whole=one.median_total_s,
        )
        lines.append(figures)
    await say(interaction, "\n".join(lines)[:2000])
