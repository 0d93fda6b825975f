"""What moderators read of adapters in a chat."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.chat import adapters
from bot.chat.context import ChatContext
from bot.questions import Place
from tests.bot.assembly import Assembly
from tests.chronicle import Chronicle
from tests.conftest import SQLITE
from tests.doubles.retrainer import Retrainer
from tests.doubles.tiny_model import write_tiny_model
from training.adapters import deployments

pytestmark = SQLITE


@pytest.fixture
async def assembly(chronicle: Chronicle, tmp_path: Path) -> AsyncIterator[Assembly]:
    assembly = Assembly(chronicle.database, tmp_path / "data", write_tiny_model(tmp_path / "models" / "tiny"))
    yield assembly
    await assembly.answerer.close()


async def test_the_list_says_how_a_canary_stands_in_both_languages(assembly: Assembly) -> None:
    before, after = await assembly.add_adapter(), await assembly.add_adapter(seed=2)
    async with assembly.database.session() as session:
        await deployments.switch(session, before, by="run 1")
        await deployments.begin_canary(session, after, 0.25, by="run 2")
    context = ChatContext(core=assembly.core, assistant=assembly.assistant, retraining=Retrainer())
    place = Place("discord", "guild", "general", "Guild")
    (english,) = [line for line in await adapters.list_lines(context, place, "en") if "canary" in line]
    assert "support@2" in english and "25% of the conversations" in english
    assert "0 judged answers, 0 of support@1" in english and "-100 and +100 points" in english
    (polish,) = [line for line in await adapters.list_lines(context, place, "pl") if "próbnie" in line]
    assert "0 ocenionych odpowiedzi" in polish
