"""What a community's own wordings teach its retrieval, and that only what surely helps is used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

import numpy as np
import pytest
from sqlmodel import select

from bot.knowledge import knowledge as module
from bot.knowledge.embedding import Vectors
from bot.knowledge.knowledge import Knowledge
from feedback import consent, review
from feedback.database import Database
from feedback.tables import RetrievalProjection
from tests.chronicle import Chronicle

DEEDS = ("water", "prune", "sow", "harvest", "repot", "feed")
SAME_DEEDS = ("moisten", "trim", "plant", "gather", "transplant", "nourish")
PLANTS = ("basil", "mint", "sage", "dill", "thyme", "chives")
SAME_PLANTS = ("albahaca", "hierbabuena", "salvia", "eneldo", "tomillo", "cebollino")


class WordVectors:
    """A direction of its own for each word, as an embedding model that knows no synonyms has it."""

    name = "words of a test"

    def __init__(self) -> None:
        self._draw = np.random.default_rng(0)
        self._known: dict[str, Vectors] = {}

    def passages(self, texts: Sequence[str]) -> Vectors:
        return np.stack([self._of(text) for text in texts])

    def questions(self, texts: Sequence[str]) -> Vectors:
        return self.passages(texts)

    def _of(self, text: str) -> Vectors:
        words = text.casefold().split() or [""]
        for word in words:
            if word not in self._known:
                self._known[word] = self._draw.standard_normal(96, np.float32)
        total = np.sum([self._known[word] for word in words], axis=0)
        return np.asarray(total / np.linalg.norm(total), np.float32)


@pytest.fixture
def knowledge(database: Database) -> Knowledge:
    return Knowledge(database, WordVectors())


async def test_wordings_of_the_same_answer_teach_that_their_words_mean_the_same(
    knowledge: Knowledge, chronicle: Chronicle
) -> None:
    await approve(chronicle, synonyms())
    home = chronicle.community_id
    asked = [(f"{deed} {plant}", answer) for deed, plant, answer in in_other_words()]
    before = [await first(knowledge, home, question) for question, _ in asked]
    found = await knowledge.learn(home)
    assert found is not None and found.projection is not None
    assert found.after > found.before and found.gain_low > 0
    after = [await first(knowledge, home, question) for question, _ in asked]
    answers = [answer for _, answer in asked]
    assert sum(map(str.__eq__, after, answers)) > sum(map(str.__eq__, before, answers)) + len(asked) // 3


async def test_what_does_not_surely_help_stays_out(knowledge: Knowledge, chronicle: Chronicle) -> None:
    alike = [(f"{deed} {plant} {n}", f"{deed} {plant}") for deed, plant in pairs() for n in range(3)]
    await approve(chronicle, alike)
    home = chronicle.community_id
    before = await knowledge.retrieve(home, "water basil", "en")
    found = await knowledge.learn(home)
    assert found is not None and found.projection is None
    assert await knowledge.retrieve(home, "water basil", "en") == before


async def test_few_wordings_teach_nothing(knowledge: Knowledge, chronicle: Chronicle) -> None:
    await approve(chronicle, list(synonyms())[:12])
    assert await knowledge.learn(chronicle.community_id) is None


async def test_how_near_a_passage_is_stays_its_nearness_to_the_question_itself(
    knowledge: Knowledge, chronicle: Chronicle
) -> None:
    await approve(chronicle, synonyms())
    home = chronicle.community_id
    before = {
        one.passage_id: one.cosine for one in await knowledge.retrieve(home, "water mint", "en", limit=90)
    }
    await knowledge.learn(home)
    after = {
        one.passage_id: one.cosine for one in await knowledge.retrieve(home, "water mint", "en", limit=90)
    }
    both = before.keys() & after.keys()
    assert both
    for passage in both:
        assert after[passage] == pytest.approx(before[passage], abs=1e-4)


async def test_another_process_uses_what_was_learnt(
    database_url: str, knowledge: Knowledge, chronicle: Chronicle
) -> None:
    await approve(chronicle, synonyms())
    home = chronicle.community_id
    elsewhere = Database(database_url)
    other = Knowledge(elsewhere, knowledge.embedder)
    asked = [f"{deed} {plant}" for deed, plant, _ in in_other_words()]
    before = [await first(other, home, question) for question in asked]
    await knowledge.learn(home)
    after = [await first(other, home, question) for question in asked]
    assert after != before
    assert after == [await first(knowledge, home, question) for question in asked]
    await elsewhere.close()


async def test_forgetting_a_member_forgets_what_their_wordings_taught(
    knowledge: Knowledge, chronicle: Chronicle
) -> None:
    await approve(chronicle, synonyms())
    await chronicle.approved("When is the garden open?", "From nine.", by="cleo")
    await knowledge.learn(chronicle.community_id)
    member = await chronicle.member("cleo")
    async with chronicle.database.session() as session:
        await consent.forget(session, member)
        assert (await session.exec(select(RetrievalProjection))).all() == []


async def test_a_community_is_learnt_from_once_a_day(
    knowledge: Knowledge, chronicle: Chronicle, monkeypatch: pytest.MonkeyPatch
) -> None:
    await approve(chronicle, list(synonyms())[:3])
    home = chronicle.community_id
    assert await knowledge._due_to_learn() == [home]
    await knowledge.learn(home)
    assert await knowledge._due_to_learn() == []
    later = module.now() + timedelta(days=1, minutes=1)
    monkeypatch.setattr(module, "now", lambda: later)
    assert await knowledge._due_to_learn() == [home]


def pairs() -> Iterator[tuple[str, str]]:
    """Every deed with every plant."""
    return ((deed, plant) for deed in DEEDS for plant in PLANTS)


def synonyms() -> Iterator[tuple[str, str]]:
    """Questions in three wordings each, which share words or only their meaning, with their answers."""
    for d, deed in enumerate(DEEDS):
        for p, plant in enumerate(PLANTS):
            answer = f"note{d}{p}"
            yield f"{deed} {plant}", answer
            yield f"{SAME_DEEDS[d]} {SAME_PLANTS[p]}", answer
            if (d + p) % 2:
                yield f"{deed} {SAME_PLANTS[p]}", answer


def in_other_words() -> Iterator[tuple[str, str, str]]:
    """Wordings that nobody approved, with the answer that they ask for."""
    for d in range(len(DEEDS)):
        for p, plant in enumerate(PLANTS):
            yield SAME_DEEDS[d], plant, f"note{d}{p}"


async def approve(chronicle: Chronicle, said: Sequence[tuple[str, str]] | Iterator[tuple[str, str]]) -> None:
    """Approve questions with their answers, each in a talk of its own."""
    for question, answer in said:
        turn_id = await chronicle.answered(question)
        async with chronicle.database.session() as session:
            await review.decide(session, turn_id, "mo", "edit", answer=answer)


async def first(knowledge: Knowledge, community_id: int, question: str) -> str:
    """The answer that a question finds first."""
    found = await knowledge.retrieve(community_id, question, "en", limit=1)
    return found[0].text if found else ""
