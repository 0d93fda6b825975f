"""The whole bot on simcord's Discord: real client, assistant and engine over a tiny model, real database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import discord
import pytest
import simcord
import torch
from simcord.backend import serializers
from sqlmodel import SQLModel, col, select
from transformers import AutoModelForCausalLM, AutoTokenizer

from bot.answering.answerer import Sampling
from bot.assistant import Assistant, AssistantOptions
from bot.core import Core
from bot.knowledge.documents.library import Library
from bot.platforms.discord.client import ThumbloopDiscord
from bot.settings import DiscordSettings
from feedback import journal
from feedback.database import Database
from feedback.tables import Community, Turn, Vote
from tests.bot.assembly import core_of
from tests.doubles.discord_model import SteeredAnswerer
from tests.doubles.retrainer import Retrainer
from tests.doubles.tiny_model import write_tiny_model

OPTIONS = AssistantOptions(
    persona="Be brief.",
    mode="default",
    sampling=Sampling(temperature=1.5, seed=3, max_new_tokens=24),
    history_turns=4,
    max_question_characters=1000,
)


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SteeredAnswerer]:
    """One engine for all tests: it has no memory of its own that a test could see."""
    folder = write_tiny_model(tmp_path_factory.mktemp("tiny"))
    made = SteeredAnswerer(
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
        AutoTokenizer.from_pretrained(folder),
        name="tiny",
        revision="r1",
        max_running=4,
        max_waiting=8,
    )
    yield made
    made._worker.close()


@pytest.fixture
def answerer(engine: SteeredAnswerer) -> SteeredAnswerer:
    """The engine, steered by nobody yet."""
    engine.reset()
    return engine


@pytest.fixture
def dialect(request: pytest.FixtureRequest) -> str:
    """SQLite, unless a test asks for others: the record's own tests try everything on both."""
    return str(getattr(request, "param", "sqlite"))


@pytest.fixture
def core(database: Database, tmp_path: Path) -> Core:
    """What the service hands on."""
    return core_of(database, tmp_path)


@pytest.fixture
def assistant(core: Core, answerer: SteeredAnswerer) -> Assistant:
    """The real assistant."""
    return Assistant(core, answerer, OPTIONS)


@pytest.fixture
def retrainer() -> Retrainer:
    return Retrainer()


@pytest.fixture
def discord_settings() -> DiscordSettings:
    return DiscordSettings()


@pytest.fixture
def library() -> Library | None:
    """The documents of communities; a module that needs them has its own."""
    return None


@pytest.fixture
def simcord_bot(
    core: Core,
    assistant: Assistant,
    retrainer: Retrainer,
    discord_settings: DiscordSettings,
    library: Library | None,
) -> ThumbloopDiscord:
    """The bot, as the service makes it; simcord wants to know the number of shards."""
    return ThumbloopDiscord(discord_settings, core, assistant, retrainer, library, shard_count=1)


@dataclass
class Town:
    """A server with a channel and a few people, and what the record says about it."""

    env: simcord.Env
    database: Database
    answerer: SteeredAnswerer
    core: Core
    assistant: Assistant
    guild: simcord.GuildHandle
    channel: simcord.ChannelHandle
    ada: simcord.MemberActor
    ben: simcord.MemberActor
    moderator: simcord.MemberActor
    admin: simcord.MemberActor

    @property
    def bot(self) -> Any:
        return self.env.bot

    @property
    def mention(self) -> str:
        return f"<@{self.bot.user.id}>"

    async def ask(self, text: str, *, by: simcord.MemberActor | None = None, **more: Any) -> discord.Message:
        """Ask with a mention; the message that asks."""
        return await (by or self.ada).send(self.channel, f"{self.mention} {text}", **more)

    def answers(self, channel: simcord.ChannelHandle | None = None) -> list[discord.Message]:
        """What the bot has written in the channel, oldest first."""
        return [one for one in (channel or self.channel).history() if one.author.id == self.bot.user.id]

    async def rows(self, kind: type[SQLModel]) -> list[Any]:
        """Every row of a table, oldest first."""
        async with self.database.session(read_only=True) as session:
            return list((await session.exec(select(kind).order_by(col(kind.id)))).all())  # type: ignore[attr-defined]

    async def turns(self) -> list[Turn]:
        return await self.rows(Turn)

    async def votes(self) -> list[tuple[int, str, str]]:
        return [(vote.value, vote.reason, vote.suggested_answer) for vote in await self.rows(Vote)]

    async def set(self, **values: Any) -> None:
        """Set the server's community, as an administrator would have done before."""
        async with self.database.session() as session:
            row = await journal.community(session, "discord", str(self.guild.id), name=self.guild.name)
            row.sqlmodel_update({"cooldown_seconds": 0} | values)
            session.add(row)
        self.bot.context.communities.forget(str(self.guild.id))

    async def community(self) -> Community:
        async with self.database.session(read_only=True) as session:
            row = await journal.community_of(session, "discord", str(self.guild.id))
            assert row is not None
            return row

    def hold(self, after: int = 2) -> None:
        """Let the model pause after that many pieces, until `release`."""
        self.answerer.hold_after = after
        self.answerer.wait = lambda waiting: self.env.external_wait(waiting, reason="the model thinks")

    async def release(self) -> None:
        self.answerer.go.set()
        self.answerer.hold_after = None
        await self.env.settle()

    async def restart(self) -> None:
        """End the bot and start it anew, as a deployment does; Discord and the record stay."""
        old = self.bot
        await self.env.restart_bot(
            ThumbloopDiscord(
                old.context.settings,
                old.context.core,
                old.context.assistant,
                old.context.retraining,
                shard_count=old.shard_count,
            )
        )

    def write(self, text: str, *, by: int, channel: simcord.ChannelHandle | None = None, **more: Any) -> Any:
        """Let a message arrive without waiting for what the bot does about it."""
        return self.env.backend.create_message((channel or self.channel).id, by, text, **more)

    def deliver_again(self, message: discord.Message) -> None:
        """Let the gateway deliver a message once more."""
        stored = self.env.backend.get_message(message.channel.id, message.id)
        payload = dict(serializers.message_payload(self.env.backend, stored))
        self.env.backend.emit("MESSAGE_CREATE", payload)

    def calls(self, method: str = "") -> list[str]:
        """The calls to Discord so far, as "POST /channels/…/messages"."""
        return [f"{one.method} {one.path}" for one in self.env.http_requests if method in ("", one.method)]


@pytest.fixture
async def town(
    simcord_env: simcord.Env, database: Database, answerer: SteeredAnswerer, core: Core, assistant: Assistant
) -> AsyncIterator[Town]:
    simcord_env.settle_timeout = 60.0  # a busy machine is no fault of the bot's
    guild = simcord_env.create_guild("Gardeners")
    channel = guild.create_text_channel("general")
    moderators = guild.create_role("Moderators", permissions=discord.Permissions(manage_messages=True))
    admins = guild.create_role("Admins", permissions=discord.Permissions(manage_guild=True))

    def member(name: str, *roles: simcord.RoleHandle) -> simcord.MemberActor:
        return guild.add_member(simcord_env.create_user(name), roles=list(roles))

    made = Town(
        simcord_env,
        database,
        answerer,
        core,
        assistant,
        guild,
        channel,
        member("ada"),
        member("ben"),
        member("mod", moderators),
        member("admin", admins),
    )
    await simcord_env.settle()
    await made.set()
    yield made


async def every_turn(database: Database) -> list[Turn]:
    """Every turn in the record, oldest first."""
    async with database.session(read_only=True) as session:
        return list((await session.exec(select(Turn).order_by(col(Turn.id)))).all())


def said(shown: simcord.InteractionResult) -> str:
    """Everything that a response shows: content, embeds, and text among its components."""
    message = shown.response
    assert message is not None, shown
    parts = [message.content]
    for embed in message.embeds:
        parts += [embed.title or "", embed.description or ""]
        parts += [f"{field.name} {field.value}" for field in embed.fields]
    parts += [str(one.get("content", "")) for one in _walk(message.components)]
    return "\n".join(part for part in parts if part)


def _walk(components: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for one in components:
        yield one
        yield from _walk(one.get("components", []))
