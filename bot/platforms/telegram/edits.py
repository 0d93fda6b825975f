"""A question that was edited: an answer under way follows it, a finished one is given anew on request."""

from __future__ import annotations

from bot.chat.button_codes import ButtonCode
from bot.chat.buttons import Button
from bot.chat.feedback import require_asker
from bot.chat.turns import turn_asked_by, turn_at
from bot.platforms.telegram.answering import answer_once_more, asked_in
from bot.platforms.telegram.buttons import rows
from bot.platforms.telegram.context import Caller, TelegramContext
from bot.platforms.telegram.permissions import actor_of
from bot.platforms.telegram.questions import after_command, question_text
from bot.platforms.telegram.texts import ANSWER_ANEW, QUESTION_EDITED, WRITE_AGAIN
from bot.questions import Question


async def edited(context: TelegramContext, caller: Caller) -> bool:
    """Follow an edited question; False when the message was none."""
    message = caller.message
    place, text = context.place(caller.chat), after_command(question_text(message, context.bot.bot))
    external_id = context.message_key(caller.chat, message.message_id)
    if text and context.answers.rewrite(place.community, external_id, text):
        return True
    turn = await turn_asked_by(context.core.database, place, external_id)
    if turn is None:
        return False
    if turn.state == "answered" and text and text != turn.question and external_id not in context.offered:
        context.offered.add(external_id)
        anew = Button(ButtonCode("anew", turn.id or 0), ANSWER_ANEW.say(caller.language))
        spot = context.under(caller, message.message_id)
        await context.send(spot, QUESTION_EDITED.say(caller.language), rows([anew]))
    return True


async def anew(context: TelegramContext, caller: Caller, code: ButtonCode) -> bool:
    """Answer the question in its new words, which stand in the message that the offer replies to.

    Returns as `answering.answer`.
    """
    turn, conversation = await turn_at(context.core.database, context.here(caller), code.turn_id)
    await require_asker(context, await actor_of(context, caller), turn)
    message = caller.message.reply_to_message
    text = after_command(question_text(message, context.bot.bot)) if message is not None else ""
    if not text:
        await context.toast(caller, WRITE_AGAIN.say(caller.language), alert=True)
        return False
    await context.toast(caller)
    offered = context.message_key(caller.chat, asked_in(turn.external_id))
    context.offered.discard(offered)
    question = Question(
        place=context.place(caller.chat, conversation),
        member=caller.member,
        external_id=f"{turn.external_id}.e{caller.message.message_id}",
        text=text,
        regenerates=turn.regenerates_id or turn.id,
    )
    await context.bot.delete_message(caller.chat.id, caller.message.message_id)
    return await answer_once_more(context, caller, question, asked_in(turn.external_id))
