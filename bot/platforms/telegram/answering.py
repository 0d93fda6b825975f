"""From a message or button that asks something to an answer under way.

Each question is answered once, however often Telegram delivers it; each gets an answer or a reason.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace

from telegram import Message
from telegram.error import TelegramError

from bot.chat.admission import admit, admit_anew
from bot.chat.arrivals import Arrival, look_up
from bot.chat.attachments import read_attachments
from bot.commands.settings import language_for
from bot.platforms.telegram.context import Caller, Spot, TelegramContext
from bot.platforms.telegram.open_questions import OpenQuestion
from bot.platforms.telegram.questions import attachments_of, conversation_of, question_text, replied_to
from bot.platforms.telegram.surfaces import AnswerSurface
from bot.questions import Question
from bot.texts import RECORD_AWAY, TEXT_ONLY
from feedback.words import Language, Mode


async def look_up_message(context: TelegramContext, message: Message) -> Arrival:
    """What the record says about a message that has just arrived."""
    return await look_up(
        context,
        context.place(message.chat),
        context.message_key(message.chat, message.message_id),
        replied_to=replied_to(context, message),
    )


async def answer_message(
    context: TelegramContext,
    caller: Caller,
    *,
    text: str | None = None,
    late: bool = False,
    mode: Mode | None = None,
    arrival: Arrival | None = None,
) -> bool:
    """Answer a message that is a question (`text`, where a command stands before it).

    `late` ones were written while nobody listened, and wait for no cooldown; `arrival` is what
    `look_up_message` found, where that was asked before. Returns as `answer`.
    """
    message = caller.message
    asked = question_text(message, context.bot.bot) if text is None else text
    attached = attachments_of(context, message)
    readable = bool(asked) or message.text is not None or any(one.may_be_text for one in attached)

    async def look() -> Arrival:
        return arrival or await look_up_message(context, message)

    promised: list[int] = []

    async def promise() -> None:
        text = RECORD_AWAY.say(language_for("auto", asked))
        with contextlib.suppress(TelegramError):  # it is answered all the same
            promised.append((await context.send(caller.spot, text)).message_id)

    admitted = await admit(
        context,
        context.place(caller.chat),
        caller.member,
        asked,
        look,
        promise,
        room=context.key(caller.chat),
        free=late or not readable,
    )
    if admitted is None:
        return False
    language = admitted.language
    if admitted.notice:
        await context.say(caller, admitted.notice)
        return False
    read = await read_attachments(asked, attached, context.assistant.options.max_question_characters)
    if not read.text and message.text is None:
        await context.say(caller, TEXT_ONLY.say(language))
        return False
    if notice := read.notice(language):
        await context.say(caller, notice)
    question = Question(
        context.place(caller.chat, conversation_of(context, message, admitted.conversation)),
        caller.member,
        context.message_key(caller.chat, message.message_id),
        read.text,
        mode=mode,
    )
    return await answer(context, caller, question, language, begun=promised)


async def answer_once_more(
    context: TelegramContext, caller: Caller, question: Question, reply_to: int
) -> bool:
    """Answer a question that a button asks, under the message that asked it first. Returns as `answer`."""
    # the private chats are one community, but no crowd: a burst there is no raid on one room
    room = context.key(caller.chat)
    admitted = await admit_anew(context, question.place, caller.member, question.text, room=room)
    if admitted.notice:
        await context.toast(caller, admitted.notice, alert=True)
        return False
    return await answer(context, caller, question, admitted.language, reply_to=reply_to)


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
    begun: Sequence[int] = (),
) -> bool:
    """Answer a question where it was asked, in the messages that were `begun` for that.

    Always True: the update that brought it is finished with the question (see `Intake.start`).
    """
    spot = caller.spot if reply_to is None else Spot(caller.chat.id, caller.spot.thread, reply_to)
    open_one = OpenQuestion(question.place.community, question.external_id, spot, caller.private, list(begun))
    await show(context, open_one, replace(question, origin=open_one.origin(str(caller.update))), language)
    return True


async def show(
    context: TelegramContext, open_one: OpenQuestion, question: Question, language: Language
) -> None:
    """Show the answer as it comes; the end of the service leaves the question open."""
    await context.answers.answer(question, AnswerSurface(context, open_one, language), language)
