"""What every part of the Telegram bot works with.

One `TelegramContext` per bot. A `Caller` is somebody who wrote or tapped something, and where; edges make
one and pass it on. What Telegram refuses becomes one of a few words here: gone, may not write, or try again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from telegram import (
    CallbackQuery,
    Chat,
    InaccessibleMessage,
    InlineKeyboardMarkup,
    Message,
    ReplyParameters,
    Update,
    User,
)
from telegram.constants import ChatType, ParseMode
from telegram.error import BadRequest, ChatMigrated, Forbidden
from telegram.ext import ExtBot

from bot.access.actor import Actor
from bot.chat.context import ChatContext
from bot.chat.edge import guarded
from bot.chat.surface import MayNotWrite, MessageGone
from bot.commands.settings import CommunitySettings
from bot.platforms.telegram.markdown import html_of
from bot.platforms.telegram.pacing import Pacer
from bot.questions import Place
from bot.settings import TelegramSettings
from feedback.words import Language, Platform

PLATFORM: Final[Platform] = "telegram"
DIRECT: Final = "direct"
"""The community of all private chats; no group has that id."""

REMEMBERED_S: Final = 30.0
"""How long a chat's administrators are remembered."""

PRIVATE_KEY: Final = 16
"""How much of a member's pseudonym stands for their private chat, whose id is their account's."""

NO_HTML: Final = ("can't parse entities", "message is too long", "text is empty", "text must be non-empty")
GONE: Final = ("message to edit not found", "message can't be edited", "message_id_invalid")
UNCHANGED: Final = "message is not modified"
CLOSED: Final = (
    "chat not found",
    "not enough rights",
    "have no rights",
    "chat_write_forbidden",
    "topic_closed",
    "thread not found",
    "chat_restricted",
    "user is deactivated",
    "bot was kicked",
    "group chat was deactivated",
)

BEGUN_AT_ONCE: Final = 4
"""Messages that may show a beginning before it is written down which ones they are; a kill leaves so many."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Spot:
    """Where something is said: a chat, its topic, and the message that is replied to (0 is none)."""

    chat: int
    thread: int | None = None
    reply_to: int = 0


@dataclass(frozen=True)
class Caller:
    """Somebody who wrote or tapped something; `admin` when they write as the group itself.

    `update` is the number of the update that said so.
    """

    member: str
    language: Language
    chat: Chat
    spot: Spot
    message: Message
    update: int
    query: CallbackQuery | None = None
    admin: bool = False

    @property
    def private(self) -> bool:
        """Whether nobody else is in the chat."""
        return self.chat.type == ChatType.PRIVATE


@dataclass(kw_only=True)
class TelegramContext(ChatContext):
    """What the Telegram bot works with: its client, and what every chat platform has."""

    bot: ExtBot[Any]
    pacer: Pacer
    settings: TelegramSettings
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    administrators: dict[int, tuple[float, frozenset[int]]] = field(default_factory=dict)
    without_drafts: set[int] = field(default_factory=set)
    offered: set[str] = field(default_factory=set)
    beginnings: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(BEGUN_AT_ONCE))
    """Held from before a message is begun until it is written down which one it is."""

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do something beside the updates that come; it is cancelled when the bot stops."""
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def place(self, chat: Chat, conversation: str = "") -> Place:
        """A place in a group's community, or among the private chats."""
        if chat.type == ChatType.PRIVATE:
            return Place(PLATFORM, DIRECT, conversation, "Private chats")
        return Place(PLATFORM, str(chat.id), conversation, chat.title or "")

    def here(self, caller: Caller) -> Place:
        """Where the turns are that the caller may refer to: in a private chat, those of that chat alone."""
        return self.place(caller.chat, self.key(caller.chat) if caller.private else "")

    def key(self, chat: Chat) -> str:
        """What the record calls a chat: a private one has its member's account for an id, so no id."""
        if chat.type == ChatType.PRIVATE:
            return self.core.pseudonym(PLATFORM, str(chat.id))[:PRIVATE_KEY]
        return str(chat.id)

    def message_key(self, chat: Chat, message_id: int) -> str:
        """What the record calls a message; Telegram counts them anew in each chat."""
        return f"{self.key(chat)}-{message_id}"

    @staticmethod
    def under(caller: Caller, message_id: int) -> Spot:
        """Where the caller is, as a reply to that message."""
        return Spot(caller.chat.id, caller.spot.thread, message_id)

    async def community(self, chat: Chat) -> CommunitySettings:
        """The community's settings."""
        return await self.communities.settings(self.place(chat))

    def member(self, caller: Caller) -> Actor:
        """The caller as a plain member, whatever their role in a chat."""
        return Actor(PLATFORM, self.core.pseudonym(PLATFORM, caller.member))

    async def send(
        self, spot: Spot, text: str, keyboard: InlineKeyboardMarkup | None = None, **more: Any
    ) -> Message:
        """Say Markdown that fits one message. Raises MayNotWrite, and TelegramError for trying again."""
        reply = ReplyParameters(spot.reply_to, allow_sending_without_reply=True) if spot.reply_to else None
        sent: Message = await self._rendered(
            text,
            lambda content, mode: self.bot.send_message(
                spot.chat,
                content,
                parse_mode=mode,
                message_thread_id=spot.thread,
                reply_parameters=reply,
                reply_markup=keyboard,
                **more,
            ),
        )
        return sent

    async def edit(
        self, chat: int, message_id: int, text: str, keyboard: InlineKeyboardMarkup | None = None, **more: Any
    ) -> None:
        """Let a message say something else. Raises as `send`, and MessageGone."""
        await self._rendered(
            text,
            lambda content, mode: self.bot.edit_message_text(
                content, chat, message_id, parse_mode=mode, reply_markup=keyboard, **more
            ),
        )

    async def say(self, caller: Caller, text: str, keyboard: InlineKeyboardMarkup | None = None) -> None:
        """Reply to somebody, in as many words as fit one message."""
        await self.send(caller.spot, text, keyboard)

    async def change(self, caller: Caller, text: str, keyboard: InlineKeyboardMarkup | None = None) -> None:
        """Let the message whose button was tapped say something else."""
        await self.edit(caller.chat.id, caller.message.message_id, text, keyboard)

    async def toast(self, caller: Caller, text: str = "", *, alert: bool = False) -> None:
        """Answer a tap with words that only who tapped sees; a tap too old to be answered is let be."""
        if caller.query is not None:
            with contextlib.suppress(BadRequest):
                await caller.query.answer(text[:200] or None, show_alert=alert)

    async def guard(self, caller: Caller, work: Awaitable[bool | None]) -> bool | None:
        """Do what somebody asked for, and tell them what goes wrong; what came of it."""

        async def tell(text: str) -> None:
            if caller.query is not None:
                await self.toast(caller, text, alert=True)
            else:
                await self.say(caller, text)

        return await guarded(work, caller.language, tell)

    async def _rendered(self, text: str, call: Callable[[str, ParseMode | None], Awaitable[Any]]) -> Any:
        """Call with HTML, and once more with plain text when Telegram does not take it."""
        with explained():
            try:
                return await call(html_of(text) or text, ParseMode.HTML)
            except BadRequest as error:
                said = error.message.casefold()
                if UNCHANGED in said:
                    return None
                if not any(sign in said for sign in NO_HTML):
                    raise
                log.info("Telegram refused a rendering, plain text follows", why=error.message)
                try:
                    return await call(text, None)
                except BadRequest as again:
                    if UNCHANGED in again.message.casefold():
                        return None
                    raise


def caller_of(update: Update) -> Caller | None:
    """Who wrote or tapped; None for channels' posts."""
    query, chat = update.callback_query, update.effective_chat
    user: User | None = query.from_user if query else update.effective_user
    message = update.effective_message
    if query is not None and isinstance(query.message, InaccessibleMessage):
        # of an old message Telegram tells no more than where it stands, which is all that its buttons need
        message = Message(query.message.message_id, datetime.now(UTC), query.message.chat)
    if chat is None or message is None or chat.type == ChatType.CHANNEL:
        return None
    as_group = query is None and message.sender_chat is not None and message.sender_chat.id == chat.id
    if as_group:
        member = str(chat.id)
    elif user is not None:
        member = str(user.id)
    else:
        return None
    code = (user.language_code or "") if user else ""
    return Caller(
        member=member,
        language="pl" if code.split("-")[0].casefold() == "pl" else "en",
        chat=chat,
        spot=Spot(chat.id, thread_of(message), message.message_id if chat.type != ChatType.PRIVATE else 0),
        message=message,
        update=update.update_id,
        query=query,
        admin=as_group,
    )


def when(moment: datetime) -> str:
    """A moment for members, who may be anywhere."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def thread_of(message: Message) -> int | None:
    """The topic that the message is in; ordinary chains of replies also have numbers, which are none."""
    return message.message_thread_id if message.is_topic_message else None


def moved(spot: Spot, chat: int) -> Spot:
    """The same spot in the chat that a group was turned into; its old messages cannot be replied to."""
    return replace(spot, chat=chat, reply_to=0)


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Telegram's refusals in the words of the core; what may pass by itself is let through."""
    try:
        yield
    except Forbidden as error:
        raise MayNotWrite from error
    except ChatMigrated:
        raise
    except BadRequest as error:
        said = error.message.casefold()
        if any(sign in said for sign in GONE):
            raise MessageGone from error
        if any(sign in said for sign in CLOSED):
            raise MayNotWrite from error
        raise
