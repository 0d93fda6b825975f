"""/retrain: start a training run, see how far it is, and those before it."""

from __future__ import annotations

import discord
from discord import app_commands

from bot.commands import training as runs
from bot.commands.training import RunView
from bot.platforms.discord import texts
from bot.platforms.discord.context import MOST_CHOICES, DiscordContext, Interaction, language_of, say
from bot.platforms.discord.permissions import (
    ADMINISTERS,
    may_operate,
    refused_administration,
    refused_operation,
)
from bot.platforms.discord.texts import localised
from bot.texts import NO_RUNS, RUN, run_started
from feedback.words import Language

VERDICT = 300

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
    """Start a run; what stands against it is said."""
    context = DiscordContext.of(interaction)
    if await refused_operation(context, interaction):
        return
    await interaction.response.defer(ephemeral=True, thinking=True)
    await context.retraining.start(context.actor(interaction.user), name)
    await interaction.followup.send(run_started(name, language_of(interaction)), ephemeral=True)


@now.autocomplete("name")
async def names(interaction: Interaction, typed: str) -> list[app_commands.Choice[str]]:
    """The adapters to train whose name holds what was typed."""
    context = DiscordContext.of(interaction)
    if not may_operate(context, interaction):
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
    if await refused_administration(interaction):
        return
    language = language_of(interaction)
    found = await runs.history(DiscordContext.of(interaction).core.database, limit=most)
    text = "\n".join(_line(run, language) for run in found) or NO_RUNS.say(language)
    await say(interaction, text[:2000])


def _line(run: RunView, language: Language) -> str:
    parts = [RUN.say(language, run=run.run, state=f"**{run.state}**")]
    if run.state == "running":
        done, total = run.progress.get("done"), run.progress.get("total")
        parts.append(f"{run.step} {done}/{total}" if total else run.step)
    parts += [
        run.adapter,
        discord.utils.format_dt(run.finished_at or run.started_at, "R"),
        run.verdict[:VERDICT],
    ]
    return " · ".join(part for part in parts if part)
