"""/adapter: which adapters there are, which one answers on this server, changing that and going back."""

from __future__ import annotations

import discord
import structlog
from discord import app_commands

from bot.access.rights import may
from bot.chat import adapters
from bot.chat.adapters import Card
from bot.chat.button_codes import ButtonCode
from bot.chat.settings import public_language
from bot.commands.adapter import Switched
from bot.platforms.discord import texts
from bot.platforms.discord.buttons import row
from bot.platforms.discord.context import (
    MOST_CHOICES,
    DiscordContext,
    Interaction,
    language_of,
    place_in,
    say,
)
from bot.platforms.discord.permissions import ADMINISTERS, actor_of, authorised
from bot.platforms.discord.texts import localised
from bot.texts import NOT_ANNOUNCED, ROLLED_BACK_BY, SWITCHED_BY, Text
from feedback.words import Language

log = structlog.get_logger(__name__)

adapter = app_commands.Group(
    name=localised(texts.ADAPTER),
    description=localised(texts.ADAPTER_ABOUT),
    guild_only=True,
    default_permissions=ADMINISTERS,
)


@adapter.command(name=localised(texts.ADAPTER_LIST), description=localised(texts.ADAPTER_LIST_ABOUT))
async def list_all(interaction: Interaction) -> None:
    """List the adapters with the figure that decided about each."""
    await _say_list(DiscordContext.of(interaction), interaction)


@adapter.command(name=localised(texts.ADAPTER_INFO), description=localised(texts.ADAPTER_INFO_ABOUT))
@app_commands.rename(label=localised(texts.ADAPTER))
@app_commands.describe(label=localised(texts.WHICH_ADAPTER))
async def info(interaction: Interaction, label: str) -> None:
    """Show all about one adapter."""
    context, language = DiscordContext.of(interaction), language_of(interaction)
    await authorised(context, interaction, "adapter.view")
    await interaction.response.defer(ephemeral=True, thinking=True)  # its files are read for it
    card = await adapters.card_of(context, label, language)
    await interaction.followup.send(embed=_embed(card, language), ephemeral=True)


@adapter.command(name=localised(texts.ADAPTER_SWITCH), description=localised(texts.ADAPTER_SWITCH_ABOUT))
@app_commands.rename(label=localised(texts.ADAPTER))
@app_commands.describe(label=localised(texts.WHICH_ADAPTER))
async def switch(interaction: Interaction, label: str) -> None:
    """Show the examination's figures, and ask."""
    context, language = DiscordContext.of(interaction), language_of(interaction)
    await authorised(context, interaction, "adapter.switch")
    await interaction.response.defer(ephemeral=True, thinking=True)
    proposal = await adapters.propose(context, label, language)
    await interaction.followup.send(
        proposal.question, embed=_embed(proposal.card, language), view=row(proposal.buttons), ephemeral=True
    )


@adapter.command(name=localised(texts.ADAPTER_ROLLBACK), description=localised(texts.ADAPTER_ROLLBACK_ABOUT))
async def rollback(interaction: Interaction) -> None:
    """Go back at once: whoever does this is in a hurry."""
    context = DiscordContext.of(interaction)
    actor = await authorised(context, interaction, "adapter.switch")
    await interaction.response.defer(ephemeral=True, thinking=True)
    done = await adapters.roll_back(context, place_in(interaction.guild), actor)
    text = adapters.rolled_back(done, language_of(interaction))
    text += await _announce(context, interaction, ROLLED_BACK_BY, done)
    await interaction.followup.send(text, ephemeral=True)


async def listed(context: DiscordContext, interaction: Interaction, code: ButtonCode) -> None:
    """The button of an announcement: the adapters, for who tapped alone."""
    await _say_list(context, interaction)


async def _say_list(context: DiscordContext, interaction: Interaction) -> None:
    await authorised(context, interaction, "adapter.view")
    lines = await adapters.list_lines(context, place_in(interaction.guild), language_of(interaction))
    await say(interaction, "\n".join(lines)[:2000])


async def switched(context: DiscordContext, interaction: Interaction, code: ButtonCode) -> None:
    """Switch, from the next question on, and announce it."""
    actor = await authorised(context, interaction, "adapter.switch")
    await interaction.response.defer()
    done = await adapters.switch_by_button(context, place_in(interaction.guild), actor, code)
    text = adapters.switched(done, language_of(interaction))
    if done.changed:
        text += await _announce(context, interaction, SWITCHED_BY, done)
    await interaction.edit_original_response(content=text, embeds=[], view=None)


@info.autocomplete("label")
@switch.autocomplete("label")
async def labels(interaction: Interaction, typed: str) -> list[app_commands.Choice[str]]:
    """The adapters whose label holds what was typed."""
    context = DiscordContext.of(interaction)
    actor = await actor_of(context, interaction)
    if not may(actor, "adapter.view", actor.community_id):
        return []
    found = await adapters.labels(context, typed, language_of(interaction))
    choices = [app_commands.Choice(name=line[:100], value=label) for label, line in found.items()]
    return choices[:MOST_CHOICES]


async def _announce(context: DiscordContext, interaction: Interaction, text: Text, done: Switched) -> str:
    """Tell the log channel; what to add for whoever switched, when that was not possible."""
    settings = await context.community(interaction.guild)
    if not settings.log_channel or interaction.guild is None:
        return ""
    by = interaction.user.mention
    said = text.say(public_language(settings), by=by, adapter=f"**{done.now}**", before=done.before)
    try:
        await context.client.get_partial_messageable(int(settings.log_channel)).send(said)
    except discord.HTTPException as error:
        log.warning("a switch could not be announced", channel=settings.log_channel, why=str(error))
        channel = f"<#{settings.log_channel}>"
        return "\n" + NOT_ANNOUNCED.say(language_of(interaction), channel=channel)
    return ""


def _embed(card: Card, language: Language) -> discord.Embed:
    embed = discord.Embed(title=card.label, description=card.facts, timestamp=card.created_at)
    if card.figures:
        figures = "\n".join(card.figures)
        embed.add_field(name=texts.EXAMINATION.say(language), value=figures, inline=False)
    if card.dataset:
        embed.add_field(name=texts.DATASET.say(language), value=card.dataset)
    if card.everywhere_since:
        since = discord.utils.format_dt(card.everywhere_since)
        embed.add_field(name=texts.SERVES_EVERYWHERE.say(language), value=since)
    if card.warning:
        embed.add_field(name="⚠️", value=card.warning[:1024], inline=False)
    return embed
