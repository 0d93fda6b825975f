"""What blind ratings come to: whose figures they are, and what may be concluded from them."""

from __future__ import annotations

import random

from feedback import rating_results, ratings
from feedback.rating_results import LEAST_QUESTIONS
from feedback.tables import Adapter
from feedback.words import RATING_SCALES
from tests.chronicle import Chronicle
from tests.feedback.test_ratings import opened
from tests.rounds import examined, give, next_for, rate_all


async def test_scores_go_to_the_subject_whose_answer_it_was(chronicle: Chronicle) -> None:
    round_id = await opened(chronicle, 5)
    await rate_all(chronicle.database, "mo", {"I do": 2, "In May": 5})
    await rate_all(chronicle.database, "ana", {"I do": 1, "In May": 4})
    async with chronicle.database.session(read_only=True) as session:
        found = await rating_results.find(session, round_id=round_id)
    assert found is not None and (found.questions, found.raters, found.ratings) == (5, 2, 20)
    assert found.figures["base"]["accuracy"].mean == 1.5
    assert found.figures["candidate"]["safety"].mean == 4.5
    assert found.differences["base"]["style"].mean == 3.0


async def test_the_same_text_of_two_subjects_is_shown_once_and_counts_for_both(chronicle: Chronicle) -> None:
    turn = await chronicle.answered()
    said = {"base": "I do not know.", "current": "In May.", "candidate": "In May."}
    run = await examined(chronicle.database, [turn], said)
    async with chronicle.database.session() as session:
        await ratings.open_round(session, run, by="mo")
    asked = await next_for(chronicle.database, "mo")
    assert asked is not None and sorted(asked.answers) == ["I do not know.", "In May."]
    await give(chronicle.database, asked, "mo", {"I do": 1, "In May": 4})
    async with chronicle.database.session(read_only=True) as session:
        found = await rating_results.find(session, run_id=run)
    assert found is not None
    assert found.figures["current"]["accuracy"].mean == found.figures["candidate"]["accuracy"].mean == 4


async def test_a_clear_preference_over_enough_questions_is_sure_and_over_few_it_is_not(
    chronicle: Chronicle,
) -> None:
    few = await opened(chronicle, LEAST_QUESTIONS - 1)
    await rate_all(chronicle.database, "mo", {"I do": 1, "In May": 5})
    enough = await opened(chronicle, LEAST_QUESTIONS)
    await rate_all(chronicle.database, "mo", {"I do": 5, "In May": 2})
    async with chronicle.database.session(read_only=True) as session:
        first = await rating_results.find(session, round_id=few)
        second = await rating_results.find(session, round_id=enough)
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
            seen = await rating_results.find(session, round_id=round_id)
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
    adapters = {"candidate": adapter_id}
    turn = await chronicle.answered()
    run = await examined(chronicle.database, [turn], adapters=adapters)
    await examined(chronicle.database, [turn], adapters=adapters)  # examined again, and nobody has rated that
    async with chronicle.database.session() as session:
        await ratings.open_round(session, run, by="mo")
        assert await rating_results.find(session, adapter_id=adapter_id) is None
    await rate_all(chronicle.database, "mo", {"I do": 1, "In May": 5})
    async with chronicle.database.session(read_only=True) as session:
        found = await rating_results.find(session, adapter_id=adapter_id)
        assert found is not None and found.run_id == run
        assert await rating_results.find(session, adapter_id=4711) is None


async def test_raters_who_agree_have_an_alpha_of_one(chronicle: Chronicle) -> None:
    round_id = await opened(chronicle, 4)
    for rater in ("mo", "ana"):
        await rate_all(chronicle.database, rater, {"I do": 2, "In May": 4})
    async with chronicle.database.session(read_only=True) as session:
        found = await rating_results.find(session, round_id=round_id)
    assert found is not None and set(found.agreement.values()) == {1.0}
