"""/review: one card after another, decided by a tap; an edit is a reply to the card's question for it."""

from __future__ import annotations

from bot.access.rights import may
from bot.chat import review as reviews
from bot.chat.button_codes import ButtonCode
from bot.chat.buttons import Button
from bot.chat.review import Card
from bot.chat.turns import turn_shown_by
from bot.commands.review import claim
from bot.platforms.telegram import texts
from bot.platforms.telegram.buttons import code_on, rows
from bot.platforms.telegram.context import Caller, Spot, TelegramContext
from bot.platforms.telegram.markdown import pieces
from bot.platforms.telegram.permissions import actor_of, authorised
from bot.texts import CANCEL, DECIDED
from feedback.words import Language


async def review(context: TelegramContext, caller: Caller, words: str) -> None:
    """Show the next answer that waits; as a reply to an answer, that one."""
    actor = await authorised(context, caller, "review")
    message = caller.message.reply_to_message
    if message is None or message.from_user is None or message.from_user.id != context.bot.id:
        await _send(context, caller, await reviews.next_card(context, actor, caller.language))
        return
    key = context.message_key(caller.chat, message.message_id)
    turn = await turn_shown_by(context.core.database, context.place(caller.chat), key)
    if turn is None or turn.id is None:
        await context.say(caller, texts.REVIEW_THIS.say(caller.language))
        return
    await _send(context, caller, await reviews.card_of(context, actor, turn.id))


async def decide(context: TelegramContext, caller: Caller, code: ButtonCode) -> None:
    """Approve, reject, skip or undo, and show what comes next; after an undo, the same again."""
    actor = await authorised(context, caller, "review")
    card = await reviews.decide_and_go_on(context, actor, code.action, code.turn_id, caller.language)
    await context.toast(caller, DECIDED[code.action].say(caller.language))
    await _replace(context, caller, card)


async def queue_tapped(context: TelegramContext, caller: Caller, code: ButtonCode) -> None:
    """The button of an announcement: the next answer that waits."""
    actor = await authorised(context, caller, "review")
    await context.toast(caller)
    await _send(context, caller, await reviews.next_card(context, actor, caller.language))


async def card_tapped(context: TelegramContext, caller: Caller, code: ButtonCode) -> None:
    """The button of an announcement: the turn that it names."""
    actor = await authorised(context, caller, "review")
    card = await reviews.card_of(context, actor, code.turn_id)
    await context.toast(caller)
    await _send(context, caller, card)


async def edit_tapped(context: TelegramContext, caller: Caller, code: ButtonCode) -> None:
    """The button "Edit" of a card, or "Cancel" of the message that asks for the better answer."""
    actor = await authorised(context, caller, "review")
    if code.detail == "reply":
        await context.toast(caller)
        await context.bot.delete_message(caller.chat.id, caller.message.message_id)
        return
    entry = await claim(context.core.database, code.turn_id, actor)
    await context.toast(caller)
    spot = Spot(caller.chat.id, caller.spot.thread, caller.message.message_id)
    cancel = Button(ButtonCode("edit", entry.turn_id, "reply"), CANCEL.say(caller.language))
    await context.send(spot, texts.REPLY_WITH_EDIT.say(caller.language, turn=entry.turn_id), rows([cancel]))


async def edited(context: TelegramContext, caller: Caller) -> bool:
    """Take a moderator's reply to our asking for the better answer; False when it is no such reply."""
    asked = caller.message.reply_to_message
    code = code_on(asked, "edit") if asked is not None else None
    if asked is None or code is None or code.detail != "reply":
        return False
    text = (caller.message.text or "").strip()
    actor = await actor_of(context, caller)
    if not text or not may(actor, "review", actor.community_id):
        return True
    card = await reviews.decide_and_go_on(context, actor, "edit", code.turn_id, caller.language, answer=text)
    await context.bot.delete_message(caller.chat.id, asked.message_id)
    await _send(context, caller, card)
    return True


async def _send(context: TelegramContext, caller: Caller, card: Card) -> None:
    """Send the card in as many messages as it needs, its buttons under the last."""
    *first, last = pieces(_drawn(card, caller.language))
    for piece in first:
        await context.say(caller, piece)
    buttons = card.buttons(caller.language)
    await context.say(caller, last, rows(buttons[:3], buttons[3:]) if buttons else None)


async def _replace(context: TelegramContext, caller: Caller, card: Card) -> None:
    """Let the message whose button was tapped show the card; one that is too long follows it."""
    text, buttons = _drawn(card, caller.language), card.buttons(caller.language)
    if len(pieces(text)) > 1:
        await context.change(caller, card.said)
        await _send(context, caller, card)
        return
    await context.change(caller, text, rows(buttons[:3], buttons[3:]) if buttons else None)


def _drawn(card: Card, language: Language) -> str:
    number = f"#{card.turn_id}" if card.turn_id is not None else ""
    parts = [card.said, number, *(f"**{title}**\n{text}" for title, text in card.sections(language))]
    source = card.source(language)
    parts.append(f"`{source}`" if source else "")
    return "\n\n".join(part for part in parts if part)
