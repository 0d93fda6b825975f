"""/adapter: which adapters there are, which one answers on this server, changing that and going back."""

from __future__ import annotations

import discord
import structlog
from discord import app_commands

from bot.chat.button_codes import ButtonCode
from bot.commands import adapter as adapters
from bot.commands.adapter import EVERYWHERE, AdapterSummary
from bot.platforms.discord import texts
from bot.platforms.discord.buttons import button, row
from bot.platforms.discord.context import MOST_CHOICES, DiscordContext, Interaction, language_of, say
from bot.platforms.discord.permissions import ADMINISTERS, may_administer, refused_administration
from bot.platforms.discord.texts import localised
from bot.texts import (
    ALREADY,
    CANCEL,
    FIGURE,
    FIGURE_AGAINST,
    FILES_ARE_DAMAGED,
    LET_ANSWER,
    NOT_ANNOUNCED,
    NOT_EXAMINED,
    ROLLED_BACK,
    ROLLED_BACK_BY,
    SERVES_HERE,
    SWITCH,
    SWITCHED,
    SWITCHED_BY,
    Text,
)
from feedback.errors import NotFound
from feedback.tables import Adapter
from feedback.words import Language
from training.adapters import registry

MOST_LISTED = 15

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
    context, language = DiscordContext.of(interaction), language_of(interaction)
    if await refused_administration(interaction):
        return
    here = await registry_label(context, interaction)
    listed = await adapters.list_adapters(context.core.database)
    lines = [_line(one, one.label == here, language) for one in listed[:MOST_LISTED]]
    if len(listed) > MOST_LISTED:
        lines.append(f"… +{len(listed) - MOST_LISTED}")
    await say(interaction, "\n".join(lines)[:2000])


@adapter.command(name=localised(texts.ADAPTER_INFO), description=localised(texts.ADAPTER_INFO_ABOUT))
@app_commands.rename(label=localised(texts.ADAPTER))
@app_commands.describe(label=localised(texts.WHICH_ADAPTER))
async def info(interaction: Interaction, label: str) -> None:
    """Show all about one adapter."""
    if await refused_administration(interaction):
        return
    context = DiscordContext.of(interaction)
    await interaction.response.defer(ephemeral=True, thinking=True)  # its files are read for it
    await interaction.followup.send(
        embed=await _card(context, label, language_of(interaction)), ephemeral=True
    )


@adapter.command(name=localised(texts.ADAPTER_SWITCH), description=localised(texts.ADAPTER_SWITCH_ABOUT))
@app_commands.rename(label=localised(texts.ADAPTER))
@app_commands.describe(label=localised(texts.WHICH_ADAPTER))
async def switch(interaction: Interaction, label: str) -> None:
    """Show the examination's figures, and ask."""
    if await refused_administration(interaction):
        return
    context, language = DiscordContext.of(interaction), language_of(interaction)
    await interaction.response.defer(ephemeral=True, thinking=True)
    async with context.core.database.session(read_only=True) as session:
        wanted = await registry.find(session, label)
    name = registry.label(wanted) if wanted else registry.BASE
    yes = button(
        ButtonCode("switch", wanted.id or 0 if wanted else 0),
        SWITCH.say(language),
        style=discord.ButtonStyle.success,
    )
    await interaction.followup.send(
        LET_ANSWER.say(language, adapter=f"**{name}**"),
        embed=await _card(context, name, language),
        view=row(yes, button(ButtonCode("cancel", 0), CANCEL.say(language))),
        ephemeral=True,
    )


@adapter.command(name=localised(texts.ADAPTER_ROLLBACK), description=localised(texts.ADAPTER_ROLLBACK_ABOUT))
async def rollback(interaction: Interaction) -> None:
    """Go back at once: whoever does this is in a hurry."""
    if await refused_administration(interaction):
        return
    context = DiscordContext.of(interaction)
    await interaction.response.defer(ephemeral=True, thinking=True)
    settings = await context.community(interaction.guild)
    done = await adapters.rollback(
        context.core.database,
        context.core.data,
        base_model=context.core.model.base_model,
        base_revision=context.core.model.base_revision,
        by=context.actor(interaction.user),
        community=str(settings.community_id),
    )
    context.forget_settings(interaction.guild)
    told = ROLLED_BACK.say(language_of(interaction), adapter=f"**{done.now}**", before=done.before)
    told += await _announce(context, interaction, ROLLED_BACK_BY, done)
    await interaction.followup.send(told, ephemeral=True)


async def switched(context: DiscordContext, interaction: Interaction, code: ButtonCode) -> None:
    """Switch, from the next question on, and announce it. What is wrong with its files is said first."""
    if await refused_administration(interaction):
        return
    await interaction.response.defer()
    assistant = context.assistant
    label = registry.BASE
    if code.turn_id:
        async with context.core.database.session(read_only=True) as session:
            wanted = await session.get(Adapter, code.turn_id)
        if wanted is None:
            raise NotFound("adapter", code.turn_id)
        await assistant.make_ready(wanted)
        label = registry.label(wanted)
    settings = await context.community(interaction.guild)
    done = await adapters.switch(
        context.core.database,
        context.core.data,
        label,
        base_model=context.core.model.base_model,
        base_revision=context.core.model.base_revision,
        by=context.actor(interaction.user),
        community=str(settings.community_id),
    )
    context.forget_settings(interaction.guild)
    language = language_of(interaction)
    if done.changed:
        told = SWITCHED.say(language, adapter=f"**{done.now}**", before=done.before)
        told += await _announce(context, interaction, SWITCHED_BY, done)
    else:
        told = ALREADY.say(language, adapter=f"**{done.now}**")
    await interaction.edit_original_response(content=told, embeds=[], view=None)


@info.autocomplete("label")
@switch.autocomplete("label")
async def labels(interaction: Interaction, typed: str) -> list[app_commands.Choice[str]]:
    """The adapters whose label holds what was typed."""
    if not may_administer(interaction):
        return []
    listed = await adapters.list_adapters(DiscordContext.of(interaction).core.database)
    language = language_of(interaction)
    return [
        app_commands.Choice(name=_plain(one, language)[:100], value=one.label)
        for one in listed
        if typed.casefold() in one.label
    ][:MOST_CHOICES]


async def registry_label(context: DiscordContext, interaction: Interaction) -> str:
    """The label of what answers on this server."""
    async with context.core.database.session(read_only=True) as session:
        found = await registry.serving(session, (await context.community(interaction.guild)).community_id)
    return registry.label(found) if found else registry.BASE


async def _announce(
    context: DiscordContext, interaction: Interaction, text: Text, done: adapters.Switched
) -> str:
    """Tell the log channel; what to add for whoever switched, when that was not possible."""
    settings = await context.community(interaction.guild)
    if not settings.log_channel or interaction.guild is None:
        return ""
    language: Language = "pl" if settings.language == "pl" else "en"
    said = text.say(language, by=interaction.user.mention, adapter=f"**{done.now}**", before=done.before)
    try:
        await context.client.get_partial_messageable(int(settings.log_channel)).send(said)
    except discord.HTTPException as error:
        log.warning("a switch could not be announced", channel=settings.log_channel, why=str(error))
        channel = f"<#{settings.log_channel}>"
        return "\n" + NOT_ANNOUNCED.say(language_of(interaction), channel=channel)
    return ""


async def _card(context: DiscordContext, label: str, language: Language) -> discord.Embed:
    """All about an adapter that this server may know: other servers' names stay theirs."""
    details = await adapters.show(context.core.database, context.core.data, label)
    if details is None:
        return discord.Embed(title=registry.BASE, description=context.core.model.base_model)
    card = discord.Embed(title=details.label, description=f"{details.base_model} · {details.state}")
    examined = _figures(details.metrics, language)
    card.add_field(
        name=texts.EXAMINATION.say(language),
        value="\n".join(examined) or NOT_EXAMINED.say(language),
        inline=False,
    )
    if details.dataset:
        card.add_field(name=texts.DATASET.say(language), value=details.dataset)
    everywhere = [one for one in details.deployments if one.whom == EVERYWHERE]
    if everywhere:
        since = everywhere[0].since
        card.add_field(name=texts.SERVES_EVERYWHERE.say(language), value=discord.utils.format_dt(since))
    if details.fault:
        card.add_field(name="⚠️", value=FILES_ARE_DAMAGED.say(language), inline=False)
    card.timestamp = details.created_at
    return card


def _line(one: AdapterSummary, here: bool, language: Language) -> str:
    examined = _figures(one.metrics, language)
    parts = [f"**{one.label}**", one.state, examined[0] if examined else ""]
    if one.label != registry.BASE and not examined:
        parts.append(NOT_EXAMINED.say(language))
    if here:
        parts.append(f"✅ {SERVES_HERE.say(language)}")
    return " · ".join(part for part in parts if part)


def _plain(one: AdapterSummary, language: Language) -> str:
    return " · ".join(part for part in (one.label, one.state, *_figures(one.metrics, language)[:1]) if part)


def _figures(metrics: dict[str, object], language: Language) -> list[str]:
    return [
        FIGURE.say(language, name=one.name, adapter=one.adapter)
        if one.base is None
        else FIGURE_AGAINST.say(language, name=one.name, adapter=one.adapter, base=one.base)
        for one in adapters.figures(metrics)
    ]
