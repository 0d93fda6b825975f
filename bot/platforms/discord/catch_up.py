"""Nothing asked is forgotten: what came while the bot was away, what was cut off, what takes too long.

Every guild's channels know their last message, so only those that went on without us are read. What is young
is answered, what is old gets one apology.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any, Final

import discord
import structlog
from discord.ext import tasks

from bot.chat.button_codes import ButtonCode
from bot.commands import privacy
from bot.commands.settings import language_for
from bot.errors import TookTooLong
from bot.platforms.discord.answering import answer_message, reply
from bot.platforms.discord.context import PLATFORM, DiscordContext, place_in
from bot.platforms.discord.questions import channel_of, is_question, message_of, question_text
from bot.platforms.discord.surfaces import MOST_CHARACTERS, UNKNOWN_MESSAGE
from bot.texts import WAS_AWAY, describe_error
from feedback import journal
from feedback.tables import Community, Conversation, Turn, now

LOOK_EVERY_S: Final = 20
YOUNG: Final = timedelta(minutes=15)
"""Questions of this age are still answered after an absence; older ones get an apology."""

OLDEST: Final = timedelta(days=2)
"""What is older than that is let be: an apology would only puzzle."""

GRACE_S: Final = 60
"""How long after the time for answers a question without one counts as forgotten."""

OVERLAP: Final = timedelta(minutes=2)
"""A connection may have been dead for so long before anybody notices; what was heard is not taken twice."""

ON_ITS_WAY: Final = timedelta(seconds=2)
"""How long a message may take to reach us."""

STOP_S: Final = 3.0
"""How long answers may still take to end when the service stops."""

MOST_MESSAGES: Final = 500
MOST_DIRECT: Final = 200
HEARD: Final = "heard"
"""The bookmark of everything: no message before it was missed."""

log = structlog.get_logger(__name__)


class CatchUp:
    """Looks after the questions of one client."""

    def __init__(self, context: DiscordContext) -> None:
        self._context = context
        self._away: set[int] = set()
        self._caught_up = False
        self._catching_up: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False

    def away(self, shard_id: int) -> None:
        """A shard no longer hears."""
        self._away.add(shard_id)

    def back(self, shard_id: int) -> None:
        """A shard hears again."""
        self._away.discard(shard_id)

    async def returned(self) -> None:
        """Catch up, and look after the questions from now on."""
        if self._stopped:
            return
        if self._catching_up is None or self._catching_up.done():
            reconnected, self._caught_up = self._catching_up is not None, False
            self._catching_up = asyncio.create_task(self._catch_up(reconnected=reconnected))
        if not self._look.is_running():
            self._look.start()

    async def stop(self) -> None:
        """End what is under way; open questions stay open in the record."""
        self._stopped = True
        self._look.cancel()
        heard = discord.utils.utcnow()  # what comes from here on is no longer answered
        await self._context.answers.leave(STOP_S)
        started = [task for task in (self._catching_up, *self._tasks) if task is not None]
        for task in started:
            task.cancel()
        await asyncio.gather(*started, return_exceptions=True)
        await self._keep_heard(heard)

    @tasks.loop(seconds=LOOK_EVERY_S)
    async def _look(self) -> None:
        try:
            await self.look()
        except Exception:  # a fault of one round must not end the rounds
            log.exception("looking after questions failed")

    async def look(self) -> None:
        """Keep how far we heard, and tell members whose question was forgotten."""
        await self._keep_heard()
        limit = self._context.assistant.options.answer_seconds + GRACE_S
        for question in self._context.answers.overdue(limit):
            log.error("an answer was overdue", question=question.external_id)
        async with self._context.core.database.session(read_only=True) as session:
            waiting = await journal.unanswered(session, PLATFORM)
        too_old = now() - timedelta(seconds=limit)
        for turn, community in waiting:
            if turn.asked_at < too_old and not self._is_live(turn, community):
                await self._confess(turn, community)

    async def _catch_up(self, *, reconnected: bool) -> None:
        async with self._context.core.database.session(read_only=True) as session:
            marks = await journal.bookmarks(session, PLATFORM)
            cut_off = await journal.unanswered(session, PLATFORM)
            cut_off += await journal.undelivered(session, PLATFORM, now() - YOUNG)
        for turn, community in cut_off:
            await self._finish(turn, community)
        if HEARD in marks:
            oldest = discord.utils.time_snowflake(discord.utils.utcnow() - OLDEST)
            heard = discord.utils.snowflake_time(int(marks[HEARD]))
            if reconnected:
                heard -= OVERLAP
            since = max(discord.utils.time_snowflake(heard), oldest)
            for channel in self._channels_gone_on(since):
                await self._read(channel, since)
            known = {key: int(last) for key, last in marks.items() if key.isdigit()}
            newest = sorted(known, key=lambda key: known[key], reverse=True)[:MOST_DIRECT]
            for key in newest:
                await self._read(self._context.client.get_partial_messageable(int(key)), known[key])
        self._caught_up = True
        await self._keep_heard()

    def _channels_gone_on(self, since: int) -> list[Any]:
        found: list[Any] = []
        for guild in self._context.client.guilds:
            channels: tuple[Any, ...] = (*guild.text_channels, *guild.voice_channels, *guild.threads)
            for channel in channels:
                if (channel.last_message_id or 0) > since:
                    may = channel.permissions_for(guild.me)
                    if may.view_channel and may.read_message_history:
                        found.append(channel)
        return found

    async def _read(self, channel: Any, since: int) -> None:
        """Answer or apologise for the questions of a channel after the message `since`."""
        own: tuple[str, ...] = ()
        if getattr(channel, "guild", None) is not None:
            own = (await self._context.community(channel.guild)).own_channels
        try:
            async for message in channel.history(
                after=discord.Object(since), limit=MOST_MESSAGES, oldest_first=True
            ):
                if (
                    self._context.is_first(message.id)
                    and is_question(
                        message, self._context.me(), own, answer_bots=self._context.settings.answer_bots
                    )
                    and await self._context.answers.wants(place_in(message.guild), str(message.id))
                ):
                    await self._answer_or_apologise(message)
        except discord.HTTPException as error:  # gone, or closed to us meanwhile
            log.info("a channel could not be read", channel=channel.id, why=str(error))

    async def _answer_or_apologise(
        self, message: discord.Message, begun: list[discord.Message] | None = None
    ) -> None:
        if discord.utils.utcnow() - message.created_at <= YOUNG:
            task = asyncio.create_task(answer_message(self._context, message, late=True, begun=begun))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        text = question_text(message, self._context.me())
        setting = (await self._context.community(message.guild)).language
        await reply(message, WAS_AWAY.say(language_for(setting, text)))

    async def _finish(self, turn: Turn, community: Community) -> None:
        """Answer what an earlier process was cut off from, in the messages that it had begun."""
        if self._is_live(turn, community):
            return
        if await self._channel_of(turn) is None:  # asked through the API: its caller has gone, or waits there
            await self._give_up(turn)
            return
        try:
            message = await self._question_of(turn)
        except discord.HTTPException as error:  # closed to us meanwhile
            log.info("a question can no longer be read", turn=turn.id, why=str(error))
            await self._give_up(turn)
            return
        if message is not None:
            self._context.is_first(message.id)  # whoever reads its channel leaves it alone
        begun = [one async for one in self._begun(turn)]
        if message is not None:
            if discord.utils.utcnow() - message.created_at > YOUNG:
                await self._give_up(turn)
            await self._answer_or_apologise(message, begun)
        elif any(one.interaction_metadata is not None for one in begun):
            await self._give_up(turn)
            await self._excuse(turn, begun, WAS_AWAY.say(language_for(community.language, turn.question)))
        else:  # its member took the question back
            await privacy.erase_question(
                self._context.core.database, PLATFORM, community.external_id, turn.external_id
            )
            for one in begun:
                with contextlib.suppress(discord.HTTPException):
                    await one.delete()

    async def _begun(self, turn: Turn) -> AsyncIterator[discord.Message]:
        """The messages that show an answer under way: replies to the question, or a command's response."""
        channel = await self._channel_of(turn)
        if channel is None:
            return
        since = message_of(turn) or discord.utils.time_snowflake(turn.asked_at)
        with contextlib.suppress(discord.HTTPException):
            async for message in channel.history(after=discord.Object(since), limit=50, oldest_first=True):
                if message.author.id == self._context.me().id and _answers(message, turn.external_id):
                    yield message

    async def _excuse(self, turn: Turn, begun: list[discord.Message], text: str) -> None:
        """Say it under what a command or button had begun to answer; its question is no message."""
        last = begun[-1]
        with contextlib.suppress(discord.HTTPException):
            await last.edit(content=f"{last.content}\n\n{text}".strip()[-MOST_CHARACTERS:], view=None)
        async with self._context.core.database.session() as session:
            kept = await journal.find_turn(session, turn.id or 0)
            await journal.note_message(session, kept, str(last.id))

    async def _confess(self, turn: Turn, community: Community) -> None:
        """Tell the member that their question was forgotten, and count it as failed."""
        reference = secrets.token_hex(4)
        log.error("a question was forgotten", turn=turn.id, reference=reference)
        async with self._context.core.database.session() as session:
            await journal.record_failure(session, turn.id or 0, reference)
        text = describe_error(TookTooLong(reference), language_for(community.language, turn.question))
        with contextlib.suppress(discord.HTTPException):
            message = await self._question_of(turn)
            if message is not None:
                await reply(message, text)
            elif begun := [one async for one in self._begun(turn)]:
                await self._excuse(turn, begun, text)

    async def _question_of(self, turn: Turn) -> discord.Message | None:
        """The message that asked; None when it is gone, or was no message. Raises what else Discord says."""
        channel, message_id = await self._channel_of(turn), message_of(turn)
        if channel is None or message_id is None:
            return None
        try:
            message: discord.Message = await channel.fetch_message(message_id)
        except discord.NotFound as error:
            if error.code != UNKNOWN_MESSAGE:
                raise
            return None
        return message

    async def _channel_of(self, turn: Turn) -> Any:
        """The channel where a turn was asked; None where it was severed from it."""
        async with self._context.core.database.session(read_only=True) as session:
            conversation = await session.get_one(Conversation, turn.conversation_id)
        channel_id = channel_of(conversation.external_id)
        if channel_id is None:
            return None
        client = self._context.client
        return client.get_channel(channel_id) or client.get_partial_messageable(channel_id)

    async def _give_up(self, turn: Turn) -> None:
        async with self._context.core.database.session() as session:
            await journal.record_cancelled(session, turn.id or 0)

    async def _keep_heard(self, until: datetime | None = None) -> None:
        """Keep that all until then (None is now) was heard, unless a shard is deaf or not caught up."""
        if self._away or not self._caught_up:
            return
        mark = str(discord.utils.time_snowflake((until or discord.utils.utcnow()) - ON_ITS_WAY))
        async with self._context.core.database.session() as session:
            await journal.move_bookmark(session, PLATFORM, HEARD, mark)

    def _is_live(self, turn: Turn, community: Community) -> bool:
        return self._context.answers.find(community.external_id, turn.external_id) is not None


def _answers(message: discord.Message, question_id: str) -> bool:
    """Whether our message was begun as the answer to that question."""
    if message.reference is not None and str(message.reference.message_id) == question_id:
        return True
    if message.interaction_metadata is None:
        return False
    if message.flags.loading or str(message.interaction_metadata.id) == question_id:
        return True
    codes = [
        ButtonCode.parse(str(getattr(item, "custom_id", "")))
        for line in message.components
        for item in getattr(line, "children", ())
    ]
    return any(code is not None and code.detail == question_id for code in codes)
