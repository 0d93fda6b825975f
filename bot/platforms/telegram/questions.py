"""Which messages are questions to us, what they ask, and which conversation they belong to.

Everything in a private chat; in groups a mention, a reply to one of our messages, or anything in a topic
that is set as our own. Names of accounts do not go into the record.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import partial
from typing import Final

import structlog
from telegram import Document, Message, MessageEntity, User
from telegram.error import TelegramError

from bot.chat.attachments import Attachment
from bot.platforms.telegram.context import TelegramContext, thread_of
from bot.texts import Text

MENTIONS: Final[list[str | None]] = [MessageEntity.MENTION, MessageEntity.TEXT_MENTION]
GENERAL: Final = "0"
"""What own channels call a group without topics, and the topic that has no number."""

UNREADABLE: Final[dict[str, Text]] = {
    "photo": Text("the picture", "obraz"),
    "voice": Text("the voice message", "wiadomość głosowa"),
    "audio": Text("the sound", "dźwięk"),
    "video": Text("the video", "film"),
    "video_note": Text("the video", "film"),
    "animation": Text("the animation", "animacja"),
    "sticker": Text("the sticker", "naklejka"),
}
"""Attachments that are never text, by Telegram's names."""

log = structlog.get_logger(__name__)

_SPACES = re.compile(r"[ \t]{2,}")


def is_question(message: Message, me: User, own_topics: Collection[str], *, private: bool) -> bool:
    """Whether the message asks us something."""
    if private:
        return True
    answered = message.reply_to_message
    replies = answered is not None and answered.from_user is not None and answered.from_user.id == me.id
    # in topics, every message replies to the service message that opened the topic
    if replies and answered is not None and answered.forum_topic_created is not None:
        replies = False
    return replies or _mentions(message, me) or str(thread_of(message) or GENERAL) in own_topics


def question_text(message: Message, me: User) -> str:
    """What the message asks, without the mention of us; other accounts become "@member"."""
    text = message.text or message.caption or ""
    names = [(entity, name, _is_me(entity, name, me)) for entity, name in _named(message).items()]
    for entity, name, ours in sorted(names, key=lambda one: -one[0].offset):
        start = len(text.encode("utf-16-le")[: 2 * entity.offset].decode("utf-16-le"))
        text = text[:start] + ("" if ours else "@member") + text[start + len(name) :]
    return _SPACES.sub(" ", text).strip()


def after_command(text: str) -> str:
    """What stands after a command; all of a text without one."""
    return (text.split(maxsplit=1)[1:] or [""])[0].strip() if text.startswith("/") else text


def attachments_of(context: TelegramContext, message: Message) -> list[Attachment]:
    """The message's attachments; pictures, voice messages and the like are named by their kind."""
    document = message.document
    if document is not None:
        name, kind = document.file_name or "?", document.mime_type or ""
        return [
            Attachment(Text(name, name), kind, document.file_size or 0, partial(_read, context, document))
        ]
    return [
        Attachment(name, "", 0, _nothing) for kind, name in UNREADABLE.items() if getattr(message, kind, None)
    ]


async def _read(context: TelegramContext, document: Document) -> bytes | None:
    try:
        file = await context.bot.get_file(document.file_id)
        return bytes(await file.download_as_bytearray())
    except TelegramError as error:
        log.info("an attachment could not be read", why=error.message)
        return None


async def _nothing() -> bytes | None:
    return None


def replied_to(context: TelegramContext, message: Message) -> str | None:
    """The message whose conversation goes on; None where the chat or topic is one, and for a new one."""
    if (
        message.reply_to_message is None
        or thread_of(message) is not None
        or message.chat.type == message.chat.PRIVATE
    ):
        return None
    return context.message_key(message.chat, message.reply_to_message.message_id)


def conversation_of(context: TelegramContext, message: Message, known: str | None) -> str:
    """The record's name of the conversation: a private chat, a topic, or a chain of replies.

    `known` is the one that `replied_to` is part of.
    """
    key, thread = context.key(message.chat), thread_of(message)
    if thread is not None:
        return f"{key}/{thread}"
    if message.chat.type == message.chat.PRIVATE:
        return key
    return known or context.message_key(message.chat, message.message_id)


def _mentions(message: Message, me: User) -> bool:
    return any(_is_me(entity, name, me) for entity, name in _named(message).items())


def _named(message: Message) -> dict[MessageEntity, str]:
    """The accounts that the message names."""
    if message.text:
        return message.parse_entities(MENTIONS)
    return message.parse_caption_entities(MENTIONS) if message.caption else {}


def _is_me(entity: MessageEntity, name: str, me: User) -> bool:
    if entity.type == MessageEntity.TEXT_MENTION:
        return entity.user is not None and entity.user.id == me.id
    return name.casefold() == f"@{me.username or ''}".casefold()
