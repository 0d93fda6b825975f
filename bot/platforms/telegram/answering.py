"""From a message or button that asks something to an answer on its way.

Each question is answered once, however often Telegram delivers it; each gets an answer or a reason.
"""

from __future__ import annotations

from bot.assistant import Question
from bot.chat.admission import admit, admit_anew
from bot.chat.attachments import read_attachments
from bot.platforms.telegram import open_questions
from bot.platforms.telegram.context import Caller, Spot, TelegramContext
from bot.platforms.telegram.open_questions import OpenQuestion
from bot.platforms.telegram.questions import attachments_of, conversation_of, question_text
from bot.platforms.telegram.surfaces import AnswerSurface
from bot.texts import TEXT_ONLY
from feedback.words import Language, Mode


async def answer_message(
    context: TelegramContext,
    caller: Caller,
    *,
    text: str | None = None,
    late: bool = False,
    mode: Mode | None = None,
) -> None:
    """Answer a message that is a question (`text`, where a command stands before it).

    `late` ones were written while nobody listened, and wait for no cooldown.
    """
    message = caller.message
    asked = question_text(message, context.bot.bot) if text is None else text
    attached = attachments_of(context, message)
    place, external_id = context.place(caller.chat), context.message_key(caller.chat, message.message_id)
    readable = bool(asked) or message.text is not None or any(one.may_be_text for one in attached)
    admitted = await admit(
        context,
        place,
        caller.member,
        external_id,
        asked,
        room=context.key(caller.chat),
        free=late or not readable,
    )
    if admitted is None:
        return
    language = admitted.language
    if admitted.notice:
        await context.say(caller, admitted.notice)
        return
    read = await read_attachments(asked, attached, context.assistant.options.max_question_characters)
    if not read.text and message.text is None:
        await context.say(caller, TEXT_ONLY.say(language))
        return
    if notice := read.notice(language):
        await context.say(caller, notice)
    conversation = await conversation_of(context, message)
    question = Question(
        context.place(caller.chat, conversation), caller.member, external_id, read.text, mode=mode
    )
    await answer(context, caller, question, language)


async def answer_once_more(
    context: TelegramContext, caller: Caller, question: Question, reply_to: int
) -> None:
    """Answer a question that a button asks, under the message that asked it first."""
    # the private chats are one community, but no crowd: a burst there is no raid on one room
    room = context.key(caller.chat)
    admitted = await admit_anew(context, question.place, caller.member, question.text, room=room)
    if admitted.notice:
        await context.toast(caller, admitted.notice, alert=True)
    else:
        await answer(context, caller, question, admitted.language, reply_to=reply_to)


def asked_in(question: str) -> int:
    """The number of the message that asked the question of that name, also once more; 0 is none."""
    number = question.rpartition("-")[2].partition(".")[0]
    return int(number) if number.isdigit() else 0


async def answer(
    context: TelegramContext,
    caller: Caller,
    question: Question,
    language: Language,
    *,
    reply_to: int | None = None,
) -> None:
    """Answer a question where its caller is, and remember where that is until it is answered."""
    spot = caller.spot if reply_to is None else Spot(caller.chat.id, caller.spot.thread, reply_to)
    place = question.place
    open_one = OpenQuestion(
        place.community,
        question.external_id,
        place.conversation,
        question.member,
        spot,
        caller.private,
        text=question.text,
        regenerates=question.regenerates,
    )
    await open_questions.keep(context.core.database, open_one)
    await show(context, open_one, question, language)


async def show(
    context: TelegramContext, open_one: OpenQuestion, question: Question, language: Language
) -> None:
    """Bring the answer to its surface; the end of the service leaves the question open."""
    surface = AnswerSurface(context, open_one, language)
    if await context.answers.answer(question, surface, language):
        await open_questions.drop(context.core.database, question.external_id)
