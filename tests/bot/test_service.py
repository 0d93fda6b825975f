"""The whole service: what one platform breaks on is its own affair."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from bot.errors import PortTaken
from bot.service import ServiceReady, open_assistant, serve
from bot.settings import (
    AnsweringSettings,
    ApiSettings,
    DiscordSettings,
    Settings,
    TelegramSettings,
    WebSettings,
)
from feedback.database import opened
from tests.doubles.discord_server import TOKEN as DISCORD_TOKEN
from tests.doubles.discord_server import discord_server
from tests.doubles.telegram_server import TOKEN as TELEGRAM_TOKEN
from tests.doubles.telegram_server import BotApi, person
from tests.doubles.tiny_model import write_tiny_model
from training.data import language

ADA = person(1001, "Ada")


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("tiny"))


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[str]:
    """The service, and the console's address."""
    ready: asyncio.Future[ServiceReady] = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(serve(settings, on_ready=ready.set_result))
    try:
        await asyncio.wait({running, ready}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            await running
        yield (await ready).console_url
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def parts_of(console: str) -> dict[str, Any]:
    """What the service says of its parts."""
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        answer = await client.get(f"{console}/readyz")
    return {one["name"]: one for one in answer.json()["components"]}


async def test_a_platform_that_cannot_be_understood_leaves_the_others_running_and_is_named(
    tmp_path: Path, model_folder: Path
) -> None:
    async with BotApi().served() as telegram, discord_server(ready_lacks="shard") as discord:
        settings = Settings(
            data=tmp_path / "data",
            model=str(model_folder),
            device="cpu",
            precision="fp32",
            answering=AnsweringSettings(max_new_tokens=8),
            web=WebSettings(port=0),
            api=ApiSettings(),
            discord=DiscordSettings(token=DISCORD_TOKEN, api_url=f"{discord.url}/api/v10"),
            telegram=TelegramSettings(token=TELEGRAM_TOKEN, api_url=telegram.url),
        )
        async with serving(settings) as console:
            telegram.write("When do I plant?", by=ADA)
            await telegram.until(lambda: telegram.said(ADA["id"]))
            async with asyncio.timeout(60):
                while (parts := await parts_of(console)).get("Discord", {}).get("state") != "down":
                    await asyncio.sleep(0.05)
            assert parts["Discord"]["why"].startswith("An unexpected fault. The log has more under ")
            assert parts["Telegram"]["state"] == "ok"
            discord.ready_lacks = ""
            async with asyncio.timeout(60):
                while (await parts_of(console))["Discord"]["state"] != "ok":
                    await asyncio.sleep(0.05)


async def test_a_platform_that_refuses_us_is_named_with_what_to_do_and_the_console_runs(
    tmp_path: Path, model_folder: Path
) -> None:
    async with BotApi().served() as telegram:
        settings = Settings(
            data=tmp_path / "data",
            model=str(model_folder),
            device="cpu",
            precision="fp32",
            web=WebSettings(port=0),
            telegram=TelegramSettings(token="43:wrong", api_url=telegram.url),
        )
        async with serving(settings) as console:
            async with asyncio.timeout(60):
                while not (refused := (await parts_of(console)).get("Telegram")):
                    await asyncio.sleep(0.05)
    assert refused["state"] == "down"
    assert refused["why"] == "Telegram refused the bot token. The log says what to do."
    assert gc.get_freeze_count(), "answers wait for the garbage collector to look through what was imported"


async def test_a_taken_webhook_port_is_said_before_a_model_is_loaded(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = Settings(
            data=tmp_path / "data",
            model=str(tmp_path / "no model"),
            web=WebSettings(port=0),
            telegram=TelegramSettings(
                token=TELEGRAM_TOKEN,
                webhook_url="https://bot.example.org/telegram",
                webhook_port=taken.getsockname()[1],
            ),
        )
        with pytest.raises(PortTaken, match="THUMBLOOP_TELEGRAM__WEBHOOK_PORT"):
            async with serving(settings):
                pass


async def test_the_first_question_does_not_wait_for_what_tells_its_language(
    tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    language._identifier.cache_clear()
    settings = Settings(data=tmp_path, model=str(model_folder), device="cpu", precision="fp32")
    database = await opened(settings.database_url)
    async with open_assistant(settings, database):
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "not there"))
        assert language.language_of("Moj pies lubi spacery po lesie") == "pl"
    await database.close()
