"""The whole way with the real default model: a mention over HTTP and gateway, an answer that grows."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest
from discord.http import Route

from bot.answering.answerer import Sampling
from bot.answering.local import LocalAnswerer
from bot.assistant import Assistant, AssistantOptions
from bot.platforms.discord.client import run_discord
from feedback.database import Database
from tests.bot.assembly import core_of
from tests.bot.platforms.discord.conftest import every_turn
from tests.bot.platforms.discord.test_connection import settings, thumbs
from tests.doubles.discord_server import discord_server
from tests.doubles.retrainer import Retrainer
from training.model.base_model import ModelChoice
from training.model.names import DEFAULT_MODEL


@pytest.mark.slow
async def test_a_mention_is_answered_by_the_real_model_as_it_speaks(
    default_model_folder: Path, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Route, "BASE", Route.BASE)
    base = ModelChoice(DEFAULT_MODEL, default_model_folder.parent).load()
    answerer = LocalAnswerer(base.model, base.tokenizer, name=base.name, revision=base.revision)
    options = AssistantOptions(
        persona="plain",
        mode="default",
        sampling=Sampling(max_new_tokens=60, repetition_penalty=1.1),
        history_turns=4,
        max_question_characters=1000,
    )
    core = core_of(database, tmp_path)
    assistant = Assistant(core, answerer, options)
    async with discord_server() as server:
        bot = asyncio.create_task(run_discord(settings(server), core, assistant, Retrainer()))
        try:
            await server.until(lambda: server.connections)
            await server.say("Who wrote Romeo and Juliet?")
            (answer,) = await server.until(
                lambda: [one for one in server.written() if thumbs(one)], seconds=120
            )
        finally:
            bot.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await bot
            await answerer.close()

    (turn,) = await every_turn(database)
    drawn = [(call.body or {}).get("content", "") for call in server.calls if "/messages" in call.path]
    assert "Shakespeare" in answer["content"]
    assert answer["content"] == turn.answer.strip()
    assert len(drawn) >= 3 and all(answer["content"].startswith(text.strip()) for text in drawn)
