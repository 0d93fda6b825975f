"""One person's chat on every platform: the fixture `chat`, and the record behind it.

Each platform is put together by the fixtures of its own tests; console and terminal are the service and the
command as they are started, over a model server's double.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import async_playwright

from feedback.database import Database
from feedback.tables import Adapter
from tests.bot.assembly import BASE, REVISION, Assembly
from tests.bot.console.conftest import CHROMIUM, QUIET
from tests.bot.platforms.contract.console_driver import ConsoleDriver
from tests.bot.platforms.contract.discord_driver import DiscordDriver
from tests.bot.platforms.contract.driver import ChatDriver, Record
from tests.bot.platforms.contract.telegram_driver import TelegramDriver
from tests.bot.platforms.contract.terminal_driver import TerminalDriver
from tests.bot.platforms.discord import conftest as on_discord
from tests.bot.platforms.telegram import conftest as on_telegram
from tests.doubles.openai_server import OpenAIServer
from tests.loopback import serving

ROOT = Path(__file__).parents[4]
DRIVERS: dict[str, type[ChatDriver]] = {
    "discord": DiscordDriver,
    "telegram": TelegramDriver,
    "console": ConsoleDriver,
    "terminal": TerminalDriver,
}

model_folder = on_telegram.model_folder
engine = on_telegram.engine
answerer = on_telegram.answerer
core = on_telegram.core
assistant = on_telegram.assistant
dialect = on_telegram.dialect
library = on_telegram.library

retrainer = on_discord.retrainer
discord_settings = on_discord.discord_settings
simcord_bot = on_discord.simcord_bot
discord_town = on_discord.town

api = on_telegram.api
limits = on_telegram.limits
quiet_town = on_telegram.quiet_town
telegram_town = on_telegram.town


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(ability): skipped, with the reason, on platforms that lack it")


@pytest.fixture(
    params=[
        "discord",
        "telegram",
        pytest.param("console", marks=pytest.mark.slow),
        pytest.param("terminal", marks=pytest.mark.slow),  # a new process in every test
    ]
)
def chat(request: pytest.FixtureRequest) -> ChatDriver:
    """A chat with the bot on each platform."""
    for needed in request.node.iter_markers("needs"):
        for ability in needed.args:
            if why := DRIVERS[request.param].lacks.get(ability):
                pytest.skip(f"{ability} on {request.param}: {why}")
    driver: ChatDriver = request.getfixturevalue(f"{request.param}_chat")
    return driver


@pytest.fixture
def record(database: Database) -> Record:
    """The record of the chat's service."""
    return Record(database)


@pytest.fixture
async def adapter(database: Database, tmp_path: Path, model_folder: Path) -> Adapter:
    """The adapter garden@1, found good."""
    return await Assembly(database, tmp_path, model_folder).add_adapter("garden")


@pytest.fixture
def discord_chat(discord_town: on_discord.Town) -> DiscordDriver:
    return DiscordDriver(discord_town)


@pytest.fixture
def telegram_chat(telegram_town: on_telegram.Town) -> TelegramDriver:
    return TelegramDriver(telegram_town)


@pytest.fixture
async def model(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[OpenAIServer]:
    """A model server, and the environment of a service that asks it."""
    double = OpenAIServer(max_model_len=4096)
    async with serving(double.app) as url:
        for name in [name for name in os.environ if name.startswith("THUMBLOOP_")]:
            monkeypatch.delenv(name)
        for name, value in {
            "THUMBLOOP_DATA": str(tmp_path),
            "THUMBLOOP_RECORD__DATABASE_URL": database_url,
            "THUMBLOOP_MODEL": BASE,
            "THUMBLOOP_MODEL_REVISION": REVISION,
            "THUMBLOOP_REMOTE__URL": f"{url}/v1",
            "THUMBLOOP_WEB__PORT": "0",
            "THUMBLOOP_KNOWLEDGE__ENABLED": "false",  # an approved answer is no source of the next here
            "LC_ALL": "C.UTF-8",
            "USER": "ada",
            "LOGNAME": "ada",
            "PYTHONPATH": str(ROOT),
        }.items():
            monkeypatch.setenv(name, value)
        yield double
        double.release()


@pytest.fixture
async def console_chat(model: OpenAIServer) -> AsyncIterator[ConsoleDriver]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        page = await browser.new_page(locale="en-GB")
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        driver = ConsoleDriver(page, model)
        try:
            await driver.begin()
            yield driver
        finally:
            await browser.close()
            await driver.end()
    assert not faults, faults


@pytest.fixture
async def terminal_chat(model: OpenAIServer, tmp_path: Path) -> AsyncIterator[TerminalDriver]:
    driver = TerminalDriver(model, tmp_path / "stderr")
    try:
        await driver.begin()
        yield driver
    finally:
        await driver.end()
