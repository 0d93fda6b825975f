"""The Discord bot: receives events and hands each to the module for it; starts and stops.

`run_discord` runs until it is cancelled. One process serves as many shards as Discord asks for. An event that
the library cannot read is logged and left out; the connection lives.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import aiohttp
import discord
import structlog
import yarl
from discord import app_commands
from discord.backoff import ExponentialBackoff
from discord.gateway import DiscordWebSocket
from discord.http import Route

from bot.assistant import Assistant
from bot.chat.arrivals import Arrival, settings_or_arrival
from bot.chat.attachments import read_attachments
from bot.chat.button_codes import Action
from bot.commands import privacy
from bot.commands.training import Retraining
from bot.core import Core
from bot.knowledge.documents.library import Library
from bot.platforms.discord import feedback
from bot.platforms.discord.announcing import keep_telling
from bot.platforms.discord.answering import answer_message, look_up_message
from bot.platforms.discord.buttons import CodedButton, sent_form
from bot.platforms.discord.catch_up import CatchUp
from bot.platforms.discord.command_tree import Tree, sync_if_changed
from bot.platforms.discord.commands import adapter, rate, review
from bot.platforms.discord.commands import privacy as members
from bot.platforms.discord.commands import settings as panel
from bot.platforms.discord.context import PLATFORM, DiscordContext, Interaction, OnButton, OnForm, place_in
from bot.platforms.discord.errors import DiscordRefused
from bot.platforms.discord.permissions import role_of
from bot.platforms.discord.questions import attachments_of, is_question, question_text
from bot.settings import DiscordSettings
from bot.supervisor import end
from feedback.cancellation import insisting

AUTHENTICATION_FAILED: Final = 4004
NAME: Final = "Discord"
"""What the service calls us."""
_UNKNOWN_THREAD: Final[dict[str, Any]] = {
    "type": discord.ChannelType.public_thread.value,
    "parent_id": 0,
    "owner_id": 0,
    "name": "",
    "message_count": 0,
    "member_count": 0,
    "thread_metadata": {
        "archived": False,
        "auto_archive_duration": 1440,
        "archive_timestamp": "2020-01-01T00:00:00+00:00",
    },
}
"""What the library wants to be told of a thread. It knows every channel of a server, and not every thread."""

READY: Final = "READY"
"""The event without which there is no connection, so it is never left out."""

log = structlog.get_logger(__name__)


class ThumbloopDiscord(discord.AutoShardedClient):
    """Only listens: every event goes to the module for it."""

    def __init__(
        self,
        settings: DiscordSettings,
        core: Core,
        assistant: Assistant,
        retraining: Retraining,
        library: Library | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            intents=intents(),
            allowed_mentions=discord.AllowedMentions.none(),
            max_messages=None,  # raw events say enough
            chunk_guilds_at_startup=False,
            **options,
        )
        self.context = DiscordContext(
            client=self,
            settings=settings,
            core=core,
            assistant=assistant,
            retraining=retraining,
            library=library,
            on_button=BUTTONS,
            on_form=FORMS,
        )
        core.role_of[PLATFORM] = partial(role_of, self.context)
        self.tree: app_commands.CommandTree[Any] = Tree(self)
        self.catch_up = CatchUp(self.context)
        self._beside: list[asyncio.Task[None]] = []
        self._leave_out_unreadable_events()

    async def setup_hook(self) -> None:
        """Register what outlives a restart, and upload commands that changed, without waiting for it."""
        self.add_dynamic_items(CodedButton, panel.SettingControl)
        if self.context.settings.gateway_url:
            self._connect_to(self.context.settings.gateway_url)
        self._take_channels_by_id()
        watch = self.context.core.supervisor.watch
        self._beside = [
            watch("Discord commands", self._upload_commands),
            watch("Discord announcements", partial(keep_telling, self.context)),
        ]

    async def on_ready(self) -> None:
        """Find what was asked while we were away; also after a connection that could not be resumed."""
        self._note_connection()
        await self.catch_up.returned()

    async def on_shard_disconnect(self, shard_id: int) -> None:
        """Remember from when on questions may have been missed."""
        self.catch_up.away(shard_id)
        self._note_connection()

    async def on_shard_ready(self, shard_id: int) -> None:
        """The shard hears again."""
        self.catch_up.back(shard_id)
        self._note_connection()

    async def on_shard_resumed(self, shard_id: int) -> None:
        """The shard hears again, and Discord repeats what it missed."""
        self.catch_up.back(shard_id)
        self._note_connection()

    async def on_message(self, message: discord.Message) -> None:
        """Answer what is a question to us."""
        if not self.context.is_first(message.id):
            return
        me, settings = self.context.me(), self.context.settings
        with self.context.answers.expecting(place_in(message.guild).community, str(message.id)):
            arrival: Arrival | None = None
            own: tuple[str, ...] = ()
            if message.guild is not None:
                look_up = partial(look_up_message, self.context, message)
                try:
                    known, arrival = await settings_or_arrival(self.context, place_in(message.guild), look_up)
                    own = known.own_channels
                except Exception:  # whatever ails the record: who asks us something is told so below
                    log.exception("the settings of a server could not be read")
                    own = self.context.communities.own_channels_as_last_read(place_in(message.guild))
            if is_question(message, me, own, answer_bots=settings.answer_bots):
                await answer_message(self.context, message, arrival=arrival)

    async def on_raw_message_edit(self, event: discord.RawMessageUpdateEvent) -> None:
        """Let an answer under way follow its question."""
        community = place_in(self._guild(event.guild_id)).community
        text, attached = question_text(event.message, self.context.me()), attachments_of(event.message)
        if attached:
            most = self.context.assistant.options.max_question_characters
            text = (await read_attachments(text, attached, most)).text
        if text:
            self.context.answers.rewrite(community, str(event.message_id), text)

    async def on_raw_message_delete(self, event: discord.RawMessageDeleteEvent) -> None:
        """Forget a question that was deleted."""
        await self._forget_question(event.guild_id, event.channel_id, event.message_id)

    async def on_raw_bulk_message_delete(self, event: discord.RawBulkMessageDeleteEvent) -> None:
        """Forget questions that were deleted together."""
        for message_id in event.message_ids:
            await self._forget_question(event.guild_id, event.channel_id, message_id)

    async def on_raw_reaction_add(self, event: discord.RawReactionActionEvent) -> None:
        """Count a thumb."""
        await feedback.reacted(self.context, event)

    async def on_raw_reaction_remove(self, event: discord.RawReactionActionEvent) -> None:
        """Take a thumb back."""
        await feedback.reacted(self.context, event)

    async def on_interaction(self, interaction: Interaction) -> None:
        """Take a form that was sent; the library routes commands and buttons itself."""
        if interaction.type is discord.InteractionType.modal_submit:
            await sent_form(interaction)

    async def on_error(self, event_method: str, /, *args: Any, **kwargs: Any) -> None:
        """Log what no module caught; the member of a question has been told before it comes here."""
        log.exception("an event could not be handled", name=event_method)

    async def close(self) -> None:
        """Leave the answers under way for the next start, and disconnect."""
        await end(*self._beside)
        await self.catch_up.stop()
        await super().close()

    async def _upload_commands(self) -> None:
        try:
            await sync_if_changed(self.tree, self.context.core.database)
        except (discord.HTTPException, app_commands.AppCommandError) as error:
            raise DiscordRefused.commands(str(error)) from error

    def _note_connection(self) -> None:
        health = self.context.core.health
        if self.catch_up.hears:
            health.report(NAME, "ok")
        elif not self.is_closed():
            health.report(NAME, "down", "The connection to Discord broke; it is being renewed.")

    def _leave_out_unreadable_events(self) -> None:
        """Let an event that the library cannot read end itself alone, where it would end the connection."""

        def guarded(event: str, read: Callable[[Any], None]) -> Callable[[Any], None]:
            def read_or_leave_out(data: Any) -> None:
                try:
                    read(data)
                except Exception as error:  # whatever the library stumbles on; the data holds people's words
                    log.error(
                        "an event of Discord could not be read", event_name=event, why=type(error).__name__
                    )

            return read_or_leave_out

        parsers = self._connection.parsers  # the library has no other place for it
        for event, read in parsers.items():
            if event != READY:
                parsers[event] = guarded(event, read)

    def _connect_to(self, gateway: str) -> None:
        """Take this gateway instead of the one that the API names; for resuming as well."""
        ask = self.http.get_bot_gateway

        async def elsewhere() -> tuple[int, str, Any]:
            shards, _, limit = await ask()
            return shards, gateway, limit

        self.http.get_bot_gateway = elsewhere  # type: ignore[method-assign]  # the library has no setting
        DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(gateway)

    def _take_channels_by_id(self) -> None:
        """Let interactions that name their channel by its id alone have it; the library drops that id."""
        parse = self._connection.parsers["INTERACTION_CREATE"]

        def with_channel(data: dict[str, Any]) -> None:
            if "channel" not in data and "channel_id" in data:
                channel = {"id": data["channel_id"]}
                if "guild_id" not in data:
                    direct = {"type": discord.ChannelType.private.value, "recipients": [data.get("user")]}
                    channel |= direct
                elif self.get_channel(int(data["channel_id"])) is None:
                    channel |= _UNKNOWN_THREAD
                data = {**data, "channel": channel}
            parse(data)

        self._connection.parsers["INTERACTION_CREATE"] = with_channel

    async def _forget_question(self, guild_id: int | None, channel_id: int, message_id: int) -> None:
        community = place_in(self._guild(guild_id)).community
        if self.context.answers.withdraw(community, str(message_id)):
            return
        shown = await privacy.erase_question(self.context.core.database, PLATFORM, community, str(message_id))
        channel = self.get_partial_messageable(channel_id)
        for answer in shown:
            if answer.isdigit():
                with contextlib.suppress(discord.HTTPException):  # no votes on what is no longer kept
                    await channel.get_partial_message(int(answer)).edit(view=None)

    def _guild(self, guild_id: int | None) -> discord.Guild | None:
        return self.get_guild(guild_id) if guild_id else None


def intents() -> discord.Intents:
    """The least that hears questions and thumbs; of Discord's privileged intents, message content alone."""
    wanted = discord.Intents.none()
    wanted.guilds = wanted.guild_messages = wanted.dm_messages = True
    wanted.guild_reactions = wanted.dm_reactions = True
    wanted.message_content = True
    return wanted


async def run_discord(
    settings: DiscordSettings,
    core: Core,
    assistant: Assistant,
    retraining: Retraining,
    library: Library | None = None,
) -> None:
    """Serve Discord until cancelled. Raises DiscordRefused, saying what to set, when Discord says no."""
    if settings.api_url:
        Route.BASE = settings.api_url.rstrip("/")
    waits = ExponentialBackoff()
    while True:
        client = ThumbloopDiscord(settings, core, assistant, retraining, library)
        try:
            async with client:
                await insisting(client.start(settings.token.get_secret_value()))
            return
        except discord.LoginFailure as error:
            raise DiscordRefused.token() from error
        except discord.PrivilegedIntentsRequired as error:
            raise DiscordRefused.message_content() from error
        except (
            OSError,
            aiohttp.ClientError,
            discord.HTTPException,
            discord.GatewayNotFound,
            discord.ConnectionClosed,
        ) as error:
            if isinstance(error, discord.ConnectionClosed) and error.code == AUTHENTICATION_FAILED:
                raise DiscordRefused.token() from error
            pause = waits.delay()
            log.warning("Discord cannot be reached", why=str(error), again_in_s=round(pause))
            core.health.report(NAME, "down", "Discord cannot be reached; it is tried again.")
            await asyncio.sleep(pause)


BUTTONS: Final[dict[Action, OnButton]] = {
    "up": feedback.thumb,
    "down": feedback.thumb,
    "again": feedback.again,
    "continue": feedback.go_on,
    "stop": feedback.stop,
    "thread": feedback.thread,
    "approve": review.decide,
    "reject": review.decide,
    "skip": review.decide,
    "undo": review.decide,
    "edit": review.edit,
    "rate": rate.tapped,
    "pass": rate.tapped,
    "unrate": rate.tapped,
    "switch": adapter.switched,
    "queue": review.queue_tapped,
    "card": review.card_tapped,
    "adapters": adapter.listed,
    "cancel": members.cancel,
    "optout": members.opt,
    "optin": members.opt,
    "export": members.export,
    "forget": members.forget,
    "forgetsure": members.forget_sure,
}
FORMS: Final[dict[Action, OnForm]] = {
    "reason": feedback.reason,
    "edit": review.edited,
    "persona": panel.sent,
    "cooldown": panel.sent,
}
