"""From a question that nobody can answer to its answer with a source: the way of knowledge, end to end.

The model is tiny and says nothing of sense; what stands in its prompt, and what members are shown of that, is
what is looked at. Vectors are the packaged model's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot import digest, service
from bot.access.actor import Actor
from bot.assistant import Assistant
from bot.chat.sources import footnotes
from bot.commands import review as reviews
from bot.knowledge.documents.library import Library, Upload
from bot.questions import Finished, Place, Question
from bot.settings import load_settings
from feedback import journal
from feedback.database import Database
from tests.bot.knowledge.documents.made import pdf
from tests.conftest import SQLITE
from tests.doubles.tiny_model import write_tiny_model

GARDEN = Place("discord", "4711", "88", "Garden club")
MO = Actor("discord", "mo", role="operator")
KNOWN = (
    ("When are seeds swapped?", "Seeds are swapped on the first Sunday of March."),
    ("Who waters the greenhouse in August?", "Whoever is on the list at the door."),
    ("What does a plot cost?", "A plot costs fifty zloty a year."),
)
ANSWER = "Behind the old mill."


@dataclass
class Club:
    """A service with one community, and its members' questions."""

    database: Database
    assistant: Assistant
    library: Library
    asked: int = 0

    async def ask(self, question: str) -> Finished:
        """The answer to a question that begins a conversation."""
        self.asked += 1
        place = replace(GARDEN, conversation=f"88/{1000 + self.asked}")
        async for event in self.assistant.ask(Question(place, "ada", str(1000 + self.asked), question)):
            if isinstance(event, Finished):
                return event
        raise AssertionError("no answer came")

    async def home(self) -> int:
        async with self.database.session(read_only=True) as session:
            community = await journal.community_of(session, GARDEN.platform, GARDEN.community)
        assert community is not None and community.id is not None
        return community.id


@pytest.fixture
async def club(database: Database, tmp_path: Path) -> AsyncIterator[Club]:
    settings = load_settings(data=tmp_path / "data", model=str(write_tiny_model(tmp_path / "tiny")))
    async with (
        service.open_assistant(settings, database) as (_, assistant),
        service.open_library(settings, database, assistant.knowledge) as library,
    ):
        yield Club(database, assistant, library)


@SQLITE
async def test_a_gap_is_answered_by_a_moderator_and_the_next_who_asks_in_other_words_has_it(
    club: Club,
) -> None:
    for question, answer in KNOWN:
        known = await club.ask(question)
        await reviews.edit(club.database, known.turn_id, MO, answer)

    nobody = await club.ask("Where do we park the cars?")
    assert (nobody.kind, nobody.sources) == ("gap", ())
    (entry, *_) = (await reviews.queue(club.database, MO, limit=5)).entries
    assert (entry.turn_id, entry.answer_kind) == (nobody.turn_id, "gap")
    async with club.database.session(read_only=True) as session:
        week = await digest.digest(session, await club.home(), datetime.now(UTC))
    assert [gap.question for gap in week.gaps] == ["Where do we park the cars?"]

    await reviews.edit(club.database, nobody.turn_id, MO, ANSWER)
    in_other_words = await club.ask("In which place can I leave my car?")
    assert in_other_words.kind == "generated" and in_other_words.sources[0].text == ANSWER
    in_polish = await club.ask("Gdzie mogę zaparkować samochód?")
    assert in_polish.sources[0].text == ANSWER
    assert "zatwierdzone przez moderatorów" in footnotes(in_polish.sources, "pl").splitlines()[1]
    the_same = await club.ask("where do we park the cars")
    assert (the_same.kind, the_same.answer) == ("approved", ANSWER)

    await reviews.undo(club.database, nobody.turn_id, MO)
    taken_back = await club.ask("where do we park the cars")
    assert ANSWER not in [source.text for source in taken_back.sources]


@SQLITE
async def test_a_document_is_cited_by_its_page_until_it_is_removed(club: Club) -> None:
    await club.ask("Hello?")
    pages = (
        "Welcome to the garden club.",
        "The greenhouse is heated from November to March.",
        "Bees are kept by the north wall. The beekeeper is Tadeusz.",
    )
    home = await club.home()
    added = await club.library.add(home, Upload("handbook.pdf", pdf(*pages)), by="discord:mo")
    answer = await club.ask("Who is the beekeeper?")
    assert (answer.sources[0].page, answer.sources[0].text) == (3, pages[2])
    assert footnotes(answer.sources, "en").splitlines()[1] == "1. handbook.pdf, p. 3"
    await club.library.remove(home, str(added.document_id), by="discord:mo")
    assert (await club.ask("Who is the beekeeper, please?")).sources == ()
