"""/privacy: what is kept, staying out of training, having one's data, being forgotten."""

from __future__ import annotations

import contextlib
import io
import json

import discord
from discord import app_commands, ui

from bot.chat.button_codes import ButtonCode
from bot.commands import privacy as members
from bot.platforms.discord import texts
from bot.platforms.discord.buttons import button, row
from bot.platforms.discord.context import PLATFORM, DiscordContext, Interaction, language_of, say
from bot.platforms.discord.texts import localised
from bot.texts import (
    CANCEL,
    CANCELLED,
    EXPORT,
    FORGET,
    FORGET_ME,
    FORGET_SURE,
    FORGOTTEN,
    MAY_NOT_TRAIN,
    MAY_TRAIN,
    NOTHING_KEPT,
    OPT_IN,
    OPT_OUT,
    WHAT_IS_KEPT,
    YOU_ARE_IN,
    YOU_ARE_OUT,
)
from feedback import journal

DANGER = discord.ButtonStyle.danger


@app_commands.command(name=localised(texts.PRIVACY), description=localised(texts.PRIVACY_ABOUT))
async def privacy(interaction: Interaction) -> None:
    """Say what is kept, with buttons for everything a member may decide."""
    text, view = await _panel(DiscordContext.of(interaction), interaction)
    await say(interaction, text, view=view)


async def opt(context: DiscordContext, interaction: Interaction, code: ButtonCode) -> None:
    """Stay out of training, or come in again."""
    await members.set_opted_out(
        context.core.database, PLATFORM, _pseudonym(context, interaction), code.action == "optout"
    )
    text, view = await _panel(context, interaction)
    await interaction.response.edit_message(content=text, view=view)


async def export(context: DiscordContext, interaction: Interaction, code: ButtonCode) -> None:
    """Hand over everything kept about the member, as a file."""
    found = await members.export(context.core.database, PLATFORM, _pseudonym(context, interaction))
    if found is None:
        await say(interaction, NOTHING_KEPT.say(language_of(interaction)))
        return
    data = json.dumps(found, ensure_ascii=False, indent=1).encode()
    await say(
        interaction, EXPORT.say(language_of(interaction)), file=discord.File(io.BytesIO(data), "my-data.json")
    )


async def forget(context: DiscordContext, interaction: Interaction, code: ButtonCode) -> None:
    """Ask once more before everything is erased."""
    language = language_of(interaction)
    sure = button(ButtonCode("forgetsure", 0), FORGET_ME.say(language), style=DANGER)
    await interaction.response.edit_message(
        content=FORGET_SURE.say(language),
        view=row(sure, button(ButtonCode("cancel", 0), CANCEL.say(language))),
    )


async def forget_sure(context: DiscordContext, interaction: Interaction, code: ButtonCode) -> None:
    """Erase what the member said, and how their direct messages would be found."""
    await interaction.response.defer()
    database = context.core.database
    with contextlib.suppress(discord.HTTPException):  # without a direct channel there is no bookmark of it
        channel = await interaction.user.create_dm()
        async with database.session() as session:
            await journal.drop_bookmark(session, PLATFORM, str(channel.id))
    done = await members.forget(database, PLATFORM, _pseudonym(context, interaction))
    language = language_of(interaction)
    text = FORGOTTEN.say(language, turns=done.turns) if done else NOTHING_KEPT.say(language)
    await interaction.edit_original_response(content=text, view=None)


async def cancel(context: DiscordContext, interaction: Interaction, code: ButtonCode) -> None:
    """Leave everything as it is."""
    await interaction.response.edit_message(
        content=CANCELLED.say(language_of(interaction)), embeds=[], view=None
    )


async def _panel(context: DiscordContext, interaction: Interaction) -> tuple[str, ui.View]:
    language = language_of(interaction)
    out = await members.is_opted_out(context.core.database, PLATFORM, _pseudonym(context, interaction))
    allowed = (await context.community(interaction.guild)).training_allowed
    kept = WHAT_IS_KEPT.say(language, training=(MAY_TRAIN if allowed else MAY_NOT_TRAIN).say(language))
    mine = (YOU_ARE_OUT if out else YOU_ARE_IN).say(language)
    return f"{kept}\n\n{mine}", row(
        button(ButtonCode("optin" if out else "optout", 0), (OPT_IN if out else OPT_OUT).say(language)),
        button(ButtonCode("export", 0), EXPORT.say(language)),
        button(ButtonCode("forget", 0), FORGET.say(language), style=DANGER),
    )


def _pseudonym(context: DiscordContext, interaction: Interaction) -> str:
    return context.core.pseudonym(PLATFORM, str(interaction.user.id))
