"""/knowledge on Discord: files and addresses, for moderators, and answers that name their source."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bot.assistant import Assistant
from bot.core import Core
from bot.knowledge.documents.library import Library
from bot.knowledge.knowledge import Knowledge
from feedback.database import Database
from tests.bot.library import library_of
from tests.bot.platforms.discord.conftest import OPTIONS, SteeredAnswerer, Town, said

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


async def test_a_file_is_read_named_by_an_answer_shown_and_removed(town: Town) -> None:
    added = await town.moderator.slash(town.channel, "knowledge add", file=("rules.md", RULES))
    assert "**Garden rules** is in: 1 passage" in said(added)
    assert added.response is not None and added.response.flags.ephemeral
    await town.ask("When are tomatoes planted?")
    assert "**Sources**\n1. Garden rules" in town.answers()[-1].content
    assert "1 · **Garden rules** · 1 passage" in said(
        await town.moderator.slash(town.channel, "knowledge list")
    )
    shown = said(await town.moderator.slash(town.channel, "knowledge show", document="1"))
    assert "the ice saints" in shown
    gone = said(await town.moderator.slash(town.channel, "knowledge remove", document="1"))
    assert "is gone" in gone
    await town.ask("When are tomatoes planted?")
    assert "Sources" not in town.answers()[-1].content


async def test_an_answer_in_polish_names_its_sources_in_polish(town: Town) -> None:
    await town.moderator.slash(town.channel, "knowledge add", file=("rules.md", RULES))
    await town.set(language="pl")
    await town.ask("Kiedy sadzimy pomidory? tomatoes planted ice saints May")
    assert "**Źródła**" in town.answers()[-1].content


async def test_members_may_not_and_nothing_given_is_asked_for(town: Town) -> None:
    assert "knowledge list" not in town.ada.available_commands(town.channel)
    asked = await town.moderator.slash(town.channel, "knowledge add")
    assert "attach a file" in said(asked)
    inside = await town.moderator.slash(town.channel, "knowledge add", link="http://127.0.0.1/rules")
    assert "private network" in said(inside)
    assert town.env.errors  # the log has it as well
