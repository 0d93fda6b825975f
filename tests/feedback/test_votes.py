"""Members' votes: one a member, changed and taken back, counted right also when they come at once."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from sqlmodel import select

from feedback import journal, review, votes
from feedback.errors import NotFound
from feedback.tables import Vote
from feedback.votes import Voted
from tests.chronicle import ANSWER, Chronicle


async def test_a_vote_may_change_and_be_taken_back(chronicle: Chronicle) -> None:
    turn_id = await chronicle.answered()
    assert await chronicle.vote(turn_id, 1) == Voted(0, 1, changed=True)
    assert await chronicle.vote(turn_id, -1, reason="tone") == Voted(1, -1, changed=True)
    assert [(vote.value, vote.reason) for vote in await _votes(chronicle)] == [(-1, "tone")]
    assert await chronicle.vote(turn_id, 0) == Voted(-1, 0, changed=True)
    assert await chronicle.vote(turn_id, 0) == Voted(0, 0, changed=False)
    assert await _votes(chronicle) == []


async def test_the_same_vote_twice_changes_nothing(chronicle: Chronicle) -> None:
    turn_id = await chronicle.answered()
    await chronicle.vote(turn_id, -1, reason="tone", suggested_answer="Better.")
    before = await _votes(chronicle)
    assert await chronicle.vote(turn_id, -1) == Voted(-1, -1, changed=False)
    assert await chronicle.vote(turn_id, -1, reason="tone") == Voted(-1, -1, changed=False)
    assert await _votes(chronicle) == before


async def test_a_turned_vote_drops_the_reason_of_the_former(chronicle: Chronicle) -> None:
    turn_id = await chronicle.answered()
    await chronicle.vote(turn_id, -1, reason="tone")
    await chronicle.vote(turn_id, 1)
    (vote,) = await _votes(chronicle)
    assert (vote.value, vote.reason) == (1, "")


async def test_a_vote_on_a_turn_that_does_not_exist_says_so(chronicle: Chronicle) -> None:
    with pytest.raises(NotFound):
        await chronicle.vote(404, 1)


async def test_one_member_voting_many_times_at_once_has_one_vote(chronicle: Chronicle) -> None:
    turn_id = await chronicle.answered()
    await chronicle.member("ben")
    votes = await asyncio.gather(*(chronicle.vote(turn_id, 1) for _ in range(8)))
    assert [vote.changed for vote in votes].count(True) == 1
    assert len(await _votes(chronicle)) == 1


async def test_members_voting_at_once_are_all_counted(chronicle: Chronicle) -> None:
    turn_id = await chronicle.answered()
    names = [f"member {number}" for number in range(8)]
    for name in names:
        await chronicle.member(name)
    await asyncio.gather(*(chronicle.vote(turn_id, -1, by=name) for name in names))
    assert len(await _votes(chronicle)) == 8
    assert (await chronicle.turn(turn_id)).queue_rank == -8 * votes.DOWN_VOTE_WEIGHT


async def test_a_gap_and_an_unsure_language_are_urgent_before_and_beside_votes(chronicle: Chronicle) -> None:
    gap = await chronicle.answered(answer=replace(ANSWER, answer_kind="gap"))
    unsure = await chronicle.answered(answer=replace(ANSWER, language_unsure=True))
    ranks = [(await chronicle.turn(turn)).queue_rank for turn in (gap, unsure)]
    assert ranks == [-journal.GAP_WEIGHT, -journal.UNSURE_LANGUAGE_WEIGHT]
    await chronicle.vote(gap, 1)
    await chronicle.vote(gap, 0)
    assert (await chronicle.turn(gap)).queue_rank == -journal.GAP_WEIGHT
    async with chronicle.database.session() as session:
        await review.label_language(session, unsure, "pl", "mo")
    assert (await chronicle.turn(unsure)).queue_rank == 0


async def _votes(chronicle: Chronicle) -> list[Vote]:
    async with chronicle.database.session(read_only=True) as session:
        return list((await session.exec(select(Vote))).all())


async def test_a_reason_and_a_suggestion_may_follow_the_bare_thumb(chronicle: Chronicle) -> None:
    turn_id = await chronicle.answered()
    await chronicle.vote(turn_id, -1)
    assert await chronicle.vote(turn_id, -1, reason="wrong facts") == Voted(-1, -1, changed=True)
    assert await chronicle.vote(turn_id, -1, suggested_answer="Better.") == Voted(-1, -1, changed=True)
    (vote,) = await _votes(chronicle)
    assert (vote.reason, vote.suggested_answer) == ("wrong facts", "Better.")
