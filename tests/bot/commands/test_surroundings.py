"""What stands round a reviewed turn: before it, like it, personal in it; and deciding on repeats at once."""

from __future__ import annotations

import pytest

from bot.access.actor import Actor
from bot.commands import surroundings
from feedback import journal, review
from feedback.database import Database
from feedback.errors import NotFound
from tests.chronicle import ANSWER, Chronicle

MO = Actor("discord", "mo", "moderator", 1)


async def test_the_talk_before_comes_oldest_first_and_nothing_of_another_conversation(
    chronicle: Chronicle,
) -> None:
    await chronicle.approved("Elsewhere?", conversation="other")
    await chronicle.answered("First?")
    await chronicle.answered("Second?")
    turn = await chronicle.answered("Third?")
    found = await surroundings.around(chronicle.database, turn, MO)
    assert [question for question, _ in found.said] == ["First?", "Second?"]


async def test_what_was_decided_on_questions_like_it_is_told_with_who_and_why(chronicle: Chronicle) -> None:
    good = await chronicle.approved("How large is the rank of a LoRA adapter?", "Eight.")
    bad = await chronicle.answered("how large is the rank of a lora adapter")
    await chronicle.approved("Where is the blog?", "There.")
    async with chronicle.database.session() as session:
        await review.decide(session, bad, "ana", "reject", note="wrong")
    turn = await chronicle.answered("How large is the rank of a LoRA adapter, please?")
    found = await surroundings.around(chronicle.database, turn, MO)
    told = {one.turn_id: (one.state, one.reviewer, one.note) for one in found.decided}
    assert told[bad] == ("rejected", "ana", "wrong")
    assert set(told) <= {good, bad}


async def test_repeats_that_wait_are_found_and_decided_with_it(chronicle: Chronicle) -> None:
    turn = await chronicle.answered("How large is the rank?")
    same = await chronicle.answered("how large is the rank")
    other = await chronicle.answered("How large is the rank of adapter 2?")
    found = await surroundings.around(chronicle.database, turn, MO)
    assert found.repeats == (same,)
    done = await surroundings.decide_alike(chronicle.database, found.repeats, MO, "edit", answer="Eight.")
    assert done == [same]
    async with chronicle.database.session(read_only=True) as session:
        assert (await journal.find_turn(session, same)).approved_answer == "Eight."
        assert (await journal.find_turn(session, other)).review_state == "waiting"


async def test_a_repeat_that_somebody_decided_on_meanwhile_stays_as_it_is(chronicle: Chronicle) -> None:
    same = await chronicle.approved("How large is the rank?", "Four.")
    done = await surroundings.decide_alike(chronicle.database, (same,), MO, "reject", answer="")  # type: ignore[arg-type]
    async with chronicle.database.session(read_only=True) as session:
        assert done == [] and (await journal.find_turn(session, same)).review_state == "approved"


async def test_personal_data_is_named_and_the_answer_offered_without_it(chronicle: Chronicle) -> None:
    answer = ANSWER.__class__(
        answer="Write to ada.lovelace@analytical.org.", mode="default", language="en", base_model="base"
    )
    turn = await chronicle.answered(answer=answer)
    found = await surroundings.around(chronicle.database, turn, MO)
    assert found.personal == ("e-mail",) and found.masked == "Write to [e-mail]."


async def test_personal_data_in_what_a_member_suggested_is_named(chronicle: Chronicle) -> None:
    turn = await chronicle.answered()
    await chronicle.vote(turn, -1, suggested_answer="Ask ada.lovelace@analytical.org instead.")
    assert (await surroundings.around(chronicle.database, turn, MO)).personal == ("e-mail",)


async def test_a_moderator_of_another_community_learns_nothing(
    chronicle: Chronicle, database: Database
) -> None:
    turn = await chronicle.answered()
    with pytest.raises(NotFound):
        await surroundings.around(database, turn, Actor("discord", "eve", "moderator", 2))
