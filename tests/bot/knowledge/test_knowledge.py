"""What was approved or added is found by the next question, in its own community, and gone as quickly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import count

import numpy as np
import pytest
from sqlmodel import col, func, select

from bot.answering.lookups import Lookups
from bot.knowledge.documents.fetching import Fetcher, FetchLimits
from bot.knowledge.documents.library import Library, Upload
from bot.knowledge.documents.pieces import ParseLimits
from bot.knowledge.documents.sandbox import Sandbox
from bot.knowledge.embedding import PackagedEmbedder, Vectors
from bot.knowledge.knowledge import Indexing, Knowledge
from feedback import consent, journal, review
from feedback.database import Database
from feedback.errors import NotFound
from feedback.passages import Chunk
from feedback.tables import Passage, PassageVector
from tests.chronicle import Chronicle
from tests.conftest import SQLITE
from tests.shelf import shelve

RANK = Chunk("Rank 8 is enough for most chat adapters.", ("Adapters", "Rank"), page=3)
MERGE = Chunk("Merging writes the adapter into the weights of the base model.", ("Adapters", "Merging"))


@pytest.fixture(scope="session")
def embedder() -> PackagedEmbedder:
    return PackagedEmbedder()


@pytest.fixture
def knowledge(database: Database, embedder: PackagedEmbedder) -> Knowledge:
    return Knowledge(database, embedder)


@pytest.fixture(params=["words", "words and vectors"])
def either(request: pytest.FixtureRequest, database: Database, embedder: PackagedEmbedder) -> Knowledge:
    return Knowledge(database, embedder if request.param == "words and vectors" else None)


@pytest.fixture
async def library(database: Database) -> AsyncIterator[Library]:
    async with Sandbox(ParseLimits(), at_once=1) as sandbox, Fetcher(FetchLimits()) as fetcher:
        yield Library(database, sandbox, fetcher, None)


async def texts(knowledge: Knowledge, community_id: int, question: str, language: str = "en") -> list[str]:
    return [source.text for source in await knowledge.retrieve(community_id, question, language)]


async def test_an_approved_answer_is_found_by_the_next_question(
    either: Knowledge, chronicle: Chronicle
) -> None:
    turn_id = await chronicle.approved("Which rank should I take?", "Begin with rank 8.")
    (found,) = await either.retrieve(chronicle.community_id, "what rank is good to begin with", "en")
    assert (found.text, found.kind, found.turn_id) == ("Begin with rank 8.", "approved", turn_id)
    assert found.question == "Which rank should I take?"


async def test_other_words_for_the_same_are_found_by_their_meaning(
    knowledge: Knowledge, chronicle: Chronicle
) -> None:
    await chronicle.approved("How do I install the program?", "Run pip install thumbloop.")
    await chronicle.approved("Who moderates this place?", "Ada and Bo do.")
    found = await texts(knowledge, chronicle.community_id, "setting up the software")
    assert found[0] == "Run pip install thumbloop."


async def test_polish_endings_and_letters_make_no_difference(
    database: Database, chronicle: Chronicle
) -> None:
    await chronicle.approved("Gdzie są zasady społeczności?", "W kanale o regułach.", language="pl")
    by_words = Knowledge(database, None)
    found = await texts(by_words, chronicle.community_id, "jakie ma zasady ta spolecznosc", "pl")
    assert found == ["W kanale o regułach."]


async def test_several_phrasings_of_a_question_give_its_answer_once(
    either: Knowledge, chronicle: Chronicle
) -> None:
    await chronicle.approved("Which rank is best?", "Rank 8.")
    await chronicle.approved("What rank do you take?", "Rank 8.")
    assert await texts(either, chronicle.community_id, "best rank to take") == ["Rank 8."]


async def test_an_undone_approval_is_gone(either: Knowledge, chronicle: Chronicle) -> None:
    turn_id = await chronicle.approved("Which rank?", "Rank 8.")
    assert await texts(either, chronicle.community_id, "which rank") == ["Rank 8."]
    async with chronicle.database.session() as session:
        await review.undo(session, turn_id, "mo")
    assert await texts(either, chronicle.community_id, "which rank") == []


async def test_a_better_edit_takes_the_place_of_the_answer(either: Knowledge, chronicle: Chronicle) -> None:
    turn_id = await chronicle.approved("Which rank?", "Rank 800.")
    assert await texts(either, chronicle.community_id, "which rank") == ["Rank 800."]
    async with chronicle.database.session() as session:
        await review.decide(session, turn_id, "mo", "edit", answer="Rank 8.")
    assert await texts(either, chronicle.community_id, "which rank") == ["Rank 8."]


async def test_a_forgotten_member_s_questions_bring_no_answers_any_more(
    either: Knowledge, chronicle: Chronicle
) -> None:
    await chronicle.approved("Which rank?", "Rank 8.", by="bo")
    assert await texts(either, chronicle.community_id, "which rank")
    async with chronicle.database.session() as session:
        await consent.forget(session, await chronicle.member("bo"))
        kept = (await session.exec(select(Passage))).all(), (await session.exec(select(PassageVector))).all()
    assert kept == ([], [])
    assert await texts(either, chronicle.community_id, "which rank") == []


async def test_opting_out_takes_answers_away_and_opting_in_gives_them_back(
    either: Knowledge, chronicle: Chronicle
) -> None:
    await chronicle.approved("Which rank?", "Rank 8.", by="bo")
    member = await chronicle.member("bo")
    async with chronicle.database.session() as session:
        await consent.opt_out(session, member)
    assert await texts(either, chronicle.community_id, "which rank") == []
    async with chronicle.database.session() as session:
        await consent.opt_in(session, member)
    assert await texts(either, chronicle.community_id, "which rank") == ["Rank 8."]


async def test_questions_that_examine_adapters_are_not_looked_up(
    either: Knowledge, chronicle: Chronicle
) -> None:
    await chronicle.approved("Which rank?", "Rank 8.", held_out=True)
    assert await texts(either, chronicle.community_id, "which rank") == []


async def test_a_turn_can_be_left_out_as_if_it_had_not_been_approved(
    either: Knowledge, chronicle: Chronicle
) -> None:
    turn_id = await chronicle.approved("Which rank?", "Rank 8.")
    found = await either.retrieve(
        chronicle.community_id, "which rank", "en", shows=lambda turn: turn != turn_id
    )
    assert found == []


async def test_a_piece_of_a_document_says_where_it_stands(either: Knowledge, chronicle: Chronicle) -> None:
    document_id = await shelve(chronicle.database, chronicle.community_id, RANK, MERGE)
    found = (await either.retrieve(chronicle.community_id, "which rank is enough", "en"))[0]
    assert (found.kind, found.document_id, found.title) == ("document", document_id, "A guide")
    assert (found.text, found.title_path, found.page) == (RANK.text, ("Adapters", "Rank"), 3)


async def test_a_removed_document_is_gone_from_the_next_answer_on(
    either: Knowledge, library: Library, chronicle: Chronicle
) -> None:
    document_id = await shelve(chronicle.database, chronicle.community_id, RANK)
    assert await texts(either, chronicle.community_id, "which rank")
    await library.remove(chronicle.community_id, str(document_id), by="mo")
    assert await texts(either, chronicle.community_id, "which rank") == []
    assert await library.documents(chronicle.community_id) == []


async def test_a_changed_document_replaces_its_old_pieces_and_keeps_the_others(
    either: Knowledge, library: Library, chronicle: Chronicle
) -> None:
    home = chronicle.community_id
    first = await library.add(home, _guide("Rank 8 is enough.", "Merging adds the weights."), by="mo")
    assert "Rank 8 is enough." in await texts(either, home, "which rank is enough")
    _, _, before = await library.document(home, "guide.md")
    again = await library.add(home, _guide("Rank 16 is enough.", "Merging adds the weights."), by="mo")
    assert again.document_id == first.document_id
    _, _, after = await library.document(home, "guide.md")
    assert [piece.text for piece in after] == ["Rank 16 is enough.", "Merging adds the weights."]
    assert after[1].id == before[1].id
    found = await texts(either, home, "which rank is enough")
    assert "Rank 16 is enough." in found and "Rank 8 is enough." not in found


async def test_another_community_finds_nothing_and_reaches_nothing(
    either: Knowledge, library: Library, chronicle: Chronicle
) -> None:
    document_id = await shelve(chronicle.database, chronicle.community_id, RANK)
    (found,) = await either.retrieve(chronicle.community_id, "which rank is enough", "en")
    async with chronicle.database.session() as session:
        other = (await journal.community(session, "telegram", "-5")).id or 0
    assert await texts(either, other, "which rank is enough") == []
    assert await library.documents(other) == []
    for reach in (
        library.document(other, str(document_id)),
        either.source(other, found.passage_id),
        library.remove(other, str(document_id), by="mo"),
    ):
        with pytest.raises(NotFound):
            await reach


async def test_what_another_process_approved_is_found(
    database_url: str, either: Knowledge, chronicle: Chronicle
) -> None:
    await chronicle.approved("Which rank?", "Rank 8.")
    assert await texts(either, chronicle.community_id, "which rank") == ["Rank 8."]
    other = Database(database_url)
    async with other.session() as session:
        asked = await journal.ask(
            session,
            community_id=chronicle.community_id,
            conversation_id=chronicle.conversation_id,
            member_id=None,
            external_id="elsewhere",
            question="Which alpha?",
            mode="default",
            language="en",
        )
        await journal.record_answer(
            session,
            asked.turn.id or 0,
            journal.Answered(answer="Twice the rank.", mode="default", language="en", base_model="base"),
        )
        await review.decide(session, asked.turn.id or 0, "mo", "approve")
    await other.close()
    assert (await texts(either, chronicle.community_id, "which alpha"))[0] == "Twice the rank."


async def test_indexing_tells_how_far_it_is_and_goes_on_where_it_was_stopped(
    either: Knowledge, chronicle: Chronicle
) -> None:
    await shelve(
        chronicle.database, chronicle.community_id, *(Chunk(f"Piece number {n}.") for n in range(150))
    )
    assert await either.index(most=100) == 100
    told: list[Indexing] = []
    assert await either.index(on_progress=told.append) == 50
    assert [(one.done, one.total) for one in told] == [(50, 50)]


async def test_another_embedder_indexes_everything_anew(
    database: Database, embedder: PackagedEmbedder, chronicle: Chronicle
) -> None:
    await shelve(database, chronicle.community_id, RANK)
    assert await Knowledge(database, None).index() == 1
    knowledge = Knowledge(database, embedder)
    assert await knowledge.index() == 1
    assert await texts(knowledge, chronicle.community_id, "which rank is enough") == [RANK.text]
    async with database.session() as session:
        assert len((await session.exec(select(PassageVector))).all()) == 1
        assert (await session.exec(select(Passage.id).where(col(Passage.index_version) == ""))).all() == []


@pytest.mark.parametrize("question", ["", "???", "' OR 1=1 --", '"rank" NEAR(', "community1", "a" * 5000])
async def test_any_question_can_be_looked_up(either: Knowledge, chronicle: Chronicle, question: str) -> None:
    await shelve(chronicle.database, chronicle.community_id, RANK)
    assert len(await either.retrieve(chronicle.community_id, question, "en")) <= 1


@SQLITE
async def test_what_waits_is_indexed_without_a_question_and_a_question_need_not_wait_for_all_of_it(
    database: Database, chronicle: Chronicle
) -> None:
    knowledge = Knowledge(database, None)
    chunks = [Chunk(f"Rule {number}: plant bed {number} in May.") for number in range(300)]
    await shelve(chronicle.database, chronicle.community_id, *chunks)
    keeping = asyncio.create_task(knowledge.keep_indexed())
    try:
        assert await knowledge.retrieve(chronicle.community_id, "When do I plant bed 7?", "en")
        async with asyncio.timeout(60):
            while await waiting(database):
                await asyncio.sleep(0)
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


async def waiting(database: Database) -> int:
    """How many passages are not indexed yet."""
    async with database.session(read_only=True) as session:
        return (await session.exec(select(func.count()).where(Passage.index_version == ""))).one()


def _guide(rank: str, merging: str) -> Upload:
    """A guide of two sections."""
    return Upload("guide.md", f"# Rank\n\n{rank}\n\n# Merging\n\n{merging}\n".encode())


async def test_answers_under_way_stand_still_while_a_question_is_looked_up(
    database: Database, chronicle: Chronicle
) -> None:
    ticks = count()
    lookups = Lookups(lambda: next(ticks))
    stood: list[bool] = []

    class Answers:
        """Makes way between two steps, just when the question's vector is made."""

        name = "answers"

        def passages(self, texts: Sequence[str]) -> Vectors:
            return np.ones((len(texts), 1), np.float32)

        def questions(self, texts: Sequence[str]) -> Vectors:
            before = next(ticks)
            lookups.wait()
            stood.append(next(ticks) - before > 2)  # who waits looks at the clock again
            return self.passages(texts)

    knowledge = Knowledge(database, Answers(), lookups=lookups)
    await knowledge.retrieve(chronicle.community_id, "Which rank?", "en")
    assert stood == [True]
