"""From a message or interaction that asks something to an answer under way.

Each question is answered once, however often Discord delivers it; each gets an answer or a reason.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any, Final

import discord
import structlog

from bot.chat.admission import admit, admit_anew
from bot.chat.arrivals import Arrival, look_up
from bot.chat.attachments import read_attachments
from bot.chat.edge import guarded
from bot.commands.settings import language_for
from bot.platforms.discord.context import DiscordContext, Interaction, place_in, say
from bot.platforms.discord.questions import attachments_of, conversation_of, question_text, replied_to
from bot.platforms.discord.surfaces import ReplySurface, ResponseSurface, may_write, nonce_of
from bot.platforms.discord.texts import MAY_NOT_WRITE
from bot.questions import Origin, Question
from bot.texts import RECORD_AWAY, TEXT_ONLY

THREAD_FROM: Final = 3
"""How many answers a conversation in a channel must have before it is offered a thread."""

log = structlog.get_logger(__name__)


async def answer_message(
    context: DiscordContext,
    message: discord.Message,
    *,
    late: bool = False,
    begun: list[discord.Message] | None = None,
    arrival: Arrival | None = None,
) -> None:
    """Answer a message that is a question; `late` ones were missed and wait for no cooldown.

    `arrival` is what `look_up_message` found, where that was asked before.
    """
    text = question_text(message, context.me())

    async def tell(said: str) -> None:
        await reply(message, said)

    work = _answer(context, message, text, late, begun, arrival)
    await guarded(work, language_for("auto", text), tell)


async def _answer(
    context: DiscordContext,
    message: discord.Message,
    text: str,
    late: bool,
    begun: list[discord.Message] | None,
    arrival: Arrival | None,
) -> None:
    """Refuse the question with a reason, or answer it where it was asked."""
    place, member, attached = place_in(message.guild), str(message.author.id), attachments_of(message)
    writable = may_write(message.channel, context.me())
    readable = bool(text) or any(one.may_be_text for one in attached)

    async def look() -> Arrival:
        return arrival or await look_up_message(context, message)

    promised: list[discord.Message] = []

    async def promise() -> None:
        if not writable:
            return
        with contextlib.suppress(discord.HTTPException):  # it is answered all the same
            said = RECORD_AWAY.say(language_for("auto", text))
            promised.append(await reply(message, said, nonce=nonce_of(message, 0)))

    admitted = await admit(
        context,
        place,
        member,
        text,
        look,
        promise,
        free=late or not writable or not readable,
    )
    if admitted is None:
        return
    language = admitted.language
    if not writable:
        await tell_privately(message, MAY_NOT_WRITE.say(language, channel=_mention(message.channel)))
        return
    if admitted.notice:
        await reply(message, admitted.notice)
        return
    read = await read_attachments(text, attached, context.assistant.options.max_question_characters)
    if not read.text and (attached or message.stickers):
        await reply(message, TEXT_ONLY.say(language))
        return
    if notice := read.notice(language):
        await reply(message, notice)
    # how direct messages are found again after an absence
    bookmark = (str(message.channel.id), str(message.id)) if message.guild is None else None
    question = Question(
        place_in(message.guild, conversation_of(message, admitted.conversation)),
        member,
        str(message.id),
        read.text,
        origin=replace(shown_in(message.channel.id), bookmark=bookmark, comes_again=True),
    )
    # so long a talk in a channel would suit a thread
    thread = isinstance(message.channel, discord.TextChannel) and admitted.answers >= THREAD_FROM - 1
    surface = ReplySurface(context, message, language, thread=thread, begun=begun or promised)
    await context.answers.answer(question, surface, language)


async def look_up_message(context: DiscordContext, message: discord.Message) -> Arrival:
    """What the record says about a message that has just arrived."""
    return await look_up(
        context,
        place_in(message.guild),
        str(message.id),
        replied_to=replied_to(message),
        answers_up_to=THREAD_FROM,
    )


async def answer_interaction(
    context: DiscordContext, interaction: Interaction, question: Question, heading: str
) -> None:
    """Answer a question that came by a command or button, as the interaction's response."""
    admitted = await admit_anew(context, question.place, question.member, question.text)
    if admitted.notice:
        await say(interaction, admitted.notice)
        return
    await interaction.response.defer(thinking=True)
    if interaction.channel_id is not None:
        question = replace(question, origin=shown_in(interaction.channel_id))
    surface = ResponseSurface(context, interaction, question.external_id, admitted.language, heading=heading)
    await context.answers.answer(question, surface, admitted.language)


def shown_in(channel: int) -> Origin:
    """What the next start needs to finish an answer: the channel, where its messages are found."""
    return Origin({"channel": channel})


async def reply(message: discord.Message, text: str, **more: Any) -> discord.Message:
    """Say something short under a message; what was said."""
    return await message.channel.send(text, reference=message.to_reference(fail_if_not_exists=False), **more)


async def tell_privately(message: discord.Message, text: str) -> None:
    """Tell the author in a direct message, because we may not write where they asked."""
    log.warning("may not write in a channel", channel=message.channel.id)
    with contextlib.suppress(discord.HTTPException):  # their direct messages may be closed
        await message.author.send(text)


def _mention(channel: Any) -> str:
    return str(getattr(channel, "mention", ""))
