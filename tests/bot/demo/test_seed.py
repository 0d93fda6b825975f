"""The demo community: what a newcomer's first retrain learns from."""

from __future__ import annotations

from sqlmodel import func, select

from bot.answering.prompt import clean_question
from bot.demo.seed import seed, seed_pairs
from feedback.database import Database
from feedback.tables import Review, Turn, Vote
from training.language import language_of

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


def test_a_third_of_it_is_polish_and_every_pair_is_in_the_language_it_says() -> None:
    pairs = seed_pairs()
    polish = [pair for pair in pairs if pair.language == "pl"]
    assert 0.25 < len(polish) / len(pairs) < 0.45
    assert [pair.key for pair in pairs if language_of(pair.answer) != pair.language] == []


def test_no_held_out_question_is_among_those_that_train() -> None:
    pairs = seed_pairs()
    asked = {clean_question(question, 1000).casefold() for pair in pairs for question in pair.questions}
    assert [pair.key for pair in pairs if pair.held_out.casefold() in asked] == []


def test_every_key_and_question_is_there_once() -> None:
    pairs = seed_pairs()
    questions = [question for pair in pairs for question in (*pair.questions, pair.held_out)]
    assert len({pair.key for pair in pairs}) == len(pairs)
    assert len(set(questions)) == len(questions)
