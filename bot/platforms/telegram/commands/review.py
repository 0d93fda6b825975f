"""/review: one card after another, decided by a tap; an edit is a reply to the card's question for it."""

from __future__ import annotations

from telegram import InlineKeyboardMarkup

from bot.chat.button_codes import ButtonCode
from bot.commands import review as reviews
from bot.commands.review import QueueEntry
from bot.platforms.telegram import texts
from bot.platforms.telegram.buttons import Button, button, code_on, rows
from bot.platforms.telegram.context import Caller, Spot, TelegramContext
from bot.platforms.telegram.feedback import answer_shown_by
from bot.platforms.telegram.markdown import pieces
from bot.platforms.telegram.permissions import may_administer, refused_moderation
from bot.texts import (
    ANSWER,
    APPROVE,
    BETTER_ANSWERS,
    CANCEL,
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

Card = tuple[str, InlineKeyboardMarkup | None]


async def review(context: TelegramContext, caller: Caller, words: str) -> None:
    """Show the next answer that waits; as a reply to an answer, that one."""
    if await refused_moderation(context, caller):
        return
    message = caller.message.reply_to_message
    if message is None or message.from_user is None or message.from_user.id != context.bot.id:
        await _send(context, caller, await _next(context, caller))
        return
    key = context.message_key(caller.chat, message.message_id)
    turn = await answer_shown_by(context, context.place(caller.chat), key)
    if turn is None or turn.id is None:
        await context.say(caller, texts.REVIEW_THIS.say(caller.language))
        return
    await _send(context, caller, await _this(context, caller, turn.id))


async def decide(context: TelegramContext, caller: Caller, code: ButtonCode) -> None:
    """Approve, reject, skip or undo, and show what comes next; after an undo, the same again."""
    if await refused_moderation(context, caller):
        return
    within = (await context.community(caller.chat)).community_id
    database, actor = context.core.database, context.actor(caller.member)
    said = DECIDED[code.action].say(caller.language)
    if code.action == "skip":
        await reviews.skip(database, code.turn_id, actor, within=within)
        card = await _next(context, caller, said)
    elif code.action == "undo":
        await reviews.undo(database, code.turn_id, actor, within=within)
        card = await _this(context, caller, code.turn_id, said)
    else:
        decided = await reviews.decide(
            database,
            code.turn_id,
            actor,
            "approve" if code.action == "approve" else "reject",
            within=within,
            held_burst=context.retraining.settings.held_burst,
        )
        card = await _next(context, caller, decided.told(said, caller.language), undo=code.turn_id)
    await context.toast(caller, said)
    await _replace(context, caller, card)


async def edit(context: TelegramContext, caller: Caller, code: ButtonCode) -> None:
    """Claim the turn, and ask for the better answer as a reply."""
    if await refused_moderation(context, caller):
        return
    within = (await context.community(caller.chat)).community_id
    entry = await reviews.claim(
        context.core.database, code.turn_id, context.actor(caller.member), within=within
    )
    await context.toast(caller)
    spot = Spot(caller.chat.id, caller.spot.thread, caller.message.message_id)
    again = button(ButtonCode("edit", entry.turn_id, "reply"), CANCEL.say(caller.language))
    await context.send(spot, texts.REPLY_WITH_EDIT.say(caller.language, turn=entry.turn_id), rows([again]))


async def edit_tapped(context: TelegramContext, caller: Caller, code: ButtonCode) -> None:
    """The button "Edit" of a card, or "Cancel" of the message that asks for the better answer."""
    if code.detail != "reply":
        await edit(context, caller, code)
    elif not await refused_moderation(context, caller):
        await context.toast(caller)
        await context.bot.delete_message(caller.chat.id, caller.message.message_id)


async def edited(context: TelegramContext, caller: Caller) -> bool:
    """Take a moderator's reply to our asking for the better answer; False when it is no such reply."""
    asked = caller.message.reply_to_message
    code = code_on(asked, "edit") if asked is not None else None
    if asked is None or code is None or code.detail != "reply":
        return False
    text = (caller.message.text or "").strip()
    if not text or not await may_administer(context, caller):
        return True
    within = (await context.community(caller.chat)).community_id
    decided = await reviews.edit(
        context.core.database,
        code.turn_id,
        context.actor(caller.member),
        text,
        within=within,
        held_burst=context.retraining.settings.held_burst,
    )
    said = decided.told(DECIDED["edit"].say(caller.language), caller.language)
    await context.bot.delete_message(caller.chat.id, asked.message_id)
    await _send(context, caller, await _next(context, caller, said, undo=code.turn_id))
    return True


async def _next(context: TelegramContext, caller: Caller, said: str = "", *, undo: int = 0) -> Card:
    database, language = context.core.database, caller.language
    within = (await context.community(caller.chat)).community_id
    entry = await reviews.claim_next(database, context.actor(caller.member), within=within)
    back = [button(ButtonCode("undo", undo), f"↩ {UNDO.say(language)}")] if undo else []
    if entry is None:
        text = f"{said} {NOTHING_WAITS.say(language)}".strip()
        return text, rows(back) if back else None
    waiting = (await reviews.queue(database, community=str(within), limit=1)).waiting
    return _card(entry, f"{said} {WAITING.say(language, waiting=waiting)}".strip(), back, language)


async def _this(context: TelegramContext, caller: Caller, turn_id: int, said: str = "") -> Card:
    within = (await context.community(caller.chat)).community_id
    entry = await reviews.claim(context.core.database, turn_id, context.actor(caller.member), within=within)
    return _card(entry, said, [], caller.language)


def _card(
    entry: QueueEntry, said: str, back: list[Button], language: Language
) -> tuple[str, InlineKeyboardMarkup]:
    parts = [
        said,
        f"**{QUESTION.say(language)}** #{entry.turn_id}\n{entry.question}",
        f"**{ANSWER.say(language)}**\n{entry.answer}",
    ]
    if entry.votes_up or entry.votes_down:
        parts.append(f"**{VOTES.say(language)}**: 👍 {entry.votes_up}  👎 {entry.votes_down}")
    if entry.reasons:
        parts.append(f"**{WHAT_MEMBERS_SAY.say(language)}**: {', '.join(entry.reasons)}")
    if entry.suggested_answers:
        parts.append(f"**{BETTER_ANSWERS.say(language)}**")
        parts += list(entry.suggested_answers)
    parts.append(f"`{entry.adapter}` · {entry.mode} · {entry.language}")
    decisions = [
        button(ButtonCode("approve", entry.turn_id), f"✅ {APPROVE.say(language)}"),
        button(ButtonCode("edit", entry.turn_id), f"✏️ {EDIT.say(language)}"),
        button(ButtonCode("reject", entry.turn_id), f"❌ {REJECT.say(language)}"),
    ]
    skip = button(ButtonCode("skip", entry.turn_id), SKIP.say(language))
    return "\n\n".join(part for part in parts if part), rows(decisions, [skip, *back])


async def _send(context: TelegramContext, caller: Caller, card: Card) -> None:
    """The card in as many messages as it needs, its buttons under the last."""
    text, keyboard = card
    *first, last = pieces(text)
    for piece in first:
        await context.say(caller, piece)
    await context.say(caller, last, keyboard)


async def _replace(context: TelegramContext, caller: Caller, card: Card) -> None:
    text, keyboard = card
    if len(pieces(text)) > 1:
        await context.change(caller, text.partition("\n\n")[0])
        await _send(context, caller, card)
        return
    await context.change(caller, text, keyboard)
