"""What members do with an answer: thumbs, reactions, reasons, a better one, once more, stop."""

from __future__ import annotations

from telegram import MessageReactionUpdated, ReactionType, ReactionTypeEmoji

from bot.chat import feedback
from bot.chat.button_codes import Action, ButtonCode
from bot.chat.feedback import THUMBS
from bot.platforms.telegram.answering import answer_once_more, asked_in
from bot.platforms.telegram.buttons import code_on, reason_buttons
from bot.platforms.telegram.context import Caller, Spot, TelegramContext
from bot.platforms.telegram.permissions import actor_of
from bot.platforms.telegram.texts import NOTHING_TO_STOP, REPLY_WITH_BETTER
from bot.questions import Question
from bot.texts import NO_LONGER_THERE
from feedback.words import VOTE_REASONS


async def thumb(context: TelegramContext, caller: Caller, code: ButtonCode) -> bool:
    """Vote; a thumb down is kept at once, and a message asks what was wrong.

    True: the update that brought the thumb is finished with the vote.
    """
    message = context.message_key(caller.chat, caller.message.message_id)
    here = context.here(caller)
    done = await feedback.thumb(
        context, here, caller.member, code.turn_id, code.action, message=message, update=str(caller.update)
    )
    await context.toast(caller, done.text.say(caller.language))
    if done.asks_why:
        spot = Spot(caller.chat.id, caller.spot.thread, caller.message.message_id)
        text = REPLY_WITH_BETTER.say(caller.language)
        await context.send(spot, text, reason_buttons(code.turn_id, caller.language))
    return True


async def reason(context: TelegramContext, caller: Caller, code: ButtonCode) -> None:
    """Add what was wrong to the member's thumb down."""
    number = int(code.detail) if code.detail.isdigit() else len(VOTE_REASONS)
    if number >= len(VOTE_REASONS):
        await context.toast(caller, NO_LONGER_THERE.say(caller.language))
        return
    chosen = VOTE_REASONS[number]
    here = context.here(caller)
    text = await feedback.explain(context, here, caller.member, code.turn_id, reason=chosen)
    await context.toast(caller, text.say(caller.language))
    keyboard = reason_buttons(code.turn_id, caller.language, chosen)
    await context.change(caller, REPLY_WITH_BETTER.say(caller.language), keyboard)


async def better_answer(context: TelegramContext, caller: Caller) -> bool:
    """Take a reply to our asking what was wrong as a better answer; False when it is no such reply.

    Only of a member whose thumb is down: another's reply is just talk.
    """
    asked = caller.message.reply_to_message
    code = code_on(asked, "reason") if asked is not None else None
    if code is None:
        return False
    text, here = (caller.message.text or "").strip(), context.here(caller)
    if text and await feedback.vote_of(context, here, caller.member, code.turn_id) < 0:
        kept = await feedback.explain(context, here, caller.member, code.turn_id, better=text)
        await context.say(caller, kept.say(caller.language))
    return True


async def again(context: TelegramContext, caller: Caller, code: ButtonCode) -> bool:
    """Answer the question once more; only for who asked it, and for administrators. As `answering.answer`."""
    actor = await actor_of(context, caller)
    question = await feedback.once_more(context, context.here(caller), actor, caller.member, code.turn_id)
    return await _answer(context, caller, question)


async def go_on(context: TelegramContext, caller: Caller, code: ButtonCode) -> bool:
    """Go on with an answer that was cut off; only for who asked it, and for administrators. As `again`."""
    actor = await actor_of(context, caller)
    question = await feedback.go_on(context, context.here(caller), actor, caller.member, code.turn_id)
    return await _answer(context, caller, question)


async def _answer(context: TelegramContext, caller: Caller, question: Question) -> bool:
    """Answer what a button asked; in a group, under the message that asked it first."""
    await context.toast(caller)
    reply_to = 0 if caller.private else asked_in(question.external_id)
    return await answer_once_more(context, caller, question, reply_to)


async def stop(context: TelegramContext, caller: Caller, code: ButtonCode) -> None:
    """Stop the answer that is being written; only for who asked, and for administrators."""
    actor = await actor_of(context, caller)
    text = await feedback.stop(context, context.here(caller), actor, code.detail)
    await context.toast(caller, text.say(caller.language))


async def stop_mine(context: TelegramContext, caller: Caller) -> None:
    """`/stop`: end the caller's own answers here; drafts carry no buttons."""
    prefix = f"{context.key(caller.chat)}-"
    mine = [
        live
        for live in context.answers.all()
        if live.question.member == caller.member and live.question.external_id.startswith(prefix)
    ]
    for live in mine:
        live.interrupt("stopped")
    if not mine:
        await context.say(caller, NOTHING_TO_STOP.say(caller.language))


async def reacted(context: TelegramContext, event: MessageReactionUpdated) -> None:
    """Count a 👍 or 👎 under an answer as a vote, and take it back with the reaction."""
    if event.user is None or event.user.is_bot:
        return
    before, now = _thumbs(event.old_reaction), _thumbs(event.new_reaction)

    async def standing() -> set[Action]:
        return now

    await feedback.react(
        context,
        context.place(event.chat),
        str(event.user.id),
        context.message_key(event.chat, event.message_id),
        added=now - before,
        removed=before - now,
        standing=standing,
    )


def _thumbs(reactions: tuple[ReactionType, ...]) -> set[Action]:
    emoji = {one.emoji for one in reactions if isinstance(one, ReactionTypeEmoji)}
    return {action for thumb, action in THUMBS.items() if thumb in emoji}
