"""From a message or interaction that asks something to an answer on its way.

Each question is answered once, however often Discord delivers it; each gets an answer or a reason.
"""

from __future__ import annotations

import contextlib
from typing import Any, Final

import discord
import structlog
from sqlmodel import select

from bot.assistant import Question
from bot.chat.admission import admit, admit_anew
from bot.chat.attachments import read_attachments
from bot.chat.edge import guarded
from bot.commands.settings import language_for
from bot.platforms.discord.context import PLATFORM, DiscordContext, Interaction, place_in, say
from bot.platforms.discord.questions import attachments_of, conversation_of, question_text
from bot.platforms.discord.surfaces import ReplySurface, ResponseSurface, may_write
from bot.platforms.discord.texts import MAY_NOT_WRITE
from bot.texts import TEXT_ONLY
from feedback import journal
from feedback.tables import Conversation

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
    text = question_text(message, context.me())

    async def tell(said: str) -> None:
        await reply(message, said)

    await guarded(_answer(context, message, text, late, begun), language_for("auto", text), tell)


async def _answer(
    context: DiscordContext,
    message: discord.Message,
    text: str,
    late: bool,
    begun: list[discord.Message] | None,
) -> None:
    """Refuse the question for a reason, or bring its answer to where it was asked."""
    place, member, attached = place_in(message.guild), str(message.author.id), attachments_of(message)
    writable = may_write(message.channel, context.me())
    readable = bool(text) or any(one.may_be_text for one in attached)
    free = late or not writable or not readable
    admitted = await admit(context, place, member, str(message.id), text, free=free)
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
    database = context.core.database
    conversation = await conversation_of(database, place, message)
    if message.guild is None:
        async with database.session() as session:  # how direct messages are found again after an absence
            await journal.move_bookmark(session, PLATFORM, str(message.channel.id), str(message.id))
    question = Question(place_in(message.guild, conversation), member, str(message.id), read.text)
    thread = await _is_long(context, message, conversation)
    surface = ReplySurface(context, message, language, thread=thread, begun=begun)
    await context.answers.answer(question, surface, language)


async def answer_interaction(
    context: DiscordContext, interaction: Interaction, question: Question, heading: str
) -> None:
    """Answer a question that came by a command or button, as the interaction's response."""
    admitted = await admit_anew(context, question.place, question.member, question.text)
    if admitted.notice:
        await say(interaction, admitted.notice)
        return
    await interaction.response.defer(thinking=True)
    surface = ResponseSurface(context, interaction, question.external_id, admitted.language, heading=heading)
    await context.answers.answer(question, surface, admitted.language)


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
