"""From a message or interaction that asks something to an answer on its way.

Each question is answered once, however often Discord delivers it; each gets an answer or a reason.
"""

from __future__ import annotations

import contextlib
import math
import secrets
from dataclasses import replace
from typing import Any, Final

import discord
import structlog

from bot.assistant import Origin, Question
from bot.chat.arrivals import Arrival, look_up
from bot.commands.settings import language_for
from bot.errors import AnsweringFailed
from bot.platforms.discord.context import DiscordContext, Interaction, place_in, say
from bot.platforms.discord.questions import conversation_of, question_text, replied_to
from bot.platforms.discord.surfaces import ReplySurface, ResponseSurface, may_write
from bot.platforms.discord.texts import MAY_NOT_WRITE, TEXT_ONLY
from bot.texts import COOLDOWN, describe_error
from feedback.words import Language

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
    language: Language = "en"
    try:
        arrival = arrival or await look_up_message(context, message)
        community, place = arrival.community, place_in(message.guild)
        text = question_text(message, context.me())
        language = language_for(community.language, text)
        if not arrival.wanted:
            return
        if not may_write(message.channel, context.me()):
            await tell_privately(message, MAY_NOT_WRITE.say(language, channel=_mention(message.channel)))
            return
        if not text and (message.attachments or message.stickers):
            await reply(message, TEXT_ONLY.say(language))
            return
        wait = (
            0.0
            if late
            else context.cooldowns.take(place.community, str(message.author.id), community.cooldown_seconds)
        )
        if wait > 0:
            await reply(message, COOLDOWN.say(language, seconds=math.ceil(wait)))
            return
        conversation = conversation_of(message, arrival.conversation)
        # how direct messages are found again after an absence
        bookmark = (str(message.channel.id), str(message.id)) if message.guild is None else None
        question = Question(
            place_in(message.guild, conversation),
            str(message.author.id),
            str(message.id),
            text,
            origin=shown_in(message.channel.id, bookmark),
        )
        # so long a talk in a channel would suit a thread
        thread = isinstance(message.channel, discord.TextChannel) and arrival.answers >= THREAD_FROM - 1
        surface = ReplySurface(context, message, language, thread=thread, begun=begun)
        await context.answers.answer(question, surface, language)
    except discord.HTTPException as error:
        log.warning("a notice could not be shown", channel=message.channel.id, why=str(error))
    except Exception as error:  # the outermost edge: the member must hear of it
        reference = secrets.token_hex(4)
        log.error("a question broke", reference=reference, exc_info=error)
        with contextlib.suppress(discord.HTTPException):
            await reply(message, describe_error(AnsweringFailed("", reference=reference), language))


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
    community = await context.community(interaction.guild)
    language = language_for(community.language, question.text)
    wait = context.cooldowns.take(question.place.community, question.member, community.cooldown_seconds)
    if wait > 0:
        await say(interaction, COOLDOWN.say(language, seconds=math.ceil(wait)))
        return
    await interaction.response.defer(thinking=True)
    if interaction.channel_id is not None:
        question = replace(question, origin=shown_in(interaction.channel_id))
    surface = ResponseSurface(context, interaction, question.external_id, language, heading=heading)
    await context.answers.answer(question, surface, language)


def shown_in(channel: int, bookmark: tuple[str, str] | None = None) -> Origin:
    """What the next start needs to finish an answer: the channel, where its messages are found."""
    return Origin({"channel": channel}, bookmark=bookmark)


async def reply(message: discord.Message, text: str) -> None:
    """Say something short under a message."""
    await message.channel.send(text, reference=message.to_reference(fail_if_not_exists=False))


async def tell_privately(message: discord.Message, text: str) -> None:
    """Tell the author in a direct message, because we may not write where they asked."""
    log.warning("may not write in a channel", channel=message.channel.id)
    with contextlib.suppress(discord.HTTPException):  # their direct messages may be closed
        await message.author.send(text)


def _mention(channel: Any) -> str:
    return str(getattr(channel, "mention", ""))
