"""The API over a real assistant, served by a real uvicorn, and OpenAI's own client to ask it with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from openai import AsyncOpenAI

from bot.api.app import api_app
from feedback.database import Database
from tests.bot.assembly import BARE, BARE_LINE, GUILD, GUILD_LINE, Assembly
from tests.doubles.tiny_model import write_tiny_model
from tests.loopback import serving


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model on disk; tests read it and never write to it."""
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
async def assembly(database: Database, tmp_path: Path, tiny_model_folder: Path) -> AsyncIterator[Assembly]:
    """An assistant with two adapters, `support@1` and `support@2`, none of which serves anyone yet."""
    made = Assembly(database, tmp_path / "data", tiny_model_folder)
    await made.add_adapter(seed=1)
    await made.add_adapter(seed=2)
    yield made
    await made.answerer.close()


@pytest.fixture
async def url(assembly: Assembly) -> AsyncIterator[str]:
    """Where the API answers, without /v1."""
    async with serving(api_app(assembly.core, assembly.assistant, [BARE_LINE, GUILD_LINE])) as address:
        yield address


@pytest.fixture
async def client(url: str) -> AsyncIterator[AsyncOpenAI]:
    """OpenAI's client with the key of nobody's."""
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key=BARE, max_retries=0) as made:
        yield made


@pytest.fixture
async def guild(url: str) -> AsyncIterator[AsyncOpenAI]:
    """OpenAI's client with the community's key."""
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key=GUILD, max_retries=0) as made:
        yield made
