"""Where an answer appears on Telegram: as messages that are edited, in private chats first as a draft.

A draft is Telegram's own preview of a message being written; it lasts 30 seconds, so it is renewed, and the
message that is sent in the end replaces it. Where Telegram refuses drafts, messages are edited instead.

Telegram cannot be asked what it was sent, nor told to show a message once only. So the id of an answer's
message is written down while it shows a beginning alone; the whole comes by an edit, which may be repeated.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from dataclasses import dataclass
from typing import Any, Final

import structlog
from telegram import InlineKeyboardMarkup
from telegram.constants import ChatAction
from telegram.error import BadRequest, ChatMigrated, TelegramError

from bot.chat.surface import Ending, MayNotWrite, MessageGone
from bot.platforms.telegram import open_questions
from bot.platforms.telegram.buttons import answer_buttons, stop_button
from bot.platforms.telegram.context import Spot, TelegramContext, explained, moved
from bot.platforms.telegram.markdown import html_of, pieces
from bot.platforms.telegram.open_questions import OpenQuestion
from bot.platforms.telegram.pacing import Dropped
from feedback.errors import DatabaseError
from feedback.words import Language

RENEW_S: Final = 20.0
"""How often a draft is renewed that nothing was added to, and the sign that we write."""

LONGEST_BEGINNING: Final = 160
"""Characters of an answer that its message begins with: about what a notification shows."""

log = structlog.get_logger(__name__)


@dataclass
class _Part:
    """A message that shows a part of the answer, and what it shows now; None is unknown."""

    message: int
    content: str | None
    keyboard: InlineKeyboardMarkup | None = None


class AnswerSurface:
    """One answer in as many messages as it needs; the last of them carries the buttons."""

    def __init__(self, context: TelegramContext, question: OpenQuestion, language: Language) -> None:
        self._context = context
        self._question = question
        self._language = language
        self._spot = question.spot
        self._parts = [_Part(message, None) for message in question.drawn]
        self._drafts = question.private and not self._parts and self._spot.chat not in context.without_drafts
        self._draft_id = secrets.randbelow(2**31 - 1) + 1
        self._drafted = ""
        self._closed = False
        self._waiting = asyncio.create_task(self._show_waiting())

    async def update(self, text: str) -> None:
        """Show what has been said so far. Raises MessageGone, MayNotWrite, and Dropped for want of room."""
        if self._closed:
            raise MayNotWrite
        try:
            await self._show(text)
        except MayNotWrite:
            self._closed = True
            raise

    async def finalise(self, ending: Ending) -> list[str]:
        """Show how the answer ended, with its buttons."""
        self.close()
        try:
            if ending.kept and self._context.pacer.has_room(self._spot.chat):
                await self._begin(pieces(ending.text(self._language)))
            await self._lay_out(
                ending.text(self._language), answer_buttons(ending, self._language), is_update=False
            )
        except ChatMigrated as error:
            self._spot = moved(self._spot, error.new_chat_id)
            self._parts.clear()
            raise
        private_key = self._question.external_id.rpartition("-")[0]
        key = private_key if self._question.private else str(self._spot.chat)
        return [f"{key}-{part.message}" for part in self._parts]

    async def discard(self) -> None:
        """Delete what was shown."""
        for part in self._parts:
            with contextlib.suppress(TelegramError):
                await self._context.bot.delete_message(self._spot.chat, part.message)

    async def report_refusal(self) -> None:
        """Nobody is told: who blocked or removed us wants to hear nothing."""
        log.info("an answer could not be shown: the chat is closed to us", chat=self._spot.chat)

    def pause(self) -> float:
        """Until the chat has room for an update."""
        return self._context.pacer.pause(self._spot.chat)

    def close(self) -> None:
        """End the renewing."""
        self._waiting.cancel()

    async def _show(self, text: str) -> None:
        if self._drafts:
            self._drafted = pieces(text)[-1]
            if await self._draft():
                return
        self.close()
        stop = stop_button(self._question.external_id, self._language)
        with explained():
            try:
                await self._lay_out(text, stop, is_update=True)
            except ChatMigrated as error:
                self._spot = moved(self._spot, error.new_chat_id)
                self._parts.clear()

    async def _lay_out(self, text: str, keyboard: InlineKeyboardMarkup | None, *, is_update: bool) -> None:
        """Let our messages show the text, changing only those that show something else."""
        more = {"rate_limit_args": "update"} if is_update else {}
        contents = pieces(text)
        for at, content in enumerate(contents):
            shown = keyboard if at == len(contents) - 1 else None
            if at == len(self._parts):
                if is_update:
                    await self._begin_as_update(content, shown)
                else:
                    await self._send(content, shown)
                continue
            part = self._parts[at]
            if (part.content, part.keyboard) != (content, shown):
                await self._context.edit(self._spot.chat, part.message, content, shown, **more)
                part.content, part.keyboard = content, shown
        while len(self._parts) > len(contents):
            with contextlib.suppress(BadRequest):
                await self._context.bot.delete_message(self._spot.chat, self._parts[-1].message)
            self._parts.pop()

    async def _begin(self, contents: list[str]) -> None:
        """Send the beginnings of the messages that are missing, and write down which messages they are.

        While the record is slow, hundreds would be sent before the first is written down, and a kill would
        leave them all: so those that are not written down yet are few, and the others wait for them.
        """
        async with self._context.beginnings:
            for content in contents[len(self._parts) :]:
                await self._send(beginning(content), None)
            try:
                await self._note_drawn()
            except DatabaseError as error:  # the answer comes all the same; a kill now would show it twice
                log.warning("it is not noted which messages show an answer", why=str(error))

    async def _begin_as_update(self, content: str, keyboard: InlineKeyboardMarkup | None) -> None:
        """Begin a message with what has been said so far. Raises Dropped while too many are begun."""
        if self._context.beginnings.locked():
            raise Dropped
        async with self._context.beginnings:
            await self._send(content, keyboard, rate_limit_args="update")
            await self._note_drawn()

    async def _send(self, content: str, keyboard: InlineKeyboardMarkup | None, **more: Any) -> None:
        spot = Spot(self._spot.chat, self._spot.thread) if self._parts else self._spot
        sent = await self._context.send(spot, content, keyboard, **more)
        self._parts.append(_Part(sent.message_id, content, keyboard))

    async def _note_drawn(self) -> None:
        drawn = [part.message for part in self._parts]
        if drawn != self._question.drawn:
            await open_questions.note_drawn(self._context.core.database, self._question, drawn)

    async def _draft(self) -> bool:
        """Show the draft; False when this chat takes none."""
        try:
            with explained():
                await self._context.bot.send_message_draft(
                    self._spot.chat,
                    self._draft_id,
                    html_of(self._drafted),
                    message_thread_id=self._spot.thread,
                    parse_mode="HTML",
                    rate_limit_args="update",
                )
        except BadRequest as error:
            log.info("drafts are refused, messages are edited instead", why=error.message)
            self._context.without_drafts.add(self._spot.chat)
            self._drafts = False
            return False
        return True

    async def _show_waiting(self) -> None:
        """Show the typing indicator until something else is shown; renew drafts, which would fade."""
        while True:
            with contextlib.suppress(TelegramError, MayNotWrite, MessageGone):
                if self._drafted and self._drafts:
                    await self._draft()
                else:
                    await self._context.bot.send_chat_action(
                        self._spot.chat, ChatAction.TYPING, message_thread_id=self._spot.thread
                    )
            await asyncio.sleep(RENEW_S if self._drafted else RENEW_S / 4)


def beginning(content: str) -> str:
    """The first words of a message, at most half of it: a text that nobody takes for the answer."""
    most = min(len(content) // 2, LONGEST_BEGINNING)
    return f"{content[:most].rpartition(' ')[0].rstrip()} …".lstrip()
