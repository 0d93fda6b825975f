"""Nothing asked is forgotten: what came while the bot was away, what was cut off, what takes too long.

Every guild's channels know their last message, so only those that went on without us are read. What is young
is answered, what is old gets one apology. A channel that cannot be read keeps nothing else waiting: its own
bookmark stays, the supervisor tries again, and how far all was heard moves on.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

import aiohttp
import discord
import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from bot.chat.button_codes import ButtonCode
from bot.chat.splitting import split
from bot.commands import privacy
from bot.commands.settings import language_for
from bot.errors import TookTooLong
from bot.platforms.discord.answering import answer_message, look_up_message, reply
from bot.platforms.discord.context import PLATFORM, DiscordContext
from bot.platforms.discord.pacing import Rounds
from bot.platforms.discord.questions import is_question, message_of, question_text
from bot.platforms.discord.surfaces import MOST_CHARACTERS, UNKNOWN_MESSAGE
from bot.supervisor import end
from bot.texts import WAS_AWAY, describe_error
from feedback import journal, open_questions
from feedback.open_questions import Waiting
from feedback.tables import Turn, now

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
"""How many messages after a question are looked through for those that show its answer."""

MOST_DIRECT: Final = 200
HEARD: Final = "heard"
"""The bookmark of everything: no message before it was missed, but in channels that are marked as unread."""

UNREAD: Final = "unread:"
"""What the bookmark of a channel begins with that could not be read yet."""

PAGE: Final = 100
"""How many messages Discord gives at once."""

log = structlog.get_logger(__name__)


class CatchUp:
    """Looks after the questions of one client."""

    def __init__(self, context: DiscordContext) -> None:
        self._context = context
        self._away: set[int] = set()
        self._caught_up = False
        self._catching_up: asyncio.Task[None] | None = None
        self._upkeep: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._resumed: set[str] = set()
        self._stopped = False

    def away(self, shard_id: int) -> None:
        """A shard no longer hears."""
        self._away.add(shard_id)

    def back(self, shard_id: int) -> None:
        """A shard hears again."""
        self._away.discard(shard_id)

    @property
    def hears(self) -> bool:
        """Whether every shard is connected."""
        return not self._away

    async def returned(self) -> None:
        """Catch up, and look after the questions from now on."""
        if self._stopped:
            return
        if self._catching_up is None or self._catching_up.done():
            reconnected, self._caught_up = self._catching_up is not None, False
            self._catching_up = self._watch(
                "Discord catch-up", partial(self._catch_up, reconnected=reconnected)
            )
        if self._upkeep is None:
            self._upkeep = self._watch("Discord upkeep", self._look_after)

    async def stop(self) -> None:
        """End what is under way; open questions stay open in the record."""
        self._stopped = True
        if self._upkeep is not None:
            await end(self._upkeep)
        # what comes from here on is no longer answered, nor what still waits for the record
        heard = None if self._context.record_waits.waiting else discord.utils.utcnow()
        await self._context.answers.leave(STOP_S)
        await end(*self._tasks)
        if heard is not None:
            await self._keep_heard(heard)

    def _watch(self, name: str, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Let the supervisor keep `work` going until it is done, or until we stop."""
        task = self._context.core.supervisor.watch(name, work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _look_after(self) -> None:
        await Rounds(self.look, LOOK_EVERY_S).start()

    async def look(self) -> None:
        """Keep how far we heard, and tell members whose question was forgotten."""
        await self._keep_heard()
        limit = self._context.assistant.options.answer_seconds + GRACE_S
        for question in self._context.answers.overdue(limit):
            log.error("an answer was overdue", question=question.external_id)
        too_old = now() - timedelta(seconds=limit)
        for one in await self._open():
            # what waited for this start is not forgotten: catching up comes to it
            resumed = not self._caught_up or one.turn.external_id in self._resumed
            if one.turn.asked_at < too_old and not resumed and not self._is_live(one):
                await (self._finish(one) if one.turn.state == "answered" else self._report_forgotten(one))

    async def _open(self) -> list[Waiting]:
        async with self._context.core.database.session(read_only=True) as session:
            return await open_questions.all_open(session, PLATFORM)

    async def _catch_up(self, *, reconnected: bool) -> None:
        async with self._context.core.database.session(read_only=True) as session:
            marks = await journal.bookmarks(session, PLATFORM)
        for one in await self._open():
            try:
                await self._finish(one)
            except Exception as error:  # whatever it is, it must not keep the others from being finished
                log.warning("a question could not be finished yet", turn=one.turn.id, why=repr(error))
                self._watch(f"Discord question {one.turn.id}", partial(self._finish, one))
        for channel, since in self._to_read(marks, reconnected=reconnected):
            try:
                await self._read(channel, since)
            except Exception as error:  # nor must one channel keep the others from being read
                log.warning("a channel could not be read yet", channel=channel.id, why=repr(error))
                await self._read_later(channel, since)
        self._caught_up = True
        await self._keep_heard()

    def _to_read(self, marks: dict[str, str], *, reconnected: bool) -> list[tuple[Any, int]]:
        """The channels that went on without us, and after which message."""
        if HEARD not in marks:
            return []
        partial_channel = self._context.client.get_partial_messageable
        unread = {int(key.removeprefix(UNREAD)): int(last) for key, last in marks.items() if UNREAD in key}
        found = [
            (self._context.client.get_channel(key) or partial_channel(key), unread[key]) for key in unread
        ]
        heard = discord.utils.snowflake_time(int(marks[HEARD]))
        if reconnected:
            heard -= OVERLAP
        since = max(discord.utils.time_snowflake(heard), _oldest())
        found += [(one, since) for one in self._channels_gone_on(since) if one.id not in unread]
        known = {int(key): int(last) for key, last in marks.items() if key.isdigit()}
        newest = sorted(known, key=lambda key: known[key], reverse=True)[:MOST_DIRECT]
        found += [(partial_channel(key), known[key]) for key in newest if key not in unread]
        return found

    async def _read_later(self, channel: Any, since: int) -> None:
        async with self._context.core.database.session() as session:
            await journal.move_bookmark(session, PLATFORM, f"{UNREAD}{channel.id}", str(since))
        self._watch(f"Discord channel {channel.id}", partial(self._read, channel, since))

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
            async for message in self._history(channel, max(since, _oldest())):
                if (
                    self._context.is_first(message.id)
                    and is_question(
                        message, self._context.me(), own, answer_bots=self._context.settings.answer_bots
                    )
                    and (await look_up_message(self._context, message)).wanted
                ):
                    await self._answer_or_apologise(message)
        except (discord.Forbidden, discord.NotFound) as error:  # closed to us meanwhile, or gone
            log.info("a channel can no longer be read", channel=channel.id, why=str(error))
        async with self._context.core.database.session() as session:
            await journal.drop_bookmark(session, PLATFORM, f"{UNREAD}{channel.id}")

    async def _history(self, channel: Any, since: int) -> AsyncIterator[discord.Message]:
        """The messages of a channel after `since`, oldest first, without those that cannot be understood."""
        try:
            async for message in channel.history(after=discord.Object(since), limit=None, oldest_first=True):
                yield message
            return
        except (discord.HTTPException, aiohttp.ClientError, OSError):
            raise
        except Exception as error:  # whatever the library makes of a message that it does not understand
            log.warning("a channel is read message by message", channel=channel.id, why=repr(error))
        while page := await self._context.client.http.logs_from(channel.id, PAGE, after=since):
            for number in sorted(int(one["id"]) for one in page):
                since = number
                try:
                    yield await channel.fetch_message(number)
                except discord.NotFound:
                    continue
                except (discord.HTTPException, aiohttp.ClientError, OSError):
                    raise
                except Exception as error:  # this is the one
                    log.error("a message could not be understood", message=number, why=repr(error))

    async def _answer_or_apologise(
        self, message: discord.Message, begun: list[discord.Message] | None = None
    ) -> None:
        if discord.utils.utcnow() - message.created_at <= YOUNG:
            task = asyncio.create_task(answer_message(self._context, message, late=True, begun=begun))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            self._resumed.add(str(message.id))
            task.add_done_callback(lambda _: self._resumed.discard(str(message.id)))
            return
        text = question_text(message, self._context.me())
        setting = (await self._context.community(message.guild)).language
        await reply(message, WAS_AWAY.say(language_for(setting, text)))

    async def _finish(self, one: Waiting) -> None:
        """Answer what an earlier process was cut off from, in the messages that it had begun."""
        if self._is_live(one):
            return
        try:
            message = await self._question_of(one)
        except (discord.Forbidden, discord.NotFound) as error:  # closed to us meanwhile
            log.info("a question can no longer be read", turn=one.turn.id, why=str(error))
            await self._give_up(one)
            return
        if message is not None:
            self._context.is_first(message.id)  # whoever reads its channel leaves it alone
        begun = [shown async for shown in self._begun(one)]
        has_thumbs = any(code.turn_id == one.turn.id for shown in begun for code in _codes(shown))
        if has_thumbs and one.turn.state == "answered":
            await self._note_shown(one, begun)
        elif message is not None:
            is_old = discord.utils.utcnow() - message.created_at > YOUNG
            if is_old:
                await self._give_up(one)
            if is_old and begun:
                await self._end_begun(one, begun)
            else:
                await self._answer_or_apologise(message, begun)
        elif any(shown.interaction_metadata is not None for shown in begun):
            await self._end_begun(one, begun)
            await self._give_up(one)
        else:  # its member took the question back
            await privacy.erase_question(
                self._context.core.database, PLATFORM, one.community.external_id, one.turn.external_id
            )
            for shown in begun:
                with contextlib.suppress(discord.HTTPException):
                    await shown.delete()

    async def _begun(self, one: Waiting) -> AsyncIterator[discord.Message]:
        """The messages that show an answer under way: replies to the question, or a command's response."""
        since = message_of(one.turn) or discord.utils.time_snowflake(one.turn.asked_at)
        history = self._channel_of(one).history(
            after=discord.Object(since), limit=MOST_MESSAGES, oldest_first=True
        )
        rest = split(one.turn.answer, MOST_CHARACTERS)[1:]
        with contextlib.suppress(discord.Forbidden, discord.NotFound):
            async for message in history:
                if message.author.id == self._context.me().id and (
                    _answers(message, one.turn) or (message.reference is None and message.content in rest)
                ):
                    yield message

    async def _note_shown(self, one: Waiting, shown: list[discord.Message]) -> None:
        async with self._context.core.database.session() as session:
            kept = await journal.find_turn(session, one.turn.id or 0)
            for message in shown:
                await journal.note_message(session, kept, str(message.id))
            await self._drop(session, one)

    async def _end_begun(self, one: Waiting, begun: list[discord.Message]) -> None:
        """Let an answer that was begun and will not be finished say so, instead of looking under way."""
        language = language_for(one.community.language, one.turn.question)
        await self._append_notice(one, begun, WAS_AWAY.say(language))

    async def _append_notice(self, one: Waiting, begun: list[discord.Message], text: str) -> None:
        """Add a notice to an answer that was begun, and take its buttons away."""
        last = begun[-1]
        with contextlib.suppress(discord.HTTPException):
            await last.edit(content=f"{last.content}\n\n{text}".strip()[-MOST_CHARACTERS:], view=None)
        async with self._context.core.database.session() as session:
            kept = await journal.find_turn(session, one.turn.id or 0)
            await journal.note_message(session, kept, str(last.id))

    async def _report_forgotten(self, one: Waiting) -> None:
        """Tell the member that their question was forgotten, and count it as failed."""
        reference = secrets.token_hex(4)
        log.error("a question was forgotten", turn=one.turn.id, reference=reference)
        async with self._context.core.database.session() as session:
            await journal.record_failure(session, one.turn.id or 0, reference)
            await self._drop(session, one)
        text = describe_error(TookTooLong(reference), language_for(one.community.language, one.turn.question))
        with contextlib.suppress(discord.HTTPException):
            message = await self._question_of(one)
            if message is not None:
                await reply(message, text)
            elif begun := [shown async for shown in self._begun(one)]:
                await self._append_notice(one, begun, text)

    async def _question_of(self, one: Waiting) -> discord.Message | None:
        """The message that asked; None when it is gone, or was no message. Raises what else Discord says."""
        message_id = message_of(one.turn)
        if message_id is None:
            return None
        try:
            message: discord.Message = await self._channel_of(one).fetch_message(message_id)
        except discord.NotFound as error:
            if error.code != UNKNOWN_MESSAGE:
                raise
            return None
        return message

    def _channel_of(self, one: Waiting) -> Any:
        client, channel = self._context.client, int(one.shown_in["channel"])
        return client.get_channel(channel) or client.get_partial_messageable(channel)

    async def _give_up(self, one: Waiting) -> None:
        async with self._context.core.database.session() as session:
            await journal.record_cancelled(session, one.turn.id or 0)
            await self._drop(session, one)

    async def _drop(self, session: AsyncSession, one: Waiting) -> None:
        await open_questions.drop(session, PLATFORM, one.community.external_id, one.turn.external_id)

    async def _keep_heard(self, until: datetime | None = None) -> None:
        """Keep that all until then (None is now) was heard.

        Not while a shard is deaf or not caught up, nor while a question waits for the record, which has
        nothing of it yet.
        """
        if self._away or not self._caught_up or self._context.record_waits.waiting:
            return
        mark = str(discord.utils.time_snowflake((until or discord.utils.utcnow()) - ON_ITS_WAY))
        async with self._context.core.database.session() as session:
            await journal.move_bookmark(session, PLATFORM, HEARD, mark)

    def _is_live(self, one: Waiting) -> bool:
        return self._context.answers.find(one.community.external_id, one.turn.external_id) is not None


def _oldest() -> int:
    """What no message is older than that still gets an apology."""
    return discord.utils.time_snowflake(discord.utils.utcnow() - OLDEST)


def _answers(message: discord.Message, turn: Turn) -> bool:
    """Whether our message was begun as the answer to that turn's question, or ends it."""
    if message.reference is not None and str(message.reference.message_id) == turn.external_id:
        return True
    responds = message.interaction_metadata
    if responds is not None and (message.flags.loading or str(responds.id) == turn.external_id):
        return True
    return any(code.detail == turn.external_id or code.turn_id == turn.id for code in _codes(message))


def _codes(message: discord.Message) -> Iterator[ButtonCode]:
    """What the buttons under a message carry."""
    for line in message.components:
        for item in getattr(line, "children", ()):
            code = ButtonCode.parse(str(getattr(item, "custom_id", "")))
            if code is not None:
                yield code
