"""Blind rating: who sees what in which order, and what is recorded of it."""

from __future__ import annotations

import pytest

from feedback import consent, journal, rating_results, ratings
from feedback.errors import Conflict, NotFound, UsageError
from feedback.ratings import MOST_QUESTIONS, Scores
from tests.chronicle import Chronicle
from tests.rounds import examined, give, next_for, open_round, rate_all


async def opened(chronicle: Chronicle, questions: int = 3) -> int:
    """The id of a round with so many questions."""
    turns = [await chronicle.answered(f"Question {number}?") for number in range(questions)]
    return await open_round(chronicle.database, turns)


async def test_a_round_holds_the_questions_that_members_asked_and_no_packaged_ones(
    chronicle: Chronicle,
) -> None:
    await opened(chronicle, 3)
    asked = await next_for(chronicle.database, "mo")
    assert asked is not None and (asked.place, asked.of, asked.rated) == (1, 3, 0)
    assert await rate_all(chronicle.database, "mo", {"I do": 1, "In May": 5}) == 3
    assert await next_for(chronicle.database, "mo") is None


async def test_a_round_has_at_most_a_hundred_questions_from_all_over_the_examination(
    chronicle: Chronicle,
) -> None:
    turns = await chronicle.approved_at_once([f"Question {number}?" for number in range(250)])
    run = await examined(chronicle.database, turns)
    async with chronicle.database.session() as session:
        await ratings.open_round(session, run, by="mo")
        (summary,) = await ratings.rounds(session)
    assert summary.questions == MOST_QUESTIONS
    asked = await next_for(chronicle.database, "mo")
    assert asked is not None and asked.of == MOST_QUESTIONS


async def test_opening_twice_is_one_round(chronicle: Chronicle) -> None:
    turn = await chronicle.answered()
    run = await examined(chronicle.database, [turn])
    async with chronicle.database.session() as session:
        first = await ratings.open_round(session, run, by="mo")
        again = await ratings.open_round(session, run, by="ana")
    assert first.id == again.id


async def test_a_run_without_an_examination_or_without_real_questions_is_refused(
    chronicle: Chronicle,
) -> None:
    run = await examined(chronicle.database, [])
    async with chronicle.database.session() as session:
        with pytest.raises(Conflict, match="no question that a member had asked"):
            await ratings.open_round(session, run, by="mo")
        with pytest.raises(NotFound):
            await ratings.open_round(session, 4711, by="mo")


async def test_the_order_is_each_raters_own_stays_the_same_and_tells_nothing(chronicle: Chronicle) -> None:
    await opened(chronicle, 1)
    seen = {}
    for number in range(40):
        first = await next_for(chronicle.database, f"rater {number}")
        again = await next_for(chronicle.database, f"rater {number}")
        assert first is not None and again is not None and first.answers == again.answers
        seen[first.answers] = seen.get(first.answers, 0) + 1
    assert len(seen) == 2 and min(seen.values()) > 8
    assert "candidate" not in repr(first) and "base" not in repr(first)


async def test_rating_again_replaces_and_taking_back_brings_the_question_back(chronicle: Chronicle) -> None:
    round_id = await opened(chronicle, 1)
    asked = await next_for(chronicle.database, "mo")
    assert asked is not None
    await give(chronicle.database, asked, "mo", {"I do": 5, "In May": 1})
    await give(chronicle.database, asked, "mo", {"I do": 1, "In May": 5})
    async with chronicle.database.session() as session:
        found = await rating_results.find(session, round_id=round_id)
        assert found is not None and found.ratings == 2 and found.figures["candidate"]["style"].mean == 5
        shown = await ratings.question(session, asked.question_id, "mo")
        assert [one.accuracy for one in shown.given] == [
            1 if answer.startswith("I do") else 5 for answer in asked.answers
        ]
        back = await ratings.take_back(session, asked.question_id, "mo")
    assert back.given == () and (await next_for(chronicle.database, "mo")) is not None


@pytest.mark.parametrize("scores", [[], [Scores(1, 2, 3)], [Scores(0, 3, 3), Scores(3, 3, 3)]])
async def test_every_answer_needs_its_scores_within_the_scale(
    chronicle: Chronicle, scores: list[Scores]
) -> None:
    await opened(chronicle, 1)
    asked = await next_for(chronicle.database, "mo")
    assert asked is not None
    async with chronicle.database.session() as session:
        with pytest.raises(UsageError):
            await ratings.rate(session, asked.question_id, "mo", scores)


async def test_who_passes_a_question_over_gets_it_again_at_the_end(chronicle: Chronicle) -> None:
    await opened(chronicle, 2)
    first = await next_for(chronicle.database, "mo")
    assert first is not None
    second = await next_for(chronicle.database, "mo", after=first.question_id)
    assert second is not None and second.question_id != first.question_id
    await give(chronicle.database, second, "mo", {"I do": 1, "In May": 5})
    last = await next_for(chronicle.database, "mo", after=second.question_id)
    assert last is not None and last.question_id == first.question_id


async def test_a_moderator_rates_only_what_their_community_asked(chronicle: Chronicle) -> None:
    async with chronicle.database.session() as session:
        other = (await journal.community(session, "telegram", "-5", name="Others")).id or 0
    await opened(chronicle, 2)
    assert await next_for(chronicle.database, "mo", community_id=other) is None
    asked = await next_for(chronicle.database, "mo", community_id=chronicle.community_id)
    assert asked is not None and asked.of == 2
    async with chronicle.database.session() as session:
        assert await ratings.rounds(session, community_id=other) == []
        with pytest.raises(NotFound):
            await ratings.question(session, asked.question_id, "mo", community_id=other)
        with pytest.raises(NotFound):
            await ratings.rate(session, asked.question_id, "mo", [Scores(1, 1, 1)] * 2, community_id=other)


async def test_a_closed_round_takes_no_ratings_and_keeps_its_results(chronicle: Chronicle) -> None:
    round_id = await opened(chronicle, 2)
    asked = await next_for(chronicle.database, "mo")
    assert asked is not None
    await give(chronicle.database, asked, "mo", {"I do": 1, "In May": 5})
    async with chronicle.database.session() as session:
        await ratings.close_round(session, round_id, by="mo")
    assert await next_for(chronicle.database, "mo") is None
    async with chronicle.database.session() as session:
        with pytest.raises(NotFound):
            await ratings.rate(session, asked.question_id, "ana", [Scores(1, 1, 1)] * 2)
        assert await rating_results.find(session, round_id=round_id) is not None


async def test_forget_me_takes_the_question_out_and_keeps_what_was_given(chronicle: Chronicle) -> None:
    round_id = await opened(chronicle, 2)
    await rate_all(chronicle.database, "mo", {"I do": 1, "In May": 5})
    async with chronicle.database.session() as session:
        await consent.forget(session, chronicle.members["ada"])
    assert await next_for(chronicle.database, "ana") is None
    async with chronicle.database.session(read_only=True) as session:
        rows = await ratings.export(session, round_id)
    assert len(rows) == 4 and {(row["question"], row["answer"]) for row in rows} == {("", "")}


async def test_an_export_names_no_rater(chronicle: Chronicle) -> None:
    round_id = await opened(chronicle, 1)
    for rater in ("discord:abc", "telegram:def"):
        await rate_all(chronicle.database, rater, {"I do": 1, "In May": 5})
    async with chronicle.database.session(read_only=True) as session:
        rows = await ratings.export(session, round_id)
    assert {row["rater"] for row in rows} == {1, 2} and "discord" not in str(rows)
    assert {(row["subject"], row["accuracy"]) for row in rows} == {("base", 1), ("candidate", 5)}
