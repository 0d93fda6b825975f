"""/knowledge on Telegram: files and addresses, for administrators, and answers that name their source."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bot.assistant import Assistant
from bot.core import Core
from bot.knowledge.documents.library import Library
from bot.knowledge.knowledge import Knowledge
from feedback.database import Database
from tests.bot.library import library_of
from tests.bot.platforms.telegram.conftest import ADA, ADMIN, GARDEN, OPTIONS, SteeredAnswerer, Town

GROUP = GARDEN["id"]
RULES = b"# Garden rules\n\nTomatoes are planted after the ice saints, on the sixteenth of May.\n"


@pytest.fixture
def knowledge(database: Database) -> Knowledge:
    return Knowledge(database, None)


@pytest.fixture
async def library(database: Database, knowledge: Knowledge) -> AsyncIterator[Library]:
    async with library_of(database, knowledge) as made:
        yield made


@pytest.fixture
def assistant(core: Core, answerer: SteeredAnswerer, knowledge: Knowledge) -> Assistant:
    return Assistant(core, answerer, OPTIONS, knowledge)


async def test_a_file_with_the_command_as_caption_is_read_and_an_answer_names_it(town: Town) -> None:
    town.api.write_file("rules.md", RULES, by=ADMIN, chat=GARDEN, caption="/knowledge add")
    await town.heard("is in: 1 passage", GROUP)
    town.api.write("/ask When are tomatoes planted?", by=ADA, chat=GARDEN)
    shown = await town.heard("Sources", GROUP)
    assert "1. Garden rules" in shown["text"]


async def test_a_file_is_added_by_an_answer_to_it_listed_shown_and_removed(town: Town) -> None:
    sent = town.api.write_file("rules.md", RULES, by=ADA, chat=GARDEN)
    town.api.write("/knowledge add", by=ADMIN, chat=GARDEN, reply_to=sent)
    await town.heard("is in: 1 passage", GROUP)
    town.api.write("/knowledge", by=ADMIN, chat=GARDEN)
    listed = await town.heard("1 · Garden rules · 1 passage", GROUP)
    assert "rules.md" not in listed["text"]
    town.api.write("/knowledge show 1", by=ADMIN, chat=GARDEN)
    await town.heard("the ice saints", GROUP)
    town.api.write("/knowledge remove 1", by=ADMIN, chat=GARDEN)
    await town.heard("is gone", GROUP)
    town.api.write("/knowledge list", by=ADMIN, chat=GARDEN)
    await town.heard("There are no documents yet", GROUP)


async def test_a_member_may_not_and_what_is_no_document_is_refused_with_its_reason(town: Town) -> None:
    town.api.write("/knowledge list", by=ADA, chat=GARDEN)
    await town.heard("Only", GROUP)
    town.api.write_file(
        "leaf.png", b"\x89PNG\r\n\x1a\n" + bytes(64), by=ADMIN, chat=GARDEN, caption="/knowledge add"
    )
    await town.heard("leaf.png", GROUP)
    town.api.write("/knowledge eat 1", by=ADMIN, chat=GARDEN)
    await town.heard("Send a file with /knowledge add", GROUP)
