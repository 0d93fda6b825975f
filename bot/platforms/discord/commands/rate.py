"""/rate: answers rated blind, a tap for each score, on a card that only its rater sees."""

from __future__ import annotations

from typing import Final

import discord
from discord import app_commands, ui

from bot.chat import rating
from bot.chat.button_codes import ButtonCode
from bot.chat.rating import RatingCard
from bot.platforms.discord import texts
from bot.platforms.discord.buttons import row
from bot.platforms.discord.context import DiscordContext, Interaction, language_of, say
from bot.platforms.discord.permissions import MODERATES, authorised
from bot.platforms.discord.texts import localised
from bot.texts import RATE_ABOUT
from feedback.words import Language

DESCRIPTION: Final = 4000
"""Discord's limit for an embed, with room to spare."""


@app_commands.command(name=localised(texts.RATE), description=localised(RATE_ABOUT))
@app_commands.guild_only()
@app_commands.default_permissions(MODERATES)
async def rate(interaction: Interaction) -> None:
    """Show the next question whose answers this moderator has not rated."""
    context, language = DiscordContext.of(interaction), language_of(interaction)
    actor = await authorised(context, interaction, "answers.rate")
    card = await rating.next_card(context, actor, language)
    more = {"view": view} if (view := _buttons(card, language)) else {}
    await say(interaction, _said(card, language), embeds=_embeds(card, language), **more)


async def tapped(context: DiscordContext, interaction: Interaction, code: ButtonCode) -> None:
    """Take a score, go back, pass over or take back, and show what comes next."""
    actor, language = await authorised(context, interaction, "answers.rate"), language_of(interaction)
    card = await rating.tapped(context, actor, code, language)
    await interaction.response.edit_message(
        content=_said(card, language), embeds=_embeds(card, language), view=_buttons(card, language)
    )


def _said(card: RatingCard, language: Language) -> str:
    return f"{card.said} {card.prompt(language)}".strip()


def _embeds(card: RatingCard, language: Language) -> list[discord.Embed]:
    parts = [f"**{title}**\n{text}" for title, text in card.sections(language)]
    return [discord.Embed(description="\n\n".join(parts)[:DESCRIPTION])] if parts else []


def _buttons(card: RatingCard, language: Language) -> ui.View | None:
    buttons = [*card.digits(), *card.others(language)]
    return row(buttons) if buttons else None
