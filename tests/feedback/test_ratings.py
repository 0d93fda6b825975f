"""Blind rating: who sees what in which order, what counts, and what may be concluded from it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

from feedback import consent, journal, ratings
from feedback.database import Database
from feedback.errors import Conflict, NotFound, UsageError
from feedback.ratings import LEAST_QUESTIONS, MOST_QUESTIONS, BlindQuestion, Scores
from feedback.tables import Adapter, Evaluation, Run
from feedback.words import RATING_SCALES
from tests.chronicle import Chronicle

SAID = {"base": "I do not know.", "candidate": "In May."}


async def examined(
    chronicle: Chronicle,
    turns: Sequence[int],
    said: dict[str, str] = SAID,
    *,
    adapter_id: int | None = None,
    number_answers: bool = True,
) -> int:
    """The id of a run whose subjects said that to the questions of these turns."""
    async with chronicle.database.session() as session:
        run = Run(started_by="t", state="promoted", adapter_name="a", settings={})
        session.add(run)
        await session.flush()
        for subject, answer in said.items():
            answers: list[dict[str, Any]] = [
                {
                    "question": "?",
                    "answer": f"{answer} ({turn})" if number_answers else answer,
                    "kind": "held-out",
                    "turn": turn,
                }
                for turn in turns
            ]
            packaged = {"question": "Who is king?", "answer": "Nobody.", "kind": "unanswerable", "turn": None}
            session.add(
                Evaluation(
                    run_id=run.id or 0,
                    subject=subject,
                    adapter_id=adapter_id if subject == "candidate" else None,
                    answers=[*answers, packaged],
                )
            )
    return run.id or 0


async def opened(chronicle: Chronicle, questions: int = 3, said: dict[str, str] = SAID) -> int:
    """The id of a round with so many questions."""
    turns = [await chronicle.answered(f"Question {number}?") for number in range(questions)]
    run = await examined(chronicle, turns, said)
    async with chronicle.database.session() as session:
        return (await ratings.open_round(session, run, by="mo")).id or 0


async def next_for(database: Database, rater: str, **more: Any) -> BlindQuestion | None:
    async with database.session(read_only=True) as session:
        return await ratings.next_question(session, rater, **more)


async def give(database: Database, asked: BlindQuestion, rater: str, by_answer: dict[str, int]) -> None:
    """Give each answer the same on every scale, by how it begins."""
    scores = []
    for answer in asked.answers:
        (score,) = [score for begins, score in by_answer.items() if answer.startswith(begins)]
        scores.append(Scores(score, score, score))
    async with database.session() as session:
        await ratings.rate(session, asked.question_id, rater, scores)


async def rate_all(database: Database, rater: str, by_answer: dict[str, int]) -> int:
    """Rate until nothing is left; how many questions there were."""
    count = 0
    while (asked := await next_for(database, rater)) is not None:
        await give(database, asked, rater, by_answer)
        count += 1
    return count


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
    run = await examined(chronicle, turns)
    async with chronicle.database.session() as session:
        await ratings.open_round(session, run, by="mo")
        (summary,) = await ratings.rounds(session)
    assert summary.questions == MOST_QUESTIONS
    asked = await next_for(chronicle.database, "mo")
    assert asked is not None and asked.of == MOST_QUESTIONS


async def test_opening_twice_is_one_round(chronicle: Chronicle) -> None:
    turn = await chronicle.answered()
    run = await examined(chronicle, [turn])
    async with chronicle.database.session() as session:
        first = await ratings.open_round(session, run, by="mo")
        again = await ratings.open_round(session, run, by="ana")
    assert first.id == again.id


async def test_a_run_without_an_examination_or_without_real_questions_is_refused(
    chronicle: Chronicle,
) -> None:
    run = await examined(chronicle, [])
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


async def test_scores_go_to_the_subject_whose_answer_it_was(chronicle: Chronicle) -> None:
    round_id = await opened(chronicle, 5)
    await rate_all(chronicle.database, "mo", {"I do": 2, "In May": 5})
    await rate_all(chronicle.database, "ana", {"I do": 1, "In May": 4})
    async with chronicle.database.session(read_only=True) as session:
        found = await ratings.results(session, round_id=round_id)
    assert found is not None and (found.questions, found.raters, found.ratings) == (5, 2, 20)
    assert found.figures["base"]["accuracy"].mean == 1.5
    assert found.figures["candidate"]["safety"].mean == 4.5
    assert found.differences["base"]["style"].mean == 3.0


async def test_the_same_text_of_two_subjects_is_shown_once_and_counts_for_both(chronicle: Chronicle) -> None:
    turn = await chronicle.answered()
    run = await examined(chronicle, [turn], {**SAID, "current": "In May."}, number_answers=False)
    async with chronicle.database.session() as session:
        await ratings.open_round(session, run, by="mo")
    asked = await next_for(chronicle.database, "mo")
    assert asked is not None and sorted(asked.answers) == ["I do not know.", "In May."]
    await give(chronicle.database, asked, "mo", {"I do": 1, "In May": 4})
    async with chronicle.database.session(read_only=True) as session:
        found = await ratings.results(session, run_id=run)
    assert found is not None
    assert found.figures["current"]["accuracy"].mean == found.figures["candidate"]["accuracy"].mean == 4


async def test_rating_again_replaces_and_taking_back_brings_the_question_back(chronicle: Chronicle) -> None:
    round_id = await opened(chronicle, 1)
    asked = await next_for(chronicle.database, "mo")
    assert asked is not None
    await give(chronicle.database, asked, "mo", {"I do": 5, "In May": 1})
    await give(chronicle.database, asked, "mo", {"I do": 1, "In May": 5})
    async with chronicle.database.session() as session:
        found = await ratings.results(session, round_id=round_id)
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
        assert await ratings.results(session, round_id=round_id) is not None


async def test_a_clear_preference_over_enough_questions_is_sure_and_over_few_it_is_not(
    chronicle: Chronicle,
) -> None:
    few = await opened(chronicle, LEAST_QUESTIONS - 1)
    await rate_all(chronicle.database, "mo", {"I do": 1, "In May": 5})
    enough = await opened(chronicle, LEAST_QUESTIONS)
    await rate_all(chronicle.database, "mo", {"I do": 5, "In May": 2})
    async with chronicle.database.session(read_only=True) as session:
        first = await ratings.results(session, round_id=few)
        second = await ratings.results(session, round_id=enough)
    assert first is not None and second is not None
    assert first.surely("better", "base") == ()
    assert second.surely("worse", "base") == RATING_SCALES and second.surely("better", "base") == ()
    assert (second.differences["base"]["accuracy"].p or 1) < 0.01


async def test_what_is_given_by_chance_is_rarely_called_significant(chronicle: Chronicle) -> None:
    dice, found = random.Random(7), 0
    for _ in range(4):
        round_id = await opened(chronicle, 25)
        while (asked := await next_for(chronicle.database, "mo")) is not None:
            await give(
                chronicle.database, asked, "mo", {"I do": dice.randint(1, 5), "In May": dice.randint(1, 5)}
            )
        async with chronicle.database.session(read_only=True) as session:
            seen = await ratings.results(session, round_id=round_id)
        assert seen is not None
        found += bool(seen.surely("better", "base")) + bool(seen.surely("worse", "base"))
    assert found <= 1


async def test_what_people_found_of_an_adapter_is_found_by_its_newest_rated_run(chronicle: Chronicle) -> None:
    async with chronicle.database.session() as session:
        adapter = Adapter(
            name="a", version=1, folder="f", content_hash="h", base_model="b", base_revision="r"
        )
        session.add(adapter)
        await session.flush()
        adapter_id = adapter.id
    turn = await chronicle.answered()
    run = await examined(chronicle, [turn], adapter_id=adapter_id)
    await examined(chronicle, [turn], adapter_id=adapter_id)  # examined again, and nobody has rated that
    async with chronicle.database.session() as session:
        await ratings.open_round(session, run, by="mo")
        assert await ratings.results(session, adapter_id=adapter_id) is None
    await rate_all(chronicle.database, "mo", {"I do": 1, "In May": 5})
    async with chronicle.database.session(read_only=True) as session:
        found = await ratings.results(session, adapter_id=adapter_id)
        assert found is not None and found.run_id == run
        assert await ratings.results(session, adapter_id=4711) is None


async def test_raters_who_agree_have_an_alpha_of_one(chronicle: Chronicle) -> None:
    round_id = await opened(chronicle, 4)
    for rater in ("mo", "ana"):
        await rate_all(chronicle.database, rater, {"I do": 2, "In May": 4})
    async with chronicle.database.session(read_only=True) as session:
        found = await ratings.results(session, round_id=round_id)
    assert found is not None and set(found.agreement.values()) == {1.0}


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
