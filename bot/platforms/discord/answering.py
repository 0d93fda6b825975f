"""From a message or interaction that asks something to an answer on its way.

Each question is answered once, however often Discord delivers it; each gets an answer or a reason.
"""

from __future__ import annotations

import contextlib
import math
import secrets
from typing import Any, Final

import discord
import structlog
from sqlmodel import select

from bot.assistant import Question
from bot.commands.settings import language_for
from bot.errors import AnsweringFailed
from bot.platforms.discord.context import PLATFORM, DiscordContext, Interaction, place_in, say
from bot.platforms.discord.questions import conversation_of, question_text
from bot.platforms.discord.surfaces import ReplySurface, ResponseSurface, may_write
from bot.platforms.discord.texts import MAY_NOT_WRITE, TEXT_ONLY
from bot.texts import COOLDOWN, describe_error
from feedback import journal
from feedback.tables import Conversation
from feedback.words import Language

THREAD_FROM: Final = 3
"""How many answers a conversation in a channel must have before it is offered a thread."""

NO_TURN: Final = 2**31 - 1
"""Later than every turn."""

log = structlog.get_logger(__name__)


async def answer_message(
    context: DiscordContext,
    message: discord.Message,
    *,
    late: bool = False,
    begun: list[discord.Message] | None = None,
) -> None:
    """Answer a message that is a question; `late` ones were missed and wait for no cooldown."""
    language: Language = "en"
    try:
        community = await context.community(message.guild)
        text = question_text(message, context.me())
        language = language_for(community.language, text)
        place = place_in(message.guild)
        if not await context.answers.wants(place, str(message.id)):
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
        database = context.core.database
        conversation = await conversation_of(database, place, message)
        if message.guild is None:
            async with database.session() as session:  # how direct messages are found again after an absence
                await journal.move_bookmark(session, PLATFORM, str(message.channel.id), str(message.id))
        question = Question(
            place_in(message.guild, conversation), str(message.author.id), str(message.id), text
        )
        thread = await _is_long(context, message, conversation)
        surface = ReplySurface(context, message, language, thread=thread, begun=begun)
        await context.answers.answer(question, surface, language)
    except discord.HTTPException as error:
        log.warning("a notice could not be shown", channel=message.channel.id, why=str(error))
    except Exception as error:  # the outermost edge: the member must hear of it
        reference = secrets.token_hex(4)
        log.error("a question broke", reference=reference, exc_info=error)
        with contextlib.suppress(discord.HTTPException):
            await reply(message, describe_error(AnsweringFailed("", reference=reference), language))


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
    surface = ResponseSurface(context, interaction, question.external_id, language, heading=heading)
    await context.answers.answer(question, surface, language)


async def reply(message: discord.Message, text: str) -> None:
    """Say something short under a message."""
    await message.channel.send(text, reference=message.to_reference(fail_if_not_exists=False))


async def tell_privately(message: discord.Message, text: str) -> None:
    """Tell the author in a direct message, because we may not write where they asked."""
    log.warning("may not write in a channel", channel=message.channel.id)
    with contextlib.suppress(discord.HTTPException):  # their direct messages may be closed
        await message.author.send(text)


async def _is_long(context: DiscordContext, message: discord.Message, conversation: str) -> bool:
    """Whether the talk in a channel has become so long that a thread would suit it."""
    if not isinstance(message.channel, discord.TextChannel) or "/" not in conversation:
        return False
    place = place_in(message.guild)
    async with context.core.database.session(read_only=True) as session:
        row = await journal.community_of(session, PLATFORM, place.community)
        found = (
            row
            and (
                await session.exec(
                    select(Conversation).where(
                        Conversation.community_id == row.id, Conversation.external_id == conversation
                    )
                )
            ).one_or_none()
        )
        if not found:
            return False
        return len(await journal.history(session, found.id or 0, NO_TURN, THREAD_FROM)) >= THREAD_FROM - 1


def _mention(channel: Any) -> str:
    return str(getattr(channel, "mention", ""))
