"""/review and "Review this answer": one card after another, decided by a tap, an edit by a form.

The card is seen by its moderator only. Its buttons outlive restarts, and every tap is checked anew.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, Final

import discord
from discord import app_commands, ui

from bot.chat.button_codes import ButtonCode
from bot.commands import review as reviews
from bot.commands.review import QueueEntry
from bot.platforms.discord import texts
from bot.platforms.discord.buttons import Form, button, row
from bot.platforms.discord.context import Answered, DiscordContext, Interaction, language_of, place_in, say
from bot.platforms.discord.feedback import answer_shown_by
from bot.platforms.discord.permissions import MODERATES, refused_moderation
from bot.platforms.discord.texts import EDIT_PART, EDIT_TITLE, WHOLE_TEXT, localised
from bot.texts import (
    ANSWER,
    APPROVE,
    BETTER_ANSWERS,
    DECIDED,
    EDIT,
    NOTHING_WAITS,
    QUESTION,
    REJECT,
    SKIP,
    UNDO,
    VOTES,
    WAITING,
    WHAT_MEMBERS_SAY,
)
from feedback.words import Language

DESCRIPTION: Final = 3800
FIELD: Final = 1000
FORM_FIELD: Final = 4000
FORM_FIELDS: Final = 5
"""Discord's limits for an embed, one of its fields, a text field of a form and a form, with room to spare."""


@dataclass
class _Card:
    """What a moderator sees: a line about the last decision, the answer to decide on, and buttons."""

    content: str
    embeds: list[discord.Embed]
    files: list[discord.File]
    view: ui.View | None


@app_commands.command(name=localised(texts.REVIEW), description=localised(texts.REVIEW_ABOUT))
@app_commands.guild_only()
@app_commands.default_permissions(MODERATES)
async def review(interaction: Interaction) -> None:
    """Show the next answer that waits."""
    context = DiscordContext.of(interaction)
    if not await refused_moderation(context, interaction):
        await _send(interaction, await _next(context, interaction))


@app_commands.context_menu(name=localised(texts.REVIEW_THIS))
@app_commands.guild_only()
@app_commands.default_permissions(MODERATES)
async def review_this(interaction: Interaction, message: discord.Message) -> None:
    """Show the answer that the message shows, if it waits."""
    context = DiscordContext.of(interaction)
    if await refused_moderation(context, interaction):
        return
    turn = await answer_shown_by(context, place_in(interaction.guild), message.id)
    if turn is None or turn.id is None:
        await say(interaction, texts.NOT_AN_ANSWER.say(language_of(interaction)))
        return
    await _send(interaction, await _this(context, interaction, turn.id))


async def decide(context: DiscordContext, interaction: Interaction, code: ButtonCode) -> None:
    """Approve, reject, skip or undo, and show what comes next; after an undo, the same again."""
    if await refused_moderation(context, interaction):
        return
    within = (await context.community(interaction.guild)).community_id
    language = language_of(interaction)
    database, actor = context.core.database, context.actor(interaction.user)
    said = DECIDED[code.action].say(language)
    if code.action == "skip":
        await reviews.skip(database, code.turn_id, actor, within=within)
        card = await _next(context, interaction, said)
    elif code.action == "undo":
        await reviews.undo(database, code.turn_id, actor, within=within)
        card = await _this(context, interaction, code.turn_id, said)
    else:
        decided = await reviews.decide(
            database,
            code.turn_id,
            actor,
            "approve" if code.action == "approve" else "reject",
            within=within,
            held_burst=context.retraining.settings.held_burst,
        )
        said = decided.told(said, language)
        card = await _next(context, interaction, said, undo=code.turn_id)
    await _replace(interaction, card)


async def edit(context: DiscordContext, interaction: Interaction, code: ButtonCode) -> None:
    """Open a form with the answer, in as many fields as it needs."""
    if await refused_moderation(context, interaction):
        return
    within = (await context.community(interaction.guild)).community_id
    entry = await reviews.claim(
        context.core.database, code.turn_id, context.actor(interaction.user), within=within
    )
    language = language_of(interaction)
    fields = [
        _field(number, part, language)
        for number, part in enumerate(_parts(entry.answer)[:FORM_FIELDS], start=1)
    ]
    await interaction.response.send_modal(Form(code, EDIT_TITLE.say(language), *fields))


async def edited(
    context: DiscordContext, interaction: Interaction, code: ButtonCode, answered: Answered
) -> None:
    """Take the moderator's answer, and show what comes next."""
    if await refused_moderation(context, interaction):
        return
    within = (await context.community(interaction.guild)).community_id
    answer = "\n".join(answered[name][0] for name in sorted(answered))
    decided = await reviews.edit(
        context.core.database,
        code.turn_id,
        context.actor(interaction.user),
        answer,
        within=within,
        held_burst=context.retraining.settings.held_burst,
    )
    language = language_of(interaction)
    said = decided.told(DECIDED["edit"].say(language), language)
    await _replace(interaction, await _next(context, interaction, said, undo=code.turn_id))


async def _next(
    context: DiscordContext, interaction: Interaction, said: str = "", *, undo: int | None = None
) -> _Card:
    community = await context.community(interaction.guild)
    language, database = language_of(interaction), context.core.database
    entry = await reviews.claim_next(database, context.actor(interaction.user), within=community.community_id)
    again = [button(ButtonCode("undo", undo), UNDO.say(language), emoji="↩️")] if undo is not None else []
    if entry is None:
        text = f"{said} {NOTHING_WAITS.say(language)}".strip()
        return _Card(text, [], [], row(*again) if again else None)
    waiting = (await reviews.queue(database, community=str(community.community_id), limit=1)).waiting
    card = _card(entry, language, f"{said} {WAITING.say(language, waiting=waiting)}".strip())
    if card.view is not None:
        for one in again:
            card.view.add_item(one)
    return card


async def _this(context: DiscordContext, interaction: Interaction, turn_id: int, said: str = "") -> _Card:
    within = (await context.community(interaction.guild)).community_id
    entry = await reviews.claim(
        context.core.database, turn_id, context.actor(interaction.user), within=within
    )
    return _card(entry, language_of(interaction), said)


def _card(entry: QueueEntry, language: Language, content: str) -> _Card:
    whole = f"**{QUESTION.say(language)}**\n{entry.question}\n\n**{ANSWER.say(language)}**\n{entry.answer}"
    votes = f"👍 {entry.votes_up}  👎 {entry.votes_down}"
    extra = {
        VOTES.say(language): votes if entry.votes_up or entry.votes_down else "",
        WHAT_MEMBERS_SAY.say(language): ", ".join(entry.reasons),
        BETTER_ANSWERS.say(language): "\n".join(f"• {one}" for one in entry.suggested_answers),
    }
    embed = discord.Embed(
        title=f"#{entry.turn_id}", description=_clipped(whole, DESCRIPTION), timestamp=entry.asked_at
    )
    for name, value in extra.items():
        if value:
            embed.add_field(name=name, value=_clipped(value, FIELD), inline=False)
    embed.set_footer(text=f"{entry.adapter} · {entry.mode} · {entry.language}")
    files = []
    if len(whole) > DESCRIPTION or any(len(value) > FIELD for value in extra.values()):
        text = "\n\n".join([whole, *(f"**{name}**\n{value}" for name, value in extra.items() if value)])
        files.append(discord.File(io.BytesIO(text.encode()), f"turn-{entry.turn_id}.md"))
        content = f"{content} {WHOLE_TEXT.say(language)}".strip()
    view = row(
        button(
            ButtonCode("approve", entry.turn_id), APPROVE.say(language), style=discord.ButtonStyle.success
        ),
        button(ButtonCode("edit", entry.turn_id), EDIT.say(language), style=discord.ButtonStyle.primary),
        button(ButtonCode("reject", entry.turn_id), REJECT.say(language), style=discord.ButtonStyle.danger),
        button(ButtonCode("skip", entry.turn_id), SKIP.say(language)),
    )
    return _Card(content, [embed], files, view)


async def _send(interaction: Interaction, card: _Card) -> None:
    more: dict[str, Any] = {"embeds": card.embeds, "files": card.files}
    if card.view is not None:
        more["view"] = card.view
    await say(interaction, card.content, **more)


async def _replace(interaction: Interaction, card: _Card) -> None:
    await interaction.response.edit_message(
        content=card.content, embeds=card.embeds, attachments=card.files, view=card.view
    )


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
