"""/review and "Review this answer": one card after another, decided by a tap, an edit by a form.

The card is seen by its moderator only. Its buttons outlive restarts, and every tap is checked anew.
"""

from __future__ import annotations

import io
from typing import Any, Final

import discord
from discord import app_commands, ui

from bot.chat import review as reviews
from bot.chat.button_codes import ButtonCode
from bot.chat.review import Card
from bot.chat.turns import turn_shown_by
from bot.commands.review import claim
from bot.platforms.discord import texts
from bot.platforms.discord.buttons import Form, row
from bot.platforms.discord.context import Answered, DiscordContext, Interaction, language_of, place_in, say
from bot.platforms.discord.permissions import MODERATES, authorised
from bot.platforms.discord.texts import EDIT_PART, EDIT_TITLE, WHOLE_TEXT, localised
from bot.texts import REVIEW_ABOUT
from feedback.words import Language

DESCRIPTION: Final = 3800
FIELD: Final = 1000
FORM_FIELD: Final = 4000
FORM_FIELDS: Final = 5
"""Discord's limits for an embed, one of its fields, a text field of a form and a form, with room to spare."""


@app_commands.command(name=localised(texts.REVIEW), description=localised(REVIEW_ABOUT))
@app_commands.guild_only()
@app_commands.default_permissions(MODERATES)
async def review(interaction: Interaction) -> None:
    """Show the next answer that waits."""
    context, language = DiscordContext.of(interaction), language_of(interaction)
    actor = await authorised(context, interaction, "review")
    await _send(interaction, await reviews.next_card(context, actor, language))


@app_commands.context_menu(name=localised(texts.REVIEW_THIS))
@app_commands.guild_only()
@app_commands.default_permissions(MODERATES)
async def review_this(interaction: Interaction, message: discord.Message) -> None:
    """Show the answer that the message shows, if it waits."""
    context, language = DiscordContext.of(interaction), language_of(interaction)
    actor = await authorised(context, interaction, "review")
    turn = await turn_shown_by(context.core.database, place_in(interaction.guild), str(message.id))
    if turn is None or turn.id is None:
        await say(interaction, texts.NOT_AN_ANSWER.say(language))
        return
    await _send(interaction, await reviews.card_of(context, actor, turn.id))


async def decide(context: DiscordContext, interaction: Interaction, code: ButtonCode) -> None:
    """Approve, reject, skip or undo, and show what comes next; after an undo, the same again."""
    actor, language = await authorised(context, interaction, "review"), language_of(interaction)
    card = await reviews.decide_and_go_on(context, actor, code.action, code.turn_id, language)
    await _replace(interaction, card)


async def queue_tapped(context: DiscordContext, interaction: Interaction, code: ButtonCode) -> None:
    """The button of an announcement: the next answer that waits, for who tapped alone."""
    actor, language = await authorised(context, interaction, "review"), language_of(interaction)
    await _send(interaction, await reviews.next_card(context, actor, language))


async def card_tapped(context: DiscordContext, interaction: Interaction, code: ButtonCode) -> None:
    """The button of an announcement: the turn that it names."""
    actor = await authorised(context, interaction, "review")
    await _send(interaction, await reviews.card_of(context, actor, code.turn_id))


async def edit(context: DiscordContext, interaction: Interaction, code: ButtonCode) -> None:
    """Open a form with the answer, in as many fields as it needs."""
    actor, language = await authorised(context, interaction, "review"), language_of(interaction)
    entry = await claim(context.core.database, code.turn_id, actor)
    fields = [
        _field(number, part, language)
        for number, part in enumerate(_parts(entry.answer)[:FORM_FIELDS], start=1)
    ]
    await interaction.response.send_modal(Form(code, EDIT_TITLE.say(language), *fields))


async def edited(
    context: DiscordContext, interaction: Interaction, code: ButtonCode, answered: Answered
) -> None:
    """Take the moderator's answer, and show what comes next."""
    actor, language = await authorised(context, interaction, "review"), language_of(interaction)
    answer = "\n".join(answered[name][0] for name in sorted(answered))
    card = await reviews.decide_and_go_on(context, actor, "edit", code.turn_id, language, answer=answer)
    await _replace(interaction, card)


async def _send(interaction: Interaction, card: Card) -> None:
    content, embeds, files = _drawn(card, language_of(interaction))
    more = {"view": view} if (view := _buttons(card, interaction)) else {}
    await say(interaction, content, embeds=embeds, files=files, **more)


async def _replace(interaction: Interaction, card: Card) -> None:
    content, embeds, files = _drawn(card, language_of(interaction))
    await interaction.response.edit_message(
        content=content, embeds=embeds, attachments=files, view=_buttons(card, interaction)
    )


def _buttons(card: Card, interaction: Interaction) -> ui.View | None:
    buttons = card.buttons(language_of(interaction))
    return row(buttons) if buttons else None


def _drawn(card: Card, language: Language) -> tuple[str, list[discord.Embed], list[discord.File]]:
    """The card as text, embed, and a file of the whole texts where they are too long for the embed."""
    if card.entry is None:
        return card.said, [], []
    parts = [f"**{title}**\n{text}" for title, text in card.sections(language)]
    whole, more = "\n\n".join(parts[:2]), card.sections(language)[2:]
    embed = discord.Embed(
        title=f"#{card.turn_id}", description=_clipped(whole, DESCRIPTION), timestamp=card.entry.asked_at
    )
    for title, text in more:
        embed.add_field(name=title, value=_clipped(text, FIELD), inline=False)
    embed.set_footer(text=card.source(language))
    if len(whole) <= DESCRIPTION and all(len(text) <= FIELD for _, text in more):
        return card.said, [embed], []
    file = discord.File(io.BytesIO("\n\n".join(parts).encode()), f"turn-{card.turn_id}.md")
    return f"{card.said} {WHOLE_TEXT.say(language)}".strip(), [embed], [file]


def _field(number: int, part: str, language: Language) -> ui.Label[Any]:
    return ui.Label(
        text=EDIT_PART.say(language, part=number),
        component=ui.TextInput(
            custom_id=f"part{number}",
            style=discord.TextStyle.paragraph,
            default=part,
            required=number == 1,
            max_length=FORM_FIELD,
        ),
    )


def _parts(answer: str) -> list[str]:
    """The answer in pieces that fit a form's fields, cut at line ends where there are any."""
    parts: list[str] = []
    while len(answer) > FORM_FIELD:
        cut = answer.rfind("\n", 1, FORM_FIELD)
        at = cut if cut > 0 else FORM_FIELD
        parts.append(answer[:at])
        answer = answer[at:].removeprefix("\n")
    return [*parts, answer]


def _clipped(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
