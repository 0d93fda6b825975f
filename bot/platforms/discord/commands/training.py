"""/retrain: start a training run, see how far it is, and those before it."""

from __future__ import annotations

from datetime import datetime

import discord
from discord import app_commands

from bot.access.rights import may
from bot.chat import reports
from bot.platforms.discord import texts
from bot.platforms.discord.context import MOST_CHOICES, DiscordContext, Interaction, language_of, say
from bot.platforms.discord.permissions import (
    ADMINISTERS,
    actor_of,
    authorised,
)
from bot.platforms.discord.texts import localised
from bot.texts import run_started

retrain = app_commands.Group(
    name=localised(texts.RETRAIN),
    description=localised(texts.RETRAIN_ABOUT),
    guild_only=True,
    default_permissions=ADMINISTERS,
)


@retrain.command(name=localised(texts.RETRAIN_NOW), description=localised(texts.RETRAIN_NOW_ABOUT))
@app_commands.rename(name=localised(texts.ADAPTER))
@app_commands.describe(name=localised(texts.WHICH_TO_TRAIN))
async def now(interaction: Interaction, name: str | None = None) -> None:
    """Start a run; an error says why it cannot start."""
    context = DiscordContext.of(interaction)
    actor = await authorised(context, interaction, "run.start")
    await interaction.response.defer(ephemeral=True, thinking=True)
    await context.retraining.start(actor, name)
    await interaction.followup.send(run_started(name, language_of(interaction)), ephemeral=True)


@now.autocomplete("name")
async def names(interaction: Interaction, typed: str) -> list[app_commands.Choice[str]]:
    """The adapters to train whose name holds what was typed."""
    context = DiscordContext.of(interaction)
    actor = await actor_of(context, interaction)
    if not may(actor, "run.start", actor.community_id):
        return []
    found = [name for name in context.retraining.settings.names if typed.casefold() in name]
    return [app_commands.Choice(name=name, value=name) for name in found[:MOST_CHOICES]]


@retrain.command(name=localised(texts.RETRAIN_STATUS), description=localised(texts.RETRAIN_STATUS_ABOUT))
async def status(interaction: Interaction) -> None:
    """Show the newest run."""
    await _show(interaction, most=1)


@retrain.command(name=localised(texts.RETRAIN_HISTORY), description=localised(texts.RETRAIN_HISTORY_ABOUT))
async def history(interaction: Interaction) -> None:
    """Show the last runs."""
    await _show(interaction, most=5)


async def _show(interaction: Interaction, *, most: int) -> None:
    context, language = DiscordContext.of(interaction), language_of(interaction)
    await authorised(context, interaction, "run.view")
    text = await reports.training_runs(context, language, _when, most=most)
    await say(interaction, text[:2000])


def _when(moment: datetime) -> str:
    return discord.utils.format_dt(moment, "R")
