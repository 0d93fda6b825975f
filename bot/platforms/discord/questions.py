"""Which messages are questions to us, what they ask, and which conversation they belong to.

A direct message, a mention (of the bot or of its role), a reply to one of its messages, anything in a thread
that it opened or in a channel set as its own. Names and ids of accounts do not go into the record.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import partial
from typing import Any, Final

import aiohttp
import discord
import structlog

from bot.chat.attachments import Attachment
from bot.texts import Text
from feedback.tables import Turn

_USER = re.compile(r"<@!?(\d+)>")
_ROLE = re.compile(r"<@&(\d+)>")
_CHANNEL = re.compile(r"<#(\d+)>")
_EMOJI = re.compile(r"<a?(:\w+:)\d+>")
_SPACES = re.compile(r"[ \t]{2,}")

log = structlog.get_logger(__name__)

ORDINARY: Final = (discord.MessageType.default, discord.MessageType.reply)


def is_question(
    message: discord.Message, me: discord.abc.User, own_channels: Collection[str], *, answer_bots: bool
) -> bool:
    """Whether the message asks us something. Our own never do, other bots' only when that is allowed."""
    if message.author.id == me.id or message.type not in ORDINARY:
        return False
    if (message.author.bot or message.webhook_id is not None) and not answer_bots:
        return False
    return (
        message.guild is None
        or _mentions(message, me)
        or _replies_to(message, me)
        or _is_ours(message.channel, me, own_channels)
    )


def question_text(message: discord.Message, me: discord.abc.User) -> str:
    """What the message asks, without the mention of us; other accounts become "@member"."""
    ours = message.guild.self_role if message.guild else None

    def role_name(match: re.Match[str]) -> str:
        found = message.guild.get_role(int(match[1])) if message.guild else None
        return "" if found is not None and found == ours else f"@{found.name if found else 'role'}"

    def channel_name(match: re.Match[str]) -> str:
        found = message.guild.get_channel_or_thread(int(match[1])) if message.guild else None
        return f"#{found.name}" if found else "#channel"

    text = _USER.sub(lambda match: "" if match[1] == str(me.id) else "@member", message.content)
    text = _ROLE.sub(role_name, text)
    text = _EMOJI.sub(lambda match: match[1], _CHANNEL.sub(channel_name, text))
    return _SPACES.sub(" ", text).strip()


def attachments_of(message: discord.Message) -> list[Attachment]:
    """The message's attachments."""
    return [
        Attachment(Text(one.filename, one.filename), one.content_type or "", one.size, partial(_read, one))
        for one in message.attachments
    ]


async def _read(attachment: discord.Attachment) -> bytes | None:
    try:
        return await attachment.read()
    except (discord.HTTPException, aiohttp.ClientError, OSError) as error:
        log.info("an attachment could not be read", why=str(error))
        return None


def replied_to(message: discord.Message) -> str | None:
    """The message whose conversation goes on; None where it is new, or the channel itself."""
    if message.guild is None or isinstance(message.channel, discord.Thread):
        return None
    reference = message.reference
    return str(reference.message_id) if reference is not None and reference.message_id is not None else None


def conversation_of(message: discord.Message, known: str | None) -> str:
    """The platform's id of the conversation: a direct channel, a thread, or a chain of replies.

    `known` is the one that `replied_to` is part of.
    """
    if message.guild is None or isinstance(message.channel, discord.Thread):
        return str(message.channel.id)
    return known or chain_id(message.channel.id, message.id)


def chain_id(channel_id: int, message_id: int) -> str:
    """The id of a conversation that begins with that message."""
    return f"{channel_id}/{message_id}"


def message_of(turn: Turn) -> int | None:
    """The message that asked a turn's question; None for one asked anew by a button."""
    return int(turn.external_id) if turn.external_id.isascii() and turn.external_id.isdigit() else None


def _mentions(message: discord.Message, me: discord.abc.User) -> bool:
    # people pick the role that Discord made for the bot by mistake, meaning the bot
    role = message.guild.self_role if message.guild else None
    return any(user.id == me.id for user in message.mentions) or (
        role is not None and role.mention in message.content
    )


def _replies_to(message: discord.Message, me: discord.abc.User) -> bool:
    reference = message.reference
    answered = reference.resolved if reference else None
    return isinstance(answered, discord.Message) and answered.author.id == me.id


def _is_ours(channel: Any, me: discord.abc.User, own_channels: Collection[str]) -> bool:
    if isinstance(channel, discord.Thread):
        return channel.owner_id == me.id or str(channel.parent_id) in own_channels
    return str(channel.id) in own_channels
