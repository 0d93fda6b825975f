"""From a message or button that asks something to an answer on its way.

Each question is answered once, however often Telegram delivers it; each gets an answer or a reason.
"""

from __future__ import annotations

import math

from bot.assistant import Question
from bot.commands.settings import language_for
from bot.platforms.telegram import open_questions
from bot.platforms.telegram.context import Caller, Spot, TelegramContext
from bot.platforms.telegram.open_questions import OpenQuestion
from bot.platforms.telegram.questions import conversation_of, question_text
from bot.platforms.telegram.surfaces import AnswerSurface
from bot.platforms.telegram.texts import TEXT_ONLY
from bot.texts import COOLDOWN
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
    community = await context.community(caller.chat)
    asked = question_text(message, context.bot.bot) if text is None else text
    language = language_for(community.language, asked)
    external_id = context.message_key(caller.chat, message.message_id)
    if not await context.answers.wants(context.place(caller.chat), external_id):
        return
    if not asked and message.text is None:
        await context.say(caller, TEXT_ONLY.say(language))
        return
    if not late and not await _may_ask(context, caller, language):
        return
    conversation = await conversation_of(context, message)
    question = Question(
        context.place(caller.chat, conversation), caller.member, external_id, asked, mode=mode
    )
    await answer(context, caller, question, language)


async def answer_once_more(
    context: TelegramContext, caller: Caller, question: Question, reply_to: int
) -> None:
    """Answer a question that a button asks, under the message that asked it first."""
    language = language_for((await context.community(caller.chat)).language, question.text)
    if await _may_ask(context, caller, language):
        await answer(context, caller, question, language, reply_to=reply_to)


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


async def _may_ask(context: TelegramContext, caller: Caller, language: Language) -> bool:
    """Whether the member's cooldown is over; if not, they are told."""
    community = await context.community(caller.chat)
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
