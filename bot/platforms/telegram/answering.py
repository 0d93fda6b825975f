"""From a message or button that asks something to an answer on its way.

Each question is answered once, however often Telegram delivers it; each gets an answer or a reason.
"""

from __future__ import annotations

import math
from dataclasses import replace

from telegram import Message

from bot.assistant import Question
from bot.chat.arrivals import Arrival, look_up
from bot.commands.settings import CommunitySettings, language_for
from bot.platforms.telegram.context import Caller, Spot, TelegramContext
from bot.platforms.telegram.open_questions import OpenQuestion
from bot.platforms.telegram.questions import conversation_of, question_text, replied_to
from bot.platforms.telegram.surfaces import AnswerSurface
from bot.platforms.telegram.texts import TEXT_ONLY
from bot.texts import COOLDOWN
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
    arrival = arrival or await look_up_message(context, message)
    asked = question_text(message, context.bot.bot) if text is None else text
    language = language_for(arrival.community.language, asked)
    if not arrival.wanted:
        return False
    if not asked and message.text is None:
        await context.say(caller, TEXT_ONLY.say(language))
        return False
    if not late and not await _may_ask(context, caller, arrival.community, language):
        return False
    question = Question(
        context.place(caller.chat, conversation_of(context, message, arrival.conversation)),
        caller.member,
        context.message_key(caller.chat, message.message_id),
        asked,
        mode=mode,
    )
    return await answer(context, caller, question, language)


async def answer_once_more(
    context: TelegramContext, caller: Caller, question: Question, reply_to: int
) -> bool:
    """Answer a question that a button asks, under the message that asked it first. Returns as `answer`."""
    community = await context.community(caller.chat)
    language = language_for(community.language, question.text)
    if not await _may_ask(context, caller, community, language):
        return False
    return await answer(context, caller, question, language, reply_to=reply_to)


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
) -> bool:
    """Answer a question where its caller is.

    Always True: the update that brought it is finished with the question (see `Intake.start`).
    """
    spot = caller.spot if reply_to is None else Spot(caller.chat.id, caller.spot.thread, reply_to)
    open_one = OpenQuestion(question.place.community, question.external_id, spot, caller.private)
    await show(context, open_one, replace(question, origin=open_one.origin(str(caller.update))), language)
    return True


async def show(
    context: TelegramContext, open_one: OpenQuestion, question: Question, language: Language
) -> None:
    """Bring the answer to its surface; the end of the service leaves the question open."""
    await context.answers.answer(question, AnswerSurface(context, open_one, language), language)


async def _may_ask(
    context: TelegramContext, caller: Caller, community: CommunitySettings, language: Language
) -> bool:
    """Whether the member's cooldown is over; if not, they are told."""
    # the private chats are one community, but no crowd: a burst there is no raid on one room
    room = context.key(caller.chat)
    wait = context.cooldowns.take(room, caller.member, community.cooldown_seconds)
    if wait <= 0:
        return True
    text = COOLDOWN.say(language, seconds=math.ceil(wait))
    if caller.query is not None:
        await context.toast(caller, text, alert=True)
    else:
        await context.say(caller, text)
    return False
