"""A question that was edited: an answer under way follows it, a finished one is given anew on request."""

from __future__ import annotations

from bot.assistant import Question
from bot.chat.button_codes import ButtonCode
from bot.platforms.telegram.answering import answer_once_more
from bot.platforms.telegram.buttons import button, rows
from bot.platforms.telegram.context import PLATFORM, Caller, TelegramContext
from bot.platforms.telegram.feedback import asked_in, is_asker, turn_here
from bot.platforms.telegram.questions import after_command, question_text
from bot.platforms.telegram.texts import ANSWER_ANEW, QUESTION_EDITED, WRITE_AGAIN
from bot.texts import ONLY_THE_ASKER
from feedback import journal


async def edited(context: TelegramContext, caller: Caller) -> bool:
    """Follow an edited question; False when the message was none."""
    message = caller.message
    place, text = context.place(caller.chat), after_command(question_text(message, context.bot.bot))
    external_id = context.message_key(caller.chat, message.message_id)
    if text and context.answers.rewrite(place.community, external_id, text):
        return True
    async with context.core.database.session(read_only=True) as session:
        row = await journal.community_of(session, PLATFORM, place.community)
        turn = await journal.turn_of_question(session, row.id or 0, external_id) if row else None
    if turn is None:
        return False
    if turn.state == "answered" and text and text != turn.question and external_id not in context.offered:
        context.offered.add(external_id)
        anew = button(ButtonCode("anew", turn.id or 0), f"🔄 {ANSWER_ANEW.say(caller.language)}")
        spot = context.under(caller, message.message_id)
        await context.send(spot, QUESTION_EDITED.say(caller.language), rows([anew]))
    return True


async def anew(context: TelegramContext, caller: Caller, code: ButtonCode) -> None:
    """Answer the question in its new words, which stand in the message that the offer replies to."""
    turn, conversation = await turn_here(context, caller, code.turn_id)
    if not await is_asker(context, caller, turn):
        await context.toast(caller, ONLY_THE_ASKER.say(caller.language), alert=True)
        return
    message = caller.message.reply_to_message
    text = after_command(question_text(message, context.bot.bot)) if message is not None else ""
    if not text:
        await context.toast(caller, WRITE_AGAIN.say(caller.language), alert=True)
        return
    await context.toast(caller)
    offered = context.message_key(caller.chat, asked_in(turn))
    context.offered.discard(offered)
    question = Question(
        place=context.place(caller.chat, conversation),
        member=caller.member,
        external_id=f"{turn.external_id}.e{caller.message.message_id}",
        text=text,
        regenerates=turn.regenerates_id or turn.id,
    )
    await context.bot.delete_message(caller.chat.id, caller.message.message_id)
    await answer_once_more(context, caller, question, asked_in(turn))
