"""Discord and Telegram in one process: one engine and one record, each community with its own adapter."""

from __future__ import annotations

from pathlib import Path

import pytest
import simcord

from bot.access.actor import Actor
from bot.assistant import Assistant
from bot.commands import adapter as adapters
from bot.core import Core, ModelIdentity
from bot.platforms.discord.client import ThumbloopDiscord
from bot.settings import DiscordSettings
from feedback import journal
from feedback.tables import Community
from tests.bot.assembly import BASE, Assembly
from tests.bot.platforms.telegram.conftest import ADA, ADMIN, BOT, GARDEN, Town
from tests.doubles.retrainer import Retrainer


@pytest.fixture
def simcord_bot(core: Core, assistant: Assistant) -> ThumbloopDiscord:
    """Discord's bot round the same assistant."""
    return ThumbloopDiscord(DiscordSettings(), core, assistant, Retrainer(), shard_count=1)


async def test_both_platforms_answer_from_one_engine_with_different_adapters(
    simcord_env: simcord.Env, town: Town, model_folder: Path, tmp_path: Path
) -> None:
    made = Assembly(town.database, tmp_path, model_folder)
    guild = simcord_env.create_guild("Gardeners")
    channel, ada = guild.create_text_channel("general"), guild.add_member(simcord_env.create_user("ada"))
    await made.add_adapter("flowers", seed=1)
    await made.add_adapter("trees", seed=2)

    async with town.database.session() as session:
        row = await journal.community(session, "discord", str(guild.id))
        row.cooldown_seconds = 0

    async def on_discord(text: str) -> None:
        await ada.send(channel, f"<@{simcord_env.bot.user.id}> {text}")
        await simcord_env.settle()

    await on_discord("Who are you?")
    await adapters.switch(
        town.database,
        tmp_path,
        "flowers@1",
        model=ModelIdentity(BASE, ""),
        by=Actor("console", role="operator"),
        community=f"discord:{guild.id}",
    )
    town.api.write("/adapter switch trees@1", by=ADMIN, chat=GARDEN)
    town.api.tap(await town.heard("Let trees@1 answer", GARDEN["id"]), "Switch", by=ADMIN)
    await town.heard("trees@1 answers now", GARDEN["id"])

    await town.ask(f"{BOT} When do I plant?", chat=GARDEN, by=ADA)
    await on_discord("When do I plant?")
    await town.ask("When do I plant?")

    platforms = {row.id: row.platform for row in await town.rows(Community)}
    turns = [(platforms[turn.community_id], turn.adapter_id) for turn in await town.turns()]
    assert turns == [("discord", None), ("telegram", 2), ("discord", 1), ("telegram", None)]
    answers = [turn.answer for turn in await town.turns()]
    assert answers[1] != answers[2], "each adapter speaks for itself"
