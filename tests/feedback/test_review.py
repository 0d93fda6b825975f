"""The moderators' queue: its order, claims that never collide, decisions that stand until undone."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event
from sqlmodel import select

from feedback import consent, conversations, journal, review
from feedback.conversations import Spoken
from feedback.database import Database
from feedback.errors import (
    AlreadyClaimed,
    AlreadyDecided,
    Conflict,
    NotFound,
    ThumbloopError,
    UsageError,
)
from feedback.tables import Audit, Community, Review, Turn
from feedback.words import AUTO_REVIEWER
from tests.chronicle import Chronicle

# --- the queue ---


async def test_the_queue_is_empty_before_anything_is_answered(chronicle: Chronicle) -> None:
    await chronicle.asked()
    assert await _waiting(chronicle) == []


async def test_the_queue_puts_what_teaches_most_first_and_then_the_oldest(chronicle: Chronicle) -> None:
    plain, liked, disliked, corrected, plain_too = [await chronicle.answered() for _ in range(5)]
    await chronicle.vote(liked, 1)
    await chronicle.vote(disliked, -1)
    await chronicle.vote(corrected, -1, suggested_answer="Better.")
    assert await _waiting(chronicle) == [corrected, disliked, liked, plain, plain_too]


async def test_a_vote_taken_back_gives_the_place_in_the_queue_back(chronicle: Chronicle) -> None:
    first, second = [await chronicle.answered() for _ in range(2)]
    await chronicle.vote(second, -1, suggested_answer="Better.")
    await chronicle.vote(second, 0)
    assert await _waiting(chronicle) == [first, second]


async def test_a_waiting_turn_comes_with_its_votes(chronicle: Chronicle) -> None:
    turn_id = await chronicle.answered()
    await chronicle.vote(turn_id, 1, by="ben")
    await chronicle.vote(turn_id, -1, by="cleo", reason="tone", suggested_answer="Better.")
    await chronicle.vote(turn_id, -1, by="dan", reason="tone")
    async with chronicle.database.session(read_only=True) as session:
        (waiting,) = await review.waiting(session)
    assert (waiting.score, waiting.reasons, waiting.suggested_answers) == (-1, ("tone",), ("Better.",))
    assert [vote.value for vote in waiting.votes] == [1, -1, -1]


async def test_the_suggestion_of_a_member_who_opted_out_is_not_shown(chronicle: Chronicle) -> None:
    turn_id = await chronicle.answered()
    await chronicle.vote(turn_id, -1, by="cleo", suggested_answer="Better.")
    async with chronicle.database.session() as session:
        await consent.opt_out(session, await chronicle.member("cleo"))
        (waiting,) = await review.waiting(session)
    assert (waiting.score, waiting.suggested_answers) == (-1, ())


async def test_as_many_turns_of_the_queue_come_as_are_asked_for_whatever_their_votes(
    chronicle: Chronicle,
) -> None:
    turns = [await chronicle.answered() for _ in range(5)]
    await chronicle.vote(turns[3], -1)
    await chronicle.vote(turns[3], 1, by="cleo")
    assert await _waiting(chronicle, limit=2) == [turns[3], turns[0]]


async def test_the_queue_of_one_community_holds_nothing_of_another(chronicle: Chronicle) -> None:
    await chronicle.answered()
    async with chronicle.database.session() as session:
        other = await journal.community(session, "discord", "other")
        assert other.id is not None
        talk = await journal.conversation(session, other.id, "thread")
    theirs = await chronicle.answered(community_id=other.id, conversation_id=talk.id)
    assert await _waiting(chronicle, community_id=other.id) == [theirs]
    assert (await _claim(chronicle, "mo", community_id=other.id)) == theirs
    assert (await _claim(chronicle, "flo", community_id=other.id)) is None


async def test_the_queue_asks_once_for_turns_and_votes_together(chronicle: Chronicle) -> None:
    for _ in range(3):
        await chronicle.vote(await chronicle.answered(), 1)
    assert len(await _statements(chronicle.database, review.waiting)) == 1


async def test_a_long_queue_is_read_along_its_index(tmp_path: Any) -> None:
    database = Database(f"sqlite:///{tmp_path / 'record.db'}")
    await database.upgrade()
    chronicle = await Chronicle(database).open()
    one = (await chronicle.turn(await chronicle.answered())).model_dump(exclude={"id"})
    rows = [one | {"external_id": str(number), "queue_rank": -(number % 7)} for number in range(20_000)]
    async with database.session() as session:
        await (await session.connection()).execute(Turn.__table__.insert(), rows)  # type: ignore[attr-defined]

    async def everybody(session: Any) -> None:
        await review.waiting(session, limit=10)

    async def one_community(session: Any) -> None:
        await review.waiting(session, limit=10, community_id=chronicle.community_id)

    async def claim(session: Any) -> None:
        await review.claim_next(session, "mo")

    for read, expected in (
        (everybody, ["ix_turn_queue (review_state=? AND state=?)"]),
        (
            one_community,
            ["ix_turn_community_queue (community_id=? AND review_state=? AND state=?)"],
        ),
        (
            claim,
            [
                "ix_turn_claim (claimed_by=? AND claimed_until>?)",
                "ix_turn_queue (review_state=? AND state=?)",
            ],
        ),
    ):
        plan = await _plans(database, read)
        assert [step for step in plan if "turn USING INDEX" in step] == [
            f"SEARCH turn USING INDEX {index}" for index in expected
        ]
        assert not any(step.startswith("SCAN turn") for step in plan), plan
        # turns leave the index in order; only the votes of the page are sorted
        assert sum("TEMP B-TREE" in step for step in plan) == 1, plan
    await database.close()


# --- claims ---


async def test_two_moderators_asking_at_once_get_different_turns(chronicle: Chronicle) -> None:
    turns = {await chronicle.answered() for _ in range(6)}
    claims = await asyncio.gather(*(_claim(chronicle, f"mo {number}") for number in range(6)))
    assert set(claims) == turns


async def test_one_turn_goes_to_one_of_many_moderators_asking_at_once(chronicle: Chronicle) -> None:
    await chronicle.answered()
    claims = await asyncio.gather(*(_claim(chronicle, f"mo {number}") for number in range(6)))
    assert sorted(claims, key=str).count(None) == 5


async def test_a_moderator_who_asks_again_gets_the_same_turn_back(chronicle: Chronicle) -> None:
    first, second = [await chronicle.answered() for _ in range(2)]
    assert await _claim(chronicle, "mo") == first
    await chronicle.vote(second, -1)
    assert await _claim(chronicle, "mo") == first


async def test_a_claim_expires(chronicle: Chronicle) -> None:
    turn_id = await chronicle.answered()
    await _claim(chronicle, "mo", claim_for=timedelta(seconds=-1))
    assert await _claim(chronicle, "flo") == turn_id


async def test_a_claim_made_before_the_clock_was_set_back_expires(chronicle: Chronicle) -> None:
    turn_id = await chronicle.answered()
    await _claim(chronicle, "mo", claim_for=timedelta(days=300))
    assert await _claim(chronicle, "flo") == turn_id
    await _claim(chronicle, "flo", claim_for=timedelta(days=300))
    async with chronicle.database.session() as session:
        assert (await review.claim(session, turn_id, "mo")).turn.claimed_by == "mo"


async def test_a_reviewer_gets_another_turn_in_each_window_and_the_same_again_in_one(
    chronicle: Chronicle,
) -> None:
    first, second = [await chronicle.answered() for _ in range(2)]
    assert await _claim(chronicle, "mo", window="laptop") == first
    assert await _claim(chronicle, "mo", window="phone") == second
    assert await _claim(chronicle, "mo", window="laptop") == first
    with pytest.raises(AlreadyClaimed, match=f"Turn {first} is before mo .laptop. now"):
        async with chronicle.database.session() as session:
            await review.claim(session, first, "mo", window="phone")


async def test_an_undone_turn_can_be_claimed_before_what_comes_next(chronicle: Chronicle) -> None:
    first, second = [await chronicle.answered() for _ in range(2)]
    await _claim(chronicle, "mo")
    async with chronicle.database.session() as session:
        await review.decide(session, first, "mo", "reject")
    assert await _claim(chronicle, "mo") == second
    async with chronicle.database.session() as session:
        await review.undo(session, first, "mo")
        claimed = await review.claim(session, first, "mo")
    assert (claimed.turn.id, claimed.turn.claimed_by) == (first, "mo")


async def test_a_turn_before_another_moderator_is_not_claimed_from_them(chronicle: Chronicle) -> None:
    turn_id = await chronicle.answered()
    await _claim(chronicle, "mo")
    with pytest.raises(Conflict, match="mo"):
        async with chronicle.database.session() as session:
            await review.claim(session, turn_id, "flo")


async def test_a_decided_turn_is_not_claimed(chronicle: Chronicle) -> None:
    turn_id = await chronicle.approved()
    with pytest.raises(Conflict, match="approved"):
        async with chronicle.database.session() as session:
            await review.claim(session, turn_id, "flo")


async def test_a_claimed_turn_names_its_moderator_in_the_queue(chronicle: Chronicle) -> None:
    await chronicle.answered()
    await _claim(chronicle, "mo")
    async with chronicle.database.session(read_only=True) as session:
        (waiting,) = await review.waiting(session)
    assert waiting.turn.claimed_by == "mo"


async def test_a_skipped_turn_goes_to_the_others(chronicle: Chronicle) -> None:
    first, second = [await chronicle.answered() for _ in range(2)]
    assert await _claim(chronicle, "mo") == first
    await _decide(chronicle, first, "mo", "skip")
    assert await _claim(chronicle, "mo") == second
    assert await _claim(chronicle, "flo") == first


# --- decisions ---


@pytest.mark.parametrize(
    ("decision", "answer", "state", "approved"),
    [
        ("approve", "", "approved", "An answer."),
        ("edit", "Better.", "edited", "Better."),
        ("reject", "", "rejected", ""),
        ("skip", "", "waiting", ""),
    ],
)
async def test_a_decision_is_kept_and_the_turn_follows_it(
    chronicle: Chronicle, decision: Any, answer: str, state: str, approved: str
) -> None:
    turn_id = await chronicle.answered()
    await _claim(chronicle, "mo")
    kept = await _decide(chronicle, turn_id, "mo", decision, answer=answer, note="why")
    turn = await chronicle.turn(turn_id)
    assert (kept.reviewer, kept.decision, kept.answer, kept.note) == ("mo", decision, answer, "why")
    assert (turn.review_state, turn.approved_answer) == (state, approved)
    assert (turn.claimed_by, turn.claimed_until) == ("", None)


async def test_every_decision_is_audited_without_anybodys_words(chronicle: Chronicle) -> None:
    turn_id = await chronicle.answered()
    kept = await _decide(chronicle, turn_id, "mo", "edit", answer="Better.", note="secret note")
    await _undo(chronicle, turn_id, "flo")
    entries = await _all(chronicle, Audit)
    assert [(entry.actor, entry.action, entry.subject) for entry in entries] == [
        ("mo", "review.edit", f"turn {turn_id}"),
        ("flo", "review.undo", f"turn {turn_id}"),
    ]
    assert entries[1].detail == {
        "review_id": kept.id,
        "decision": "edit",
        "decided_by": "mo",
        "now": "waiting",
    }
    assert "Better" not in str(entries) and "secret" not in str(entries)


async def test_a_later_moderator_is_told_who_decided(chronicle: Chronicle) -> None:
    turn_id = await chronicle.answered()
    await _decide(chronicle, turn_id, "mo", "approve")
    for decision in ("approve", "reject", "skip"):
        with pytest.raises(Conflict, match=f"Turn {turn_id} was already approved by mo."):
            await _decide(chronicle, turn_id, "flo", decision)
    assert (await chronicle.turn(turn_id)).review_state == "approved"


async def test_of_moderators_deciding_at_once_one_wins_and_the_others_are_told(chronicle: Chronicle) -> None:
    turn_id = await chronicle.answered()
    decisions = ["approve", "reject"] * 3
    outcomes = await asyncio.gather(
        *(_decide(chronicle, turn_id, f"mo {number}", how) for number, how in enumerate(decisions)),
        return_exceptions=True,
    )
    won = [outcome for outcome in outcomes if isinstance(outcome, Review)]
    assert len(won) == 1
    assert [type(outcome) for outcome in outcomes if outcome is not won[0]] == [AlreadyDecided] * 5
    assert len(await _all(chronicle, Review)) == 1


async def test_a_decision_counts_although_another_moderator_holds_the_claim(chronicle: Chronicle) -> None:
    turn_id = await chronicle.answered()
    await _claim(chronicle, "mo")
    await _decide(chronicle, turn_id, "flo", "reject")
    with pytest.raises(Conflict, match="rejected by flo"):
        await _decide(chronicle, turn_id, "mo", "approve")


async def test_a_moderator_may_think_again(chronicle: Chronicle) -> None:
    turn_id = await chronicle.answered()
    await _decide(chronicle, turn_id, "mo", "approve")
    await _decide(chronicle, turn_id, "mo", "edit", answer="Better.")
    assert (await chronicle.turn(turn_id)).approved_answer == "Better."
    await _decide(chronicle, turn_id, "mo", "reject")
    turn = await chronicle.turn(turn_id)
    assert (turn.review_state, turn.approved_answer) == ("rejected", "")


async def test_of_one_reviewers_two_windows_the_later_is_told_and_nothing_is_replaced(
    chronicle: Chronicle,
) -> None:
    turn_id = await chronicle.answered()
    kept = await _decide(chronicle, turn_id, "mo", "edit", answer="Better.", seen=review.UNDECIDED)
    for decision in ("approve", "reject", "skip"):
        with pytest.raises(AlreadyDecided, match="already edited by mo") as refused:
            await _decide(chronicle, turn_id, "mo", decision, seen=review.UNDECIDED)
        found = refused.value
        assert (found.turn_id, found.state, found.reviewer) == (turn_id, "edited", "mo")
        assert found.review_id == kept.id
    assert (await chronicle.turn(turn_id)).approved_answer == "Better."


async def test_of_one_reviewers_windows_deciding_at_once_one_wins_and_the_others_are_told(
    chronicle: Chronicle,
) -> None:
    turn_id = await chronicle.answered()
    better = [f"Better, says window {number}." for number in range(6)]
    outcomes = await asyncio.gather(
        *(_decide(chronicle, turn_id, "mo", "edit", answer=one, seen=review.UNDECIDED) for one in better),
        return_exceptions=True,
    )
    (won,) = [outcome for outcome in outcomes if isinstance(outcome, Review)]
    assert sum(isinstance(outcome, AlreadyDecided) for outcome in outcomes) == 5
    assert (await chronicle.turn(turn_id)).approved_answer == won.answer


@pytest.mark.parametrize("reviewer", ["mo", "flo"])
async def test_a_decision_that_was_seen_may_be_replaced_but_not_a_newer_one(
    chronicle: Chronicle, reviewer: str
) -> None:
    turn_id = await chronicle.answered()
    seen = await _decide(chronicle, turn_id, "mo", "approve")
    await _decide(chronicle, turn_id, reviewer, "reject", seen=seen.id)
    with pytest.raises(AlreadyDecided, match=f"already rejected by {reviewer}"):
        await _decide(chronicle, turn_id, reviewer, "edit", answer="Better.", seen=seen.id)


async def test_the_same_decision_from_two_windows_is_one(chronicle: Chronicle) -> None:
    turn_id = await chronicle.answered()
    first = await _decide(chronicle, turn_id, "mo", "approve", seen=review.UNDECIDED)
    assert (await _decide(chronicle, turn_id, "mo", "approve", seen=review.UNDECIDED)).id == first.id


async def test_a_decision_that_was_undone_is_no_obstacle(chronicle: Chronicle) -> None:
    turn_id = await chronicle.answered()
    await _decide(chronicle, turn_id, "flo", "approve")
    await _undo(chronicle, turn_id, "flo")
    await _decide(chronicle, turn_id, "mo", "reject", seen=review.UNDECIDED)
    assert (await chronicle.turn(turn_id)).review_state == "rejected"


async def test_the_same_decision_twice_is_one(chronicle: Chronicle) -> None:
    turn_id = await chronicle.answered()
    first = await _decide(chronicle, turn_id, "mo", "edit", answer="Better.")
    again = await _decide(chronicle, turn_id, "mo", "edit", answer="Better.")
    assert first.id == again.id
    assert len(await _all(chronicle, Review)) == 1


async def test_an_edit_without_an_answer_is_refused(chronicle: Chronicle) -> None:
    turn_id = await chronicle.answered()
    with pytest.raises(UsageError, match="needs an answer"):
        await _decide(chronicle, turn_id, "mo", "edit", answer=" \n")


@pytest.mark.parametrize("how", ["asked", "failed", "cancelled"])
async def test_a_turn_without_its_answer_cannot_be_approved_but_edited(
    chronicle: Chronicle, how: str
) -> None:
    turn_id = await chronicle.asked()
    async with chronicle.database.session() as session:
        if how == "failed":
            await journal.record_failure(session, turn_id, "ref")
        elif how == "cancelled":
            await journal.record_cancelled(session, turn_id, "Half an")
    with pytest.raises(Conflict, match="no complete answer"):
        await _decide(chronicle, turn_id, "mo", "approve")
    await _decide(chronicle, turn_id, "mo", "edit", answer="Whole.")
    assert (await chronicle.turn(turn_id)).approved_answer == "Whole."


async def test_deciding_on_a_turn_that_does_not_exist_says_so(chronicle: Chronicle) -> None:
    with pytest.raises(NotFound, match="There is no turn 404"):
        await _decide(chronicle, 404, "mo", "approve")


async def test_a_refused_decision_leaves_no_trace(chronicle: Chronicle) -> None:
    turn_id = await chronicle.answered()
    await _decide(chronicle, turn_id, "mo", "approve")
    with pytest.raises(ThumbloopError):
        await _decide(chronicle, turn_id, "flo", "reject")
    assert len(await _all(chronicle, Review)) == len(await _all(chronicle, Audit)) == 1


# --- undo ---


async def test_undoing_goes_back_one_decision_at_a_time(chronicle: Chronicle) -> None:
    turn_id = await chronicle.answered()
    await _decide(chronicle, turn_id, "mo", "edit", answer="Better.")
    await _decide(chronicle, turn_id, "mo", "reject")
    turn = await _undo(chronicle, turn_id, "mo")
    assert (turn.review_state, turn.approved_answer) == ("edited", "Better.")
    turn = await _undo(chronicle, turn_id, "mo")
    assert (turn.review_state, turn.approved_answer) == ("waiting", "")
    with pytest.raises(Conflict, match="no decision"):
        await _undo(chronicle, turn_id, "mo")
    assert all(one.undone_at for one in await _all(chronicle, Review))


async def test_after_an_undo_another_moderator_may_decide(chronicle: Chronicle) -> None:
    turn_id = await chronicle.answered()
    await _decide(chronicle, turn_id, "mo", "approve")
    await _undo(chronicle, turn_id, "flo")
    await _decide(chronicle, turn_id, "flo", "reject")
    assert (await chronicle.turn(turn_id)).review_state == "rejected"


async def test_a_skip_is_undone_by_who_skipped(chronicle: Chronicle) -> None:
    turn_id = await chronicle.answered()
    await _decide(chronicle, turn_id, "mo", "skip")
    with pytest.raises(Conflict):
        await _undo(chronicle, turn_id, "flo")
    await _undo(chronicle, turn_id, "mo")
    assert await _claim(chronicle, "mo") == turn_id


# --- what may train ---


async def test_what_trains_comes_with_the_answer_and_the_review_that_count(chronicle: Chronicle) -> None:
    approved, edited, rejected, waiting = [await chronicle.answered() for _ in range(4)]
    await _decide(chronicle, approved, "mo", "approve")
    await _decide(chronicle, edited, "mo", "approve")
    counting = await _decide(chronicle, edited, "mo", "edit", answer="Better.")
    await _decide(chronicle, rejected, "mo", "reject")
    await _decide(chronicle, waiting, "mo", "skip")
    found = await _approved(chronicle)
    assert [one.turn for one in found] == [approved, edited]
    assert (found[1].community, found[1].answer) == (chronicle.community_id, "Better.")
    async with chronicle.database.session(read_only=True) as session:
        assert (await conversations.approvals(session))[edited] == (counting.id, "mo")


@pytest.mark.parametrize("page", [1, 2, 3])
async def test_what_trains_is_the_same_in_pages_of_any_size(
    chronicle: Chronicle, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = [await chronicle.approved(f"And {number}?", "So.") for number in range(4)]
    monkeypatch.setattr(conversations, "PAGE", page)
    assert [one.turn for one in await _approved(chronicle)] == turns
    async with chronicle.database.session(read_only=True) as session:
        assert list(await conversations.approvals(session)) == turns


async def test_nothing_trains_from_a_community_that_does_not_allow_it(chronicle: Chronicle) -> None:
    await _decide(chronicle, await chronicle.answered(), "mo", "approve")
    async with chronicle.database.session() as session:
        community = (await session.exec(select(Community))).one()
        community.training_allowed = False
        session.add(community)
    assert await _approved(chronicle) == []
    assert await _new_approved(chronicle) == 0


async def test_nothing_trains_of_a_member_who_opted_out_until_they_opt_in(chronicle: Chronicle) -> None:
    await _decide(chronicle, await chronicle.answered(by="ada"), "mo", "approve")
    ada = await chronicle.member("ada")
    async with chronicle.database.session() as session:
        await consent.opt_out(session, ada)
    assert (await _approved(chronicle), await _new_approved(chronicle)) == ([], 0)
    async with chronicle.database.session() as session:
        await consent.opt_in(session, ada)
    assert await _new_approved(chronicle) == len(await _approved(chronicle)) == 1


async def test_new_approvals_are_counted_from_a_review_on(chronicle: Chronicle) -> None:
    reviews = [await _decide(chronicle, await chronicle.answered(), "mo", "approve") for _ in range(3)]
    await _decide(chronicle, await chronicle.answered(held_out=True), "mo", "approve")
    await _decide(chronicle, await chronicle.answered(), "mo", "reject")
    assert reviews[0].id is not None
    assert await _new_approved(chronicle) == 3
    assert await _new_approved(chronicle, reviews[0].id) == 2
    await _undo(chronicle, reviews[1].turn_id, "mo")
    assert await _new_approved(chronicle, reviews[0].id) == 1


# --- the automatic rule ---


async def test_the_rule_approves_what_enough_members_liked_under_its_own_name(chronicle: Chronicle) -> None:
    liked, disputed, lonely = [await chronicle.answered() for _ in range(3)]
    for name, on_liked, on_disputed in (("a", 1, 1), ("b", 1, -1), ("c", 1, 1)):
        await chronicle.vote(liked, on_liked, by=name)
        await chronicle.vote(disputed, on_disputed, by=name)
    await chronicle.vote(lonely, 1)
    assert await _auto(chronicle) == 1
    assert await _auto(chronicle) == 0
    (kept,) = await _all(chronicle, Review)
    assert (kept.turn_id, kept.reviewer, kept.decision) == (liked, AUTO_REVIEWER, "approve")
    assert (await chronicle.turn(liked)).approved_answer == "An answer."
    assert [entry.actor for entry in await _all(chronicle, Audit)] == [AUTO_REVIEWER]


async def test_the_rule_is_off_at_zero_votes(chronicle: Chronicle) -> None:
    await _liked(chronicle)
    assert await _auto(chronicle, min_votes=0) == 0


async def test_a_moderator_may_overrule_the_rule(chronicle: Chronicle) -> None:
    turn_id = await _liked(chronicle)
    await _auto(chronicle)
    await _decide(chronicle, turn_id, "mo", "reject")
    assert (await chronicle.turn(turn_id)).review_state == "rejected"


async def test_the_rule_does_not_insist_after_an_undo(chronicle: Chronicle) -> None:
    turn_id = await _liked(chronicle)
    await _auto(chronicle)
    await _undo(chronicle, turn_id, "mo")
    assert await _auto(chronicle) == 0


async def test_a_moderator_overrules_the_rule_although_it_approved_after_they_looked(
    chronicle: Chronicle,
) -> None:
    turn_id = await chronicle.answered()
    await _decide(chronicle, turn_id, AUTO_REVIEWER, "approve")
    await _decide(chronicle, turn_id, "mo", "reject", seen=review.UNDECIDED)
    assert (await chronicle.turn(turn_id)).review_state == "rejected"


async def test_the_rule_leaves_alone_what_a_moderator_has_claimed(chronicle: Chronicle) -> None:
    await _liked(chronicle)
    await _claim(chronicle, "mo")
    assert await _auto(chronicle) == 0


# --- doing it, a session each ---


async def _waiting(chronicle: Chronicle, **where: Any) -> list[int | None]:
    async with chronicle.database.session(read_only=True) as session:
        return [one.turn.id for one in await review.waiting(session, **where)]


async def _claim(chronicle: Chronicle, reviewer: str, **how: Any) -> int | None:
    async with chronicle.database.session() as session:
        claimed = await review.claim_next(session, reviewer, **how)
    return claimed.turn.id if claimed else None


async def _decide(chronicle: Chronicle, turn_id: int, reviewer: str, decision: Any, **more: Any) -> Review:
    async with chronicle.database.session() as session:
        return await review.decide(session, turn_id, reviewer, decision, **more)


async def _undo(chronicle: Chronicle, turn_id: int, reviewer: str) -> Turn:
    async with chronicle.database.session() as session:
        return await review.undo(session, turn_id, reviewer)


async def _auto(chronicle: Chronicle, min_votes: int = 3, min_score: int = 2) -> int:
    async with chronicle.database.session() as session:
        return await review.apply_auto_approval(session, min_votes, min_score)


async def _liked(chronicle: Chronicle) -> int:
    turn_id = await chronicle.answered()
    for name in ("a", "b", "c"):
        await chronicle.vote(turn_id, 1, by=name)
    return turn_id


async def _approved(chronicle: Chronicle) -> list[Spoken]:
    async with chronicle.database.session(read_only=True) as session:
        found = [one async for one in conversations.with_something_approved(session)]
    return [spoken for conversation in found for spoken in conversation if spoken.approved]


async def _new_approved(chronicle: Chronicle, since: int = 0) -> int:
    async with chronicle.database.session(read_only=True) as session:
        return await review.count_new_approved(session, since)


async def _all(chronicle: Chronicle, table: Any) -> list[Any]:
    async with chronicle.database.session(read_only=True) as session:
        return list((await session.exec(select(table).order_by(table.id))).all())


async def _statements(database: Database, read: Any) -> list[tuple[str, Any]]:
    """The SELECTs that `read` sends, with their parameters."""
    sent: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("SELECT"):
            sent.append((statement, parameters))

    async with database.session() as session:
        engine = session.get_bind().engine
        event.listen(engine, "before_cursor_execute", note)
        try:
            await read(session)
        finally:
            event.remove(engine, "before_cursor_execute", note)
    return sent


async def _plans(database: Database, read: Any) -> list[str]:
    """SQLite's plan for every SELECT that `read` sends."""
    plans: list[str] = []
    for statement, parameters in await _statements(database, read):
        async with database.session(read_only=True) as session:
            connection = await session.connection()
            plan = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans += [row.detail for row in plan]
    return plans


# --- looking on, and labels ---


async def test_looking_on_claims_what_stands_behind_and_leaves_what_was_before_free(
    chronicle: Chronicle,
) -> None:
    first, second = [await chronicle.answered() for _ in range(2)]
    async with chronicle.database.session() as session:
        await review.claim_next(session, "mo")
        found = await review.look_on(session, first, "mo")
        assert found is not None and found.turn.id == second
        other = await review.claim_next(session, "ana")
        assert other is not None and other.turn.id == first


async def test_at_the_end_of_the_queue_looking_on_changes_nothing(chronicle: Chronicle) -> None:
    only = await chronicle.answered()
    async with chronicle.database.session() as session:
        await review.claim_next(session, "mo")
        assert await review.look_on(session, only, "mo") is None
        assert (await journal.find_turn(session, only)).claimed_by == "mo"


async def test_a_corrected_language_is_kept_and_audited(chronicle: Chronicle) -> None:
    turn = await chronicle.answered()
    async with chronicle.database.session() as session:
        await review.label_language(session, turn, "pl", "mo")
        await review.label_language(session, turn, "pl", "mo")
        assert (await journal.find_turn(session, turn)).language == "pl"
        entries = (await session.exec(select(Audit).where(Audit.action == "review.language"))).all()
    assert [(one.actor, one.detail) for one in entries] == [("mo", {"before": "en", "language": "pl"})]
