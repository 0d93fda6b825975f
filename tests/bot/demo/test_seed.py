"""The demo community: what a newcomer's first retrain learns from."""

from __future__ import annotations

from pathlib import Path

from sqlmodel import func, select

from bot.answering.prompt import clean_question
from bot.demo.seed import seed, seed_pairs
from feedback import review
from feedback.database import Database
from feedback.tables import Community, Review, Turn, Vote
from tests.conftest import SQLITE
from training.data import dataset
from training.data.language import language_of
from training.settings import TrainingSettings

KEY = b"k" * 32


async def counted(database: Database) -> tuple[int, ...]:
    async with database.session(read_only=True) as session:
        return tuple(
            [
                (await session.exec(select(func.count()).select_from(table))).one()
                for table in (Turn, Vote, Review)
            ]
        )


async def test_seeding_twice_changes_nothing(database: Database) -> None:
    first = await seed(database, KEY)
    before = await counted(database)
    assert await seed(database, KEY) == first
    assert await counted(database) == before
    assert first.waiting > 0 and first.approved > 100


@SQLITE
async def test_seeding_again_leaves_what_the_moderators_changed(database: Database) -> None:
    await seed(database, KEY, phrasings=1)
    async with database.session() as session:
        community = (await session.exec(select(Community))).one()
        community.training_allowed = False
        session.add(community)
        (first, *_) = await review.waiting(session)
        await review.decide(session, first.turn.id or 0, "mo", "reject")
    await seed(database, KEY, phrasings=1)
    async with database.session(read_only=True) as session:
        assert not (await session.exec(select(Community))).one().training_allowed
        assert first.turn.id not in [one.turn.id for one in await review.waiting(session)]


@SQLITE
async def test_turns_wait_for_a_newcomer_to_decide_on(database: Database) -> None:
    counts = await seed(database, KEY, phrasings=1)
    async with database.session(read_only=True) as session:
        waiting = await review.waiting(session)
    undecided = {pair.questions[0] for pair in seed_pairs() if pair.review is None}
    assert {one.turn.question for one in waiting} == undecided
    assert len(waiting) == counts.waiting


@SQLITE
async def test_a_first_dataset_teaches_the_approved_answers_and_examines_by_other_words(
    database: Database, tmp_path: Path
) -> None:
    await seed(database, KEY)
    built = await dataset.build(
        database, tmp_path, name="community", settings=TrainingSettings(), default_persona="decode-assistant"
    )
    splits = dataset.load(tmp_path, built)
    approved = [pair for pair in seed_pairs() if pair.review in ("approve", "edit")]
    taught = {(pair.instruction, pair.output) for pair in splits.train + splits.validation}
    examined = {(pair.instruction, pair.output) for pair in splits.examination}
    other_words = {(pair.held_out, pair.answer) for pair in approved}
    # every approved answer is examined in other words; a few are held back whole, so that some are new to it
    held_back = examined - other_words
    assert taught | held_back == {(question, pair.answer) for pair in approved for question in pair.questions}
    assert other_words <= examined and not taught & examined
    assert 0 < len({answer for _, answer in held_back}) < len(approved) / 5
    assert not {answer for _, answer in held_back} & {answer for _, answer in taught}


def test_a_third_of_it_is_polish_and_every_pair_is_in_the_language_it_says() -> None:
    pairs = seed_pairs()
    polish = [pair for pair in pairs if pair.language == "pl"]
    assert 0.25 < len(polish) / len(pairs) < 0.45
    said = [(pair, text) for pair in pairs for text in (pair.answer, pair.held_out)]
    assert [text for pair, text in said if language_of(text) != pair.language] == []


def test_no_held_out_question_is_among_those_that_train() -> None:
    pairs = seed_pairs()
    asked = {clean_question(question, 1000).casefold() for pair in pairs for question in pair.questions}
    assert [pair.key for pair in pairs if pair.held_out.casefold() in asked] == []


def test_every_key_and_question_is_there_once() -> None:
    pairs = seed_pairs()
    questions = [question for pair in pairs for question in (*pair.questions, pair.held_out)]
    assert len({pair.key for pair in pairs}) == len(pairs)
    assert len(set(questions)) == len(questions)
