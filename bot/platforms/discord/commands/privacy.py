"""/privacy: what is kept, staying out of training, having one's data, being forgotten."""

from __future__ import annotations

import contextlib
import io

import discord
from discord import app_commands, ui

from bot.chat import privacy as members
from bot.chat.button_codes import ButtonCode
from bot.commands.privacy import set_opted_out
from bot.platforms.discord import texts
from bot.platforms.discord.buttons import row
from bot.platforms.discord.context import (
    PLATFORM,
    DiscordContext,
    Interaction,
    language_of,
    place_in,
    say,
)
from bot.platforms.discord.texts import localised
from bot.texts import CANCELLED, EXPORT, FORGET_SURE, NOTHING_KEPT
from feedback import journal


@app_commands.command(name=localised(texts.PRIVACY), description=localised(texts.PRIVACY_ABOUT))
async def privacy(interaction: Interaction) -> None:
    """Say what is kept, with buttons for everything a member may decide."""
    text, view = await _panel(DiscordContext.of(interaction), interaction)
    await say(interaction, text, view=view)


async def opt(context: DiscordContext, interaction: Interaction, code: ButtonCode) -> None:
    """Stay out of training, or come in again."""
    await set_opted_out(context.core.database, context.member(interaction.user), code.action == "optout")
    text, view = await _panel(context, interaction)
    await interaction.response.edit_message(content=text, view=view)


async def export(context: DiscordContext, interaction: Interaction, code: ButtonCode) -> None:
    """Hand over everything kept about the member, as a file."""
    data, language = await members.export(context, context.member(interaction.user)), language_of(interaction)
    if data is None:
        await say(interaction, NOTHING_KEPT.say(language))
        return
    file = discord.File(io.BytesIO(data), members.FILE_NAME)
    await say(interaction, EXPORT.say(language), file=file)


async def forget(context: DiscordContext, interaction: Interaction, code: ButtonCode) -> None:
    """Ask once more before everything is erased."""
    language = language_of(interaction)
    await interaction.response.edit_message(
        content=FORGET_SURE.say(language), view=row(members.sure_buttons(language))
    )


async def forget_sure(context: DiscordContext, interaction: Interaction, code: ButtonCode) -> None:
    """Erase what the member said, and how their direct messages would be found."""
    await interaction.response.defer()
    with contextlib.suppress(discord.HTTPException):  # without a direct channel there is no bookmark of it
        channel = await interaction.user.create_dm()
        async with context.core.database.session() as session:
            await journal.drop_bookmark(session, PLATFORM, str(channel.id))
    text = await members.forget(context, context.member(interaction.user), language_of(interaction))
    await interaction.edit_original_response(content=text, view=None)


async def cancel(context: DiscordContext, interaction: Interaction, code: ButtonCode) -> None:
    """Leave everything as it is."""
    await interaction.response.edit_message(
        content=CANCELLED.say(language_of(interaction)), embeds=[], view=None
    )


async def _panel(context: DiscordContext, interaction: Interaction) -> tuple[str, ui.View]:
    member, place = context.member(interaction.user), place_in(interaction.guild)
    text, buttons = await members.panel(context, place, member, language_of(interaction))
    return text, row(buttons)
