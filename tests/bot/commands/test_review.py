"""Moderators' commands tell what a decision means for training."""

from __future__ import annotations

from typing import Any

import pytest

from bot.access.actor import Actor
from bot.commands import review
from bot.errors import NotAllowed
from feedback import consent, journal
from feedback.errors import Conflict, NotFound, UsageError
from feedback.journal import Answered
from feedback.tables import Adapter, Community
from tests.chronicle import Chronicle

OPERATOR = Actor("terminal", "root", "operator")
NEW = Actor("discord", "newcomer", "operator")
MOD, OTHER, ADA, BEN = (Actor("discord", name, "operator") for name in ("mod", "other", "ada", "ben"))


async def set_community(chronicle: Chronicle, **values: Any) -> None:
    async with chronicle.database.session() as session:
        community = await session.get_one(Community, chronicle.community_id)
        session.add(community.sqlmodel_update(values))


# what waits


async def test_the_queue_shows_a_turn_with_its_votes_and_what_moderators_need(chronicle: Chronicle) -> None:
    async with chronicle.database.session() as session:
        adapter = Adapter(
            name="community", version=3, folder="f", content_hash="h", base_model="b", base_revision="r"
        )
        session.add(adapter)
        await session.flush()
        adapter_id = adapter.id
    turn_id = await chronicle.answered(
        "Why?",
        mode="tldr",
        answer=Answered("Because.", "tldr", "en", "b", adapter_id=adapter_id),
    )
    await chronicle.vote(turn_id, 1, by="ben")
    await chronicle.vote(turn_id, -1, by="cyd", reason="tone", suggested_answer="Nicer.")
    queue = await review.queue(chronicle.database, OPERATOR)
    (entry,) = queue.entries
    assert queue.waiting == 1
    assert (entry.turn_id, entry.question, entry.answer, entry.mode) == (turn_id, "Why?", "Because.", "tldr")
    assert (entry.community, entry.adapter) == ("A guild", "community@3")
    assert (entry.votes_up, entry.votes_down) == (1, 1)
    assert (entry.reasons, entry.suggested_answers, entry.claimed_by) == (("tone",), ("Nicer.",), "")


async def test_the_queue_counts_all_that_wait_and_shows_the_most_useful_first(chronicle: Chronicle) -> None:
    await chronicle.answered("Plain?")
    voted = await chronicle.answered("Voted?")
    await chronicle.answered("Third?")
    await chronicle.vote(voted, -1)
    queue = await review.queue(chronicle.database, OPERATOR, limit=2)
    assert [entry.question for entry in queue.entries] == ["Voted?", "Plain?"]
    assert queue.waiting == 3
    assert queue.entries[1].adapter == "base"


async def test_the_queue_of_one_community_leaves_the_others_out(chronicle: Chronicle) -> None:
    await chronicle.answered()
    async with chronicle.database.session() as session:
        await journal.community(session, "telegram", "chat")
    assert (await review.queue(chronicle.database, OPERATOR, community="A guild")).waiting == 1
    assert (await review.queue(chronicle.database, OPERATOR, community="telegram:chat")) == review.Queue(
        (), 0
    )
    with pytest.raises(NotFound, match="There is no community nobody"):
        await review.queue(chronicle.database, OPERATOR, community="nobody")


# decisions


async def test_approving_takes_the_answer_as_it_is_and_it_trains(chronicle: Chronicle) -> None:
    decided = await review.approve(chronicle.database, await chronicle.answered(), MOD)
    assert (decided.state, decided.approved_answer) == ("approved", "An answer.")
    assert (decided.changed, decided.trains, decided.why_not) == (True, True, "")


async def test_editing_replaces_the_answer_without_the_space_round_it(chronicle: Chronicle) -> None:
    decided = await review.edit(chronicle.database, await chronicle.answered(), MOD, "\n A better one.\n")
    assert (decided.state, decided.approved_answer, decided.trains) == ("edited", "A better one.", True)


async def test_rejecting_keeps_a_turn_out_and_needs_no_reason_why(chronicle: Chronicle) -> None:
    decided = await review.reject(chronicle.database, await chronicle.answered(), MOD)
    assert (decided.state, decided.approved_answer) == ("rejected", "")
    assert (decided.trains, decided.why_not) == (False, "")


async def test_the_same_decision_again_changes_nothing_and_says_so(chronicle: Chronicle) -> None:
    turn_id = await chronicle.answered()
    assert (await review.approve(chronicle.database, turn_id, MOD)).changed
    assert not (await review.approve(chronicle.database, turn_id, MOD)).changed
    assert (await review.reject(chronicle.database, turn_id, MOD)).changed


async def test_undoing_puts_a_turn_back_into_the_queue(chronicle: Chronicle) -> None:
    turn_id = await chronicle.answered()
    await review.approve(chronicle.database, turn_id, MOD)
    undone = await review.undo(chronicle.database, turn_id, OTHER)
    assert (undone.state, undone.trains, undone.approved_answer) == ("waiting", False, "")
    assert (await review.queue(chronicle.database, OPERATOR)).waiting == 1
    with pytest.raises(Conflict, match="no decision"):
        await review.undo(chronicle.database, turn_id, OTHER)


async def test_another_moderators_decision_stands(chronicle: Chronicle) -> None:
    turn_id = await chronicle.answered()
    await review.approve(chronicle.database, turn_id, MOD)
    with pytest.raises(Conflict, match=f"Turn {turn_id} was already approved by {MOD.name}"):
        await review.reject(chronicle.database, turn_id, OTHER)
    assert (await review.find(chronicle.database, turn_id)).review_state == "approved"


@pytest.mark.parametrize("answer", ["", " \n"])
async def test_an_edit_without_an_answer_is_refused(chronicle: Chronicle, answer: str) -> None:
    with pytest.raises(UsageError, match="needs an answer"):
        await review.edit(chronicle.database, await chronicle.answered(), MOD, answer)


@pytest.mark.parametrize("turn_id", [0, -1, 999, 2**40, -(10**20)])
async def test_a_turn_that_is_not_there_is_named(chronicle: Chronicle, turn_id: int) -> None:
    for refused in (
        review.approve(chronicle.database, turn_id, MOD),
        review.undo(chronicle.database, turn_id, MOD),
        review.find(chronicle.database, turn_id),
        review.claim(chronicle.database, turn_id, MOD),
    ):
        with pytest.raises(NotFound, match=f"There is no turn {turn_id}"):
            await refused


# why an approved turn does not train


async def test_approving_says_when_the_community_does_not_allow_training(chronicle: Chronicle) -> None:
    await set_community(chronicle, training_allowed=False)
    decided = await review.approve(chronicle.database, await chronicle.answered(), MOD)
    assert (decided.state, decided.trains) == ("approved", False)
    assert decided.why_not == "A guild does not allow training"


async def test_approving_says_when_the_member_has_opted_out(chronicle: Chronicle) -> None:
    turn_id = await chronicle.answered(by="ada")
    async with chronicle.database.session() as session:
        await consent.opt_out(session, chronicle.members["ada"])
    decided = await review.approve(chronicle.database, turn_id, MOD)
    assert (decided.trains, decided.why_not) == (False, "the member who asked has opted out")


async def test_approving_says_when_a_turn_is_held_out(chronicle: Chronicle) -> None:
    decided = await review.approve(chronicle.database, await chronicle.answered(held_out=True), MOD)
    assert (decided.trains, decided.why_not) == (False, "it is held out for examinations")


async def test_the_approval_that_makes_a_burst_says_that_all_of_it_is_held(chronicle: Chronicle) -> None:
    database = chronicle.database
    turns = [await chronicle.answered() for _ in range(4)]
    first, second = [await review.approve(database, turn, NEW, held_burst=2) for turn in turns[:2]]
    assert (first.trains, first.quarantined) == (True, 0)
    assert (second.trains, second.quarantined, second.why_not) == (False, 2, "")
    assert "2 of your approvals" in second.caveat("en") and "2" in second.caveat("pl")
    edited = await review.edit(database, turns[2], NEW, "Better.", held_burst=2)
    assert (edited.trains, edited.quarantined) == (False, 3)
    await review.trust(database, NEW.name, approvals=2, by=OPERATOR)
    trusted = await review.approve(database, turns[3], NEW, held_burst=2)
    assert (trusted.trains, trusted.quarantined, trusted.caveat("en")) == (True, 0, "")


async def test_what_an_operator_approves_fast_is_not_held(chronicle: Chronicle) -> None:
    for turn in [await chronicle.answered() for _ in range(3)]:
        decided = await review.approve(chronicle.database, turn, OPERATOR, held_burst=2)
        assert decided.trains


# what kind of answer it is


async def test_an_entry_says_what_kind_of_answer_the_rules_see_until_somebody_says_it(
    chronicle: Chronicle,
) -> None:
    turn = await chronicle.answered(answer=Answered("```\nls\n```", "default", "en", "b"))
    (entry,) = (await review.queue(chronicle.database, OPERATOR)).entries
    assert (entry.task_type, entry.task_type_is_said) == ("code", False)
    await review.label_task_type(chronicle.database, turn, "qa", MOD)
    claimed = await review.claim_next(chronicle.database, MOD)
    assert claimed is not None
    assert (claimed.task_type, claimed.task_type_is_said) == ("qa", True)


# moderators of one community


async def test_a_moderator_of_one_community_reaches_no_turn_of_another(chronicle: Chronicle) -> None:
    turn_id = await chronicle.answered()
    foreign = Actor("discord", "mod", "moderator", chronicle.community_id + 1)
    own = Actor("discord", "mod", "moderator", chronicle.community_id)
    database = chronicle.database
    for refused in (
        review.approve(database, turn_id, foreign),
        review.edit(database, turn_id, foreign, "Mine."),
        review.reject(database, turn_id, foreign),
        review.claim(database, turn_id, foreign),
        review.skip(database, turn_id, foreign),
        review.undo(database, turn_id, foreign),
    ):
        with pytest.raises(NotFound, match="another community"):
            await refused
    assert await review.claim_next(database, foreign) is None
    assert (await review.find(database, turn_id)).review_state == "waiting"
    assert (await review.approve(database, turn_id, own)).changed


async def test_a_member_reviews_nothing_even_in_their_own_community(chronicle: Chronicle) -> None:
    turn_id = await chronicle.answered()
    member = Actor("discord", "ada", "member", chronicle.community_id)
    for refused in (
        review.queue(chronicle.database, member),
        review.claim_next(chronicle.database, member),
        review.approve(chronicle.database, turn_id, member),
        review.label_task_type(chronicle.database, turn_id, "qa", member),
    ):
        with pytest.raises(NotAllowed, match="Only moderators"):
            await refused


async def test_two_moderators_get_different_turns_and_a_skipped_one_goes_to_the_other(
    chronicle: Chronicle,
) -> None:
    first, second = await chronicle.answered("First?"), await chronicle.answered("Second?")
    ada = await review.claim_next(chronicle.database, ADA)
    ben = await review.claim_next(chronicle.database, BEN)
    assert ada is not None and ben is not None
    assert (ada.turn_id, ada.claimed_by, ben.turn_id) == (first, ADA.name, second)
    await review.skip(chronicle.database, first, ADA)
    assert await review.claim_next(chronicle.database, ADA) is None
    await review.approve(chronicle.database, second, BEN)
    again = await review.claim_next(chronicle.database, BEN)
    assert again is not None and again.turn_id == first
