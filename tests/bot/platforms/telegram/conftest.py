"""The whole bot on a loopback Bot API: real library, assistant, engine (tiny model), database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from sqlmodel import SQLModel, col, select
from transformers import AutoModelForCausalLM, AutoTokenizer

from bot.answering.answerer import Sampling
from bot.assistant import Assistant, AssistantOptions
from bot.core import Core
from bot.knowledge.documents.library import Library
from bot.platforms.telegram.application import ThumbloopTelegram
from bot.platforms.telegram.pacing import Limits
from bot.settings import TelegramSettings
from feedback import incoming, journal
from feedback.database import Database
from feedback.incoming import Incoming
from feedback.tables import Community, Turn, Vote
from tests.bot.assembly import core_of
from tests.doubles.discord_model import SteeredAnswerer
from tests.doubles.retrainer import Retrainer
from tests.doubles.telegram_server import TOKEN, BotApi, group, person
from tests.doubles.tiny_model import write_tiny_model

OPTIONS = AssistantOptions(
    persona="Be brief.",
    mode="default",
    sampling=Sampling(temperature=1.5, seed=3, max_new_tokens=24),
    history_turns=4,
    max_question_characters=1000,
)
UNPACED = Limits(per_second=1000, per_second_in_chat=1000, per_minute_in_group=10_000)
"""So that what is not about pacing need not wait for it."""

ADA = person(1001, "Ada")
BEN = person(1002, "Ben")
ADMIN = person(1003, "Admin")
OPERATOR = person(1004, "Operator")
POLISH = person(1005, "Ola", "pl")
GARDEN = group(-1009, "Gardeners")
BOT = "@thumbloop_bot"


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def engine(model_folder: Path) -> Iterator[SteeredAnswerer]:
    """One engine for all tests: it has no memory of its own that a test could see."""
    made = SteeredAnswerer(
        AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32),
        AutoTokenizer.from_pretrained(model_folder),
        name="tiny",
        revision="r1",
        max_running=4,
        max_waiting=300,
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


@dataclass
class Town:
    """A few people, a group, Telegram and the bot, and what the record says about it."""

    api: BotApi
    database: Database
    answerer: SteeredAnswerer
    core: Core
    assistant: Assistant
    settings: TelegramSettings
    limits: Limits
    retrainer: Retrainer = field(default_factory=Retrainer)
    library: Library | None = None
    bot: ThumbloopTelegram | None = None
    running: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Start the bot, as the service does."""
        self.bot = ThumbloopTelegram(
            self.settings, self.core, self.assistant, self.retrainer, self.library, limits=self.limits
        )
        polls = len(self.api.made("getUpdates"))
        self.running = asyncio.create_task(self.bot.run())
        if not self.settings.webhook_url:
            await self.api.until(lambda: len(self.api.made("getUpdates")) > polls or self.running.done())

    async def end(self) -> None:
        """Stop the bot, as a deployment does."""
        if self.running is not None:
            self.running.cancel()
            await asyncio.gather(self.running, return_exceptions=True)

    def written(self, text: str, **more: Any) -> dict[str, Any]:
        """The update that somebody wrote that; it is not delivered yet."""
        return self.api.numbered(message=self.api.message(text, **more))

    def tapped(self, message: dict[str, Any], label: str, *, by: dict[str, Any]) -> dict[str, Any]:
        """The update that somebody tapped that; it is not delivered yet."""
        return self.api.numbered(callback_query=self.api.query(message, label, by=by))

    async def leave_unfinished(self, *updates: dict[str, Any], begun: bool = False) -> None:
        """Leave updates in the record as a process does that was killed after it had written them down."""
        async with self.database.session() as session:
            for update in updates:
                number = str(update["update_id"])
                await incoming.store(session, "telegram", [Incoming(number, json.dumps(update))])
                if begun:
                    await incoming.begin(session, "telegram", number)

    async def ask(self, text: str, **more: Any) -> dict[str, Any]:
        """Ask in private, or in `chat`, and wait for the whole answer; its last message."""
        by = more.pop("by", ADA)
        chat = more.get("chat", {"id": by["id"]})["id"]
        done = len([one for one in self.answers(chat)])
        self.api.write(text, by=by, **more)
        await self.api.until(lambda: len(self.answers(chat)) > done)
        await self.idle()
        return self.answers(chat)[-1]

    def answers(self, chat: int = ADA["id"]) -> list[dict[str, Any]]:
        """Whole answers in a chat: what carries thumbs."""
        return [one for one in self.api.said(chat) if "👍" in str(one.get("reply_markup"))]

    async def heard(self, text: str, chat: int = ADA["id"]) -> dict[str, Any]:
        """Wait until the bot says that in the chat; the message."""
        return await self.api.until(
            lambda: next((one for one in self.api.said(chat) if text in one["text"]), None)
        )

    async def toast(self, tapped: str) -> str:
        """Wait until a tap is answered; with what."""
        found = await self.api.until(lambda: self.api.toasts.get(tapped))
        return str(found.get("text", ""))

    async def rows(self, kind: type[SQLModel]) -> list[Any]:
        """Every row of a table, oldest first."""
        async with self.database.session(read_only=True) as session:
            return list((await session.exec(select(kind).order_by(col(kind.id)))).all())  # type: ignore[attr-defined]

    async def turns(self) -> list[Turn]:
        return await self.rows(Turn)

    async def votes(self) -> list[tuple[int, str, str]]:
        return [(vote.value, vote.reason, vote.suggested_answer) for vote in await self.rows(Vote)]

    async def set(self, community: str = "direct", **values: Any) -> None:
        """Set a community, as an administrator would have done before."""
        async with self.database.session() as session:
            row = await journal.community(session, "telegram", community)
            row.sqlmodel_update({"cooldown_seconds": 0} | values)
            session.add(row)
        if self.bot is not None:
            self.bot.context.communities.forget(community)

    async def community(self, name: str = "direct") -> Community:
        async with self.database.session(read_only=True) as session:
            row = await journal.community_of(session, "telegram", name)
            assert row is not None
            return row

    def hold(self, after: int = 2) -> None:
        """Let the model pause after that many pieces, until `release`."""
        self.answerer.hold_after = after

    def release(self) -> None:
        self.answerer.go.set()
        self.answerer.hold_after = None

    async def menu_set(self) -> None:
        """Wait until the command menu has been looked at, and set where it was another."""
        bot = self.bot
        assert bot is not None
        await self.api.until(lambda: all(task.done() for task in bot._watching if "menu" in task.get_name()))

    async def idle(self) -> None:
        """Wait until nothing is under way in the bot."""
        bot = self.bot
        assert bot is not None
        await self.api.until(lambda: not self.api.pending)
        await self.api.until(lambda: not bot.context.tasks)


@pytest.fixture
async def api() -> AsyncIterator[BotApi]:
    async with BotApi().served() as served:
        served.administrators[GARDEN["id"]] = [ADMIN["id"]]
        yield served


@pytest.fixture
def limits(request: pytest.FixtureRequest) -> Limits:
    """No pacing, unless a test asks for it."""
    return getattr(request, "param", UNPACED)


@pytest.fixture
def library() -> Library | None:
    """The documents of communities; a module that needs them has its own."""
    return None


@pytest.fixture
async def quiet_town(
    api: BotApi,
    database: Database,
    answerer: SteeredAnswerer,
    core: Core,
    assistant: Assistant,
    limits: Limits,
    library: Library | None,
) -> AsyncIterator[Town]:
    """The town before its bot is started."""
    settings = TelegramSettings(token=TOKEN, api_url=api.url, operators=(OPERATOR["id"],))
    made = Town(api, database, answerer, core, assistant, settings, limits, library=library)
    await made.set()
    await made.set(str(GARDEN["id"]))
    yield made
    await made.end()


@pytest.fixture
async def town(quiet_town: Town) -> Town:
    await quiet_town.begin()
    return quiet_town
