"""Where an answer appears on Discord: as a reply to a message, or as the response to an interaction."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import discord
import structlog
from discord import ui

from bot.chat.splitting import split
from bot.chat.surface import Ending, MayNotWrite, MessageGone
from bot.platforms.discord.buttons import answer_buttons, stop_button
from bot.platforms.discord.context import DiscordContext, Interaction
from bot.platforms.discord.pacing import pause_between_edits
from bot.platforms.discord.texts import MAY_NOT_WRITE
from feedback.words import Language

MOST_CHARACTERS: Final = 2000
UNKNOWN_MESSAGE: Final = 10008
UNKNOWN_CHANNEL: Final = 10003

log = structlog.get_logger(__name__)


@dataclass
class _Part:
    """A message that shows a part of the answer, and what it shows now."""

    message: discord.Message | discord.PartialMessage
    content: str
    buttons: tuple[str, ...]


class _Surface:
    """An answer in as many messages as it needs; the last of them carries the buttons."""

    def __init__(self, question_id: str, language: Language, *, thread: bool) -> None:
        self._question_id = question_id
        self._language = language
        self._thread = thread
        self._parts: list[_Part] = []

    async def update(self, text: str) -> None:
        """Show what has been said so far, with a button that stops."""
        with _explained():
            await self._lay_out(text, stop_button(self._question_id, self._language))
        self.close()

    async def finalise(self, ending: Ending) -> list[str]:
        """Show how the answer ended, with its buttons."""
        with _explained():
            await self._lay_out(
                ending.text(self._language), answer_buttons(ending, self._language, thread=self._thread)
            )
        return [str(part.message.id) for part in self._parts]

    async def discard(self) -> None:
        """Delete what was shown."""
        for part in self._parts:
            with contextlib.suppress(discord.HTTPException):
                await self._delete(part.message)

    def close(self) -> None:
        """Nothing waits here."""

    async def _lay_out(self, text: str, view: ui.View | None) -> None:
        """Let our messages show the text, changing only those that show something else."""
        contents = split(text, MOST_CHARACTERS)
        for at, content in enumerate(contents):
            shown = view if at == len(contents) - 1 else None
            buttons = _ids(shown)
            if at == len(self._parts):
                message = await self._send(content, shown, at)
                # one that had arrived, though we were told that it had not, shows what it showed then
                arrived = content if message.content.strip() == content.strip() else message.content
                self._parts.append(_Part(message, arrived, buttons))
            if (self._parts[at].content, self._parts[at].buttons) != (content, buttons):
                await self._edit(self._parts[at].message, content, shown)
                self._parts[at].content, self._parts[at].buttons = content, buttons
        while len(self._parts) > len(contents):
            await self._delete(self._parts[-1].message)
            self._parts.pop()

    async def _send(self, content: str, view: ui.View | None, at: int) -> discord.Message:
        raise NotImplementedError

    async def _edit(self, message: Any, content: str, view: ui.View | None) -> None:
        await message.edit(content=content, view=view)

    async def _delete(self, message: Any) -> None:
        await message.delete()


class ReplySurface(_Surface):
    """An answer as a reply to a member's message; `begun` is what an earlier process had begun to show."""

    def __init__(
        self,
        context: DiscordContext,
        question: discord.Message,
        language: Language,
        *,
        thread: bool = False,
        begun: list[discord.Message] | None = None,
    ) -> None:
        super().__init__(str(question.id), language, thread=thread)
        self._context = context
        self._question = question
        self._parts = [_Part(message, message.content, ("?",)) for message in begun or []]
        self._end_typing = context.typing.begin(question.channel, question.channel.id)

    async def report_refusal(self) -> None:
        """Tell the member in a direct message."""
        log.warning("may not write in a channel", channel=self._question.channel.id)
        with contextlib.suppress(discord.HTTPException):  # their direct messages may be closed
            channel = getattr(self._question.channel, "mention", "")
            await self._question.author.send(MAY_NOT_WRITE.say(self._language, channel=channel))

    def pause(self) -> float:
        """What Discord reported about editing in this channel."""
        return pause_between_edits(self._context.client.http, self._question.channel.id)

    def close(self) -> None:
        """End the typing indicator."""
        self._end_typing()

    async def _send(self, content: str, view: ui.View | None, at: int) -> discord.Message:
        more: dict[str, Any] = {"view": view} if view else {}
        if at == 0 and _may_reply(self._question):
            more["reference"] = self._question.to_reference(fail_if_not_exists=False)
        return await self._question.channel.send(content, nonce=nonce_of(self._question, at), **more)


class ResponseSurface(_Surface):
    """An answer as the response to an interaction that was deferred; `heading` stands above it.

    An interaction ends after 15 minutes; what is to be shown then is shown by ordinary edits.
    """

    def __init__(
        self,
        context: DiscordContext,
        interaction: Interaction,
        question_id: str,
        language: Language,
        *,
        heading: str = "",
    ) -> None:
        super().__init__(question_id, language, thread=False)
        self._context = context
        self._interaction = interaction
        self._heading = heading

    async def report_refusal(self) -> None:
        """Tell the member where only they see it."""
        with contextlib.suppress(discord.HTTPException):
            text = MAY_NOT_WRITE.say(self._language, channel="")
            await self._interaction.followup.send(text, ephemeral=True)

    def pause(self) -> float:
        """None: the library holds back edits of responses itself, and does not say how long."""
        return 0.0

    async def _lay_out(self, text: str, view: ui.View | None) -> None:
        await super()._lay_out(f"{self._heading}\n{text}" if self._heading else text, view)

    async def _send(self, content: str, view: ui.View | None, at: int) -> discord.Message:
        more: dict[str, Any] = {"view": view} if view else {}
        if not self._interaction.is_expired():
            if at == 0:
                return await self._interaction.edit_original_response(content=content, **more)
            return await self._interaction.followup.send(content, wait=True, **more)
        sent: discord.Message = await self._channel().send(content, **more)
        return sent

    async def _edit(self, message: Any, content: str, view: ui.View | None) -> None:
        await self._through(message).edit(content=content, view=view)

    async def _delete(self, message: Any) -> None:
        await self._through(message).delete()

    def _through(self, message: Any) -> Any:
        """The message by the interaction's rights, or by the bot's own once the interaction has expired."""
        return self._channel().get_partial_message(message.id) if self._interaction.is_expired() else message

    def _channel(self) -> Any:
        return self._interaction.channel


def nonce_of(question: discord.Message, at: int) -> str:
    """What makes an answer's message, sent twice, as after a 5xx that was none, appear once."""
    return f"{question.id}-{at}"


def may_write(channel: Any, me: discord.abc.User) -> bool:
    """Whether the bot may write in that channel."""
    guild: discord.Guild | None = getattr(channel, "guild", None)
    if guild is None:
        return True
    may = channel.permissions_for(guild.me)
    in_thread = isinstance(channel, discord.Thread)
    return bool(may.view_channel and (may.send_messages_in_threads if in_thread else may.send_messages))


def _may_reply(question: discord.Message) -> bool:
    # Discord refuses replies to what the bot could not read later
    guild = question.guild
    return guild is None or question.channel.permissions_for(guild.me).read_message_history


def _ids(view: ui.View | None) -> tuple[str, ...]:
    return tuple(str(getattr(item, "custom_id", "")) for item in view.children) if view else ()


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Discord's refusals in the words of the core; other faults pass."""
    try:
        yield
    except discord.NotFound as error:
        if error.code in (UNKNOWN_MESSAGE, UNKNOWN_CHANNEL):
            raise MessageGone from error
        raise
    except discord.Forbidden as error:
        raise MayNotWrite from error
