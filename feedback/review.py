"""The moderators' queue: look, claim, approve, edit, reject, skip, undo, and the rule that approves by votes.

The queue's order: smallest `turn.queue_rank` first, that is most suggested answers, down votes and votes
(weights in `votes`), gaps and unsure languages (in `journal`), then the oldest. Claims steer `claim_next`
only; a decision counts even while another moderator holds the claim, and the later one gets AlreadyDecided.
So does whoever says what they have `seen` of a turn, for every decision made since, even their own in another
window. Every decision is a Review row and an audit entry. Undone reviews stay, marked; the newest standing
one counts. What is decided on a candidate from talk is decided on all its phrasings.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, Subquery, func, or_, tuple_
from sqlalchemy.orm import aliased
from sqlmodel import case, col, exists, select
from sqlmodel.ext.asyncio.session import AsyncSession

from feedback import imported, passages
from feedback.errors import AlreadyClaimed, AlreadyDecided, Conflict, UsageError
from feedback.journal import UNSURE_LANGUAGE_WEIGHT, audit, locked_turn
from feedback.plural import counted
from feedback.tables import PHRASING, Audit, Community, Member, Review, Turn, Vote, now
from feedback.words import APPROVED_STATES, AUTO_REVIEWER, Decision, Language, ReviewState, TaskType

CLAIM_FOR: Final = timedelta(minutes=15)
"""How long a claimed turn belongs to its moderator unless the caller says otherwise."""
UNDECIDED: Final = 0
"""What a reviewer has `seen` of a turn that waits for a decision."""
APPROVED_AT_ONCE: Final = 500
"""Turns that the automatic rule approves in one transaction, which keeps other writers waiting."""
APPROVING: Final[tuple[Decision, ...]] = ("approve", "edit")
TRAINABLE: Final = APPROVED_STATES

_LABELLED: Final = "review.task-type"
_STATE_AFTER: Final[dict[str, ReviewState]] = {"approve": "approved", "edit": "edited", "reject": "rejected"}


class QueuePosition(NamedTuple):
    """A place in the queue, to go on after it."""

    rank: int
    turn_id: int


@dataclass(frozen=True)
class QueuedVote:
    """A vote as moderators see it: without its member; no suggestion of a member who opted out."""

    value: int
    reason: str
    suggested_answer: str


@dataclass(frozen=True)
class WaitingTurn:
    """A turn that waits for a decision, with its votes, oldest vote first."""

    turn: Turn
    votes: tuple[QueuedVote, ...]

    @property
    def score(self) -> int:
        """Up votes minus down votes."""
        return sum(vote.value for vote in self.votes)

    @property
    def reasons(self) -> tuple[str, ...]:
        """The reasons given, each once."""
        return tuple(dict.fromkeys(vote.reason for vote in self.votes if vote.reason))

    @property
    def suggested_answers(self) -> tuple[str, ...]:
        """The answers that members would have given, each once."""
        return tuple(dict.fromkeys(vote.suggested_answer for vote in self.votes if vote.suggested_answer))


async def open_gaps(session: AsyncSession, community_id: int, *, since: datetime) -> list[Turn]:
    """The questions since then that nothing known answered and nobody has decided on, the newest first.

    A question that was asked several times comes once; those of members who opted out are left out.
    """
    rows = await session.exec(
        select(Turn)
        .outerjoin(Member, col(Member.id) == Turn.member_id)
        .where(
            *_in_queue(community_id),
            Turn.answer_kind == "gap",
            col(Turn.asked_at) >= since,
            or_(col(Turn.member_id).is_(None), col(Member.opted_out).is_(False)),
        )
        .order_by(col(Turn.id).desc())
    )
    return list({turn.question.casefold(): turn for turn in reversed(rows.all())}.values())[::-1]


async def waiting(
    session: AsyncSession, *, community_id: int | None = None, limit: int = 50
) -> list[WaitingTurn]:
    """Answered turns that nobody decided on, most useful first.

    One query, votes included. Turns claimed by somebody are listed too: `turn.claimed_by` says so.
    """
    queue = select(Turn).where(*_in_queue(community_id))
    page = queue.order_by(col(Turn.queue_rank), col(Turn.id)).limit(limit)
    return await _with_votes(session, page.subquery())


async def claim_next(
    session: AsyncSession,
    reviewer: str,
    *,
    community_id: int | None = None,
    claim_for: timedelta = CLAIM_FOR,
    window: str = "",
) -> WaitingTurn | None:
    """The turn to decide on next, kept from other moderators for `claim_for`; None when nothing waits.

    Asked again before deciding, the same turn comes back and its claim is renewed. A reviewer who reviews in
    several windows gets another turn in each, with `window` to tell them apart. Turns that this reviewer
    skipped go to others only.
    """
    moment, claimant = now(), _claimant(reviewer, window)
    skipped = exists().where(
        col(Review.turn_id) == Turn.id,
        col(Review.reviewer) == reviewer,
        col(Review.decision) == "skip",
        col(Review.undone_at).is_(None),
    )
    free = select(Turn).where(*_in_queue(community_id), _unclaimed(moment, claim_for), ~skipped)
    # deciding releases the claim, so what is claimed still waits
    claimed = select(Turn).where(Turn.claimed_by == claimant, col(Turn.claimed_until) > moment)
    if community_id is not None:
        claimed = claimed.where(Turn.community_id == community_id)
    in_order = (
        claimed.order_by(col(Turn.claimed_until)),
        free.order_by(col(Turn.queue_rank), col(Turn.id)),
    )
    for candidates in in_order:
        # PostgreSQL passes over what another moderator is claiming this moment; SQLite lets one session
        # in at a time
        first = (
            candidates.limit(1)
            .with_for_update(skip_locked=True, of=Turn)
            .execution_options(populate_existing=True)
        )
        turn = (await session.exec(first)).one_or_none()
        if turn is not None:
            return await _claim(session, turn, claimant, moment + claim_for)
    return None


async def claim(
    session: AsyncSession,
    turn_id: int,
    reviewer: str,
    *,
    claim_for: timedelta = CLAIM_FOR,
    window: str = "",
) -> WaitingTurn:
    """Keep one turn for a reviewer, as `claim_next` does, to decide again what was undone.

    Raises NotFound; Conflict when the turn does not wait, AlreadyClaimed when somebody else has claimed it.
    """
    turn = await locked_turn(session, turn_id)
    if (turn.review_state, turn.state) != ("waiting", "answered"):
        raise Conflict(f"Turn {turn_id} does not wait for a decision: it is {turn.review_state}.")
    moment, claimant = now(), _claimant(reviewer, window)
    if turn.claimed_by not in ("", claimant) and _counts(turn.claimed_until, moment, claim_for):
        raise AlreadyClaimed(turn_id, turn.claimed_by)
    return await _claim(session, turn, claimant, moment + claim_for)


async def look_on(
    session: AsyncSession,
    turn_id: int,
    reviewer: str,
    *,
    community_id: int | None = None,
    claim_for: timedelta = CLAIM_FOR,
    window: str = "",
    leaving_out: Collection[int] = (),
) -> WaitingTurn | None:
    """The free turn behind that one in the queue, claimed instead of it; None, and no change, at the end.

    Nothing is decided, not even that the turn is skipped; those of `leaving_out` are passed over. Raises
    NotFound.
    """
    turn = await locked_turn(session, turn_id)
    moment, claimant = now(), _claimant(reviewer, window)
    behind = (
        select(Turn)
        .where(
            *_in_queue(community_id),
            _unclaimed(moment, claim_for),
            col(Turn.id).not_in(leaving_out),
            tuple_(col(Turn.queue_rank), col(Turn.id)) > tuple_(turn.queue_rank, turn_id),
        )
        .order_by(col(Turn.queue_rank), col(Turn.id))
        .limit(1)
        .with_for_update(skip_locked=True, of=Turn)
        .execution_options(populate_existing=True)
    )
    found = (await session.exec(behind)).one_or_none()
    if found is None:
        return None
    if turn.claimed_by == claimant:
        _release(turn)
        session.add(turn)
    return await _claim(session, found, claimant, moment + claim_for)


async def decide(
    session: AsyncSession,
    turn_id: int,
    reviewer: str,
    decision: Decision,
    *,
    answer: str = "",
    note: str = "",
    seen: int | None = None,
) -> Review:
    """Record a moderator's decision and what follows for the turn.

    approve takes the answer as it is, edit replaces it by `answer`, reject keeps the turn out of training,
    skip leaves it to the other moderators. The same decision twice is one, and anybody may overrule the
    automatic rule.

    `seen` is the id of the decision that the reviewer knows of, UNDECIDED for a turn that waited: that one
    may be replaced, whoever made it, and no other. Without it a reviewer may replace their own decision.
    Raises NotFound; UsageError for an edit without an answer; AlreadyDecided when a decision stands that may
    not be replaced; Conflict when there is no answer to approve.
    """
    turn = await locked_turn(session, turn_id)
    standing = await _standing(session, turn_id)
    _refuse_impossible(turn, decision, answer, standing)
    if standing is not None:
        same = (standing.reviewer, standing.decision, standing.answer, standing.note)
        if same == (reviewer, decision, answer if decision == "edit" else "", note):
            return standing
        may_replace = standing.reviewer == reviewer if seen is None else standing.id == seen
        if not may_replace and standing.reviewer != AUTO_REVIEWER:
            raise _already_decided(turn, standing)
    return await _record(session, turn, reviewer, decision, answer=answer, note=note)


async def undo(session: AsyncSession, turn_id: int, reviewer: str) -> Turn:
    """Take back the newest decision on a turn, whoever made it; the one before it counts again.

    A reviewer's own skip can be taken back as well. Raises NotFound; Conflict when nothing stands.
    """
    turn = await locked_turn(session, turn_id)
    newest = await _standing(session, turn_id, or_skipped_by=reviewer)
    if newest is None or turn.state == "erased":
        raise Conflict(f"There is no decision on turn {turn_id} to undo.")
    newest.undone_at = now()
    session.add(newest)
    await session.flush()
    standing = await _standing(session, turn_id)
    _apply(turn, standing)
    session.add(turn)
    phrasings = await _phrasings(session, turn) if newest.decision != "skip" else []
    for phrasing in phrasings:
        theirs = await _standing(session, phrasing.id or 0)
        if theirs is not None:
            theirs.undone_at = newest.undone_at
            session.add(theirs)
            await session.flush()
        _apply(phrasing, await _standing(session, phrasing.id or 0), undecided=PHRASING)
        session.add(phrasing)
    audit(
        session,
        reviewer,
        "review.undo",
        f"turn {turn_id}",
        review_id=newest.id,
        decision=newest.decision,
        decided_by=newest.reviewer,
        now=turn.review_state,
    )
    await passages.follow(session, col(Turn.id).in_([turn_id, *(one.id for one in phrasings)]))
    return turn


async def label_task_type(session: AsyncSession, turn_id: int, task_type: TaskType, reviewer: str) -> Turn:
    """Say what kind of answer a turn has; no rule changes a person's word. Raises NotFound, Conflict."""
    turn = await locked_turn(session, turn_id)
    if turn.state == "erased":
        raise Conflict(f"Turn {turn_id} was erased; there is nothing left to label.")
    before, turn.task_type = turn.task_type, task_type
    session.add(turn)
    # "qa" is also what nobody said anything about: the audit knows the difference
    audit(session, reviewer, _LABELLED, f"turn {turn_id}", before=before, task_type=task_type)
    await session.flush()
    return turn


async def label_language(session: AsyncSession, turn_id: int, language: Language, reviewer: str) -> Turn:
    """Say in which language a turn is, where it was recognised wrongly. Raises NotFound, Conflict."""
    turn = await locked_turn(session, turn_id)
    if turn.state == "erased":
        raise Conflict(f"Turn {turn_id} was erased; there is nothing left to label.")
    if turn.language != language:
        audit(
            session, reviewer, "review.language", f"turn {turn_id}", before=turn.language, language=language
        )
        if turn.language_unsure:
            turn.language_unsure = False
            turn.queue_rank += UNSURE_LANGUAGE_WEIGHT
        turn.language = language
        session.add(turn)
        await session.flush()
    return turn


async def turns_labelled(session: AsyncSession, among: Collection[int] | None = None) -> set[int]:
    """The turns whose task type a person said, of those named; None is all."""
    labelled = select(Audit.subject).where(Audit.action == _LABELLED).distinct()
    if among is not None:
        labelled = labelled.where(col(Audit.subject).in_([f"turn {turn}" for turn in among]))
    return {int(subject.removeprefix("turn ")) for subject in await session.exec(labelled)}


async def apply_auto_approval(
    session: AsyncSession,
    min_votes: int,
    min_score: int,
    *,
    claim_for: timedelta = CLAIM_FOR,
) -> int:
    """Approve waiting turns by votes; the number approved, at most `APPROVED_AT_ONCE` in one call.

    A turn needs `min_votes` votes and up minus down of `min_score`; `min_votes` 0 turns the rule off. The
    rule leaves alone what a moderator has claimed or skipped, and what was undone before.
    """
    if min_votes <= 0:
        return 0
    voted = (
        select(Vote.turn_id)
        .group_by(col(Vote.turn_id))
        .having(func.count() >= min_votes, func.sum(Vote.value) >= min_score)
    )
    touched = exists().where(col(Review.turn_id) == Turn.id)
    candidates = (
        select(Turn)
        .where(
            *_in_queue(None),
            col(Turn.answer) != "",
            Turn.answer_kind == "generated",  # the moderators' own words, or that nobody knows, need no votes
            col(Turn.id).in_(voted),
            _unclaimed(now(), claim_for),
            ~touched,
        )
        .order_by(col(Turn.id))
        .limit(APPROVED_AT_ONCE)
        .with_for_update(skip_locked=True, of=Turn)
        .execution_options(populate_existing=True)
    )
    turns = (await session.exec(candidates)).all()
    for turn in turns:
        await _record(
            session, turn, AUTO_REVIEWER, "approve", note=f"{counted(min_votes, 'vote')}, score {min_score}"
        )
    return len(turns)


async def count_new_approved(
    session: AsyncSession, since_review_id: int = 0, *, at_most: int | None = None
) -> int:
    """How many turns that may be trained on have been approved or edited after that review.

    Where that is much, `at_most` ends the count there.
    """
    newer = (
        select(Turn.id)
        .join(Review, col(Review.turn_id) == Turn.id)
        .join(Community, col(Community.id) == Turn.community_id)
        .outerjoin(Member, col(Member.id) == Turn.member_id)
        .where(
            col(Turn.review_state).in_(TRAINABLE),
            col(Community.training_allowed).is_(True),
            or_(col(Turn.member_id).is_(None), col(Member.opted_out).is_(False)),
            col(Turn.id).not_in(imported.with_words_of_opted_out()),
            col(Turn.held_out).is_(False),
            col(Review.id) > since_review_id,
            col(Review.undone_at).is_(None),
            col(Review.decision).in_(APPROVING),
        )
        .limit(at_most)
        .subquery()
    )
    return (await session.exec(select(func.count(func.distinct(newer.c.id))))).one()


def _in_queue(community_id: int | None) -> list[ColumnElement[bool]]:
    conditions = [
        col(Turn.review_state) == "waiting",
        col(Turn.state) == "answered",
        col(Turn.id).not_in(imported.with_words_of_opted_out()),
    ]
    return conditions if community_id is None else [col(Turn.community_id) == community_id, *conditions]


def _claimant(reviewer: str, window: str) -> str:
    return f"{reviewer} ({window})" if window else reviewer


def _counts(claimed_until: datetime | None, moment: datetime, claim_for: timedelta) -> bool:
    """Whether a claim keeps a turn from others; `_unclaimed` says the same to the database.

    One that ends later than any claim could was made before the clock was set back. Twice the time is allowed
    because the clocks of machines on one record differ.
    """
    return claimed_until is not None and moment < claimed_until <= moment + 2 * claim_for


def _unclaimed(moment: datetime, claim_for: timedelta) -> ColumnElement[bool]:
    until = col(Turn.claimed_until)
    return or_(until.is_(None), until <= moment, until > moment + 2 * claim_for)


async def _claim(session: AsyncSession, turn: Turn, claimant: str, until: datetime) -> WaitingTurn:
    turn.claimed_by, turn.claimed_until = claimant, until
    session.add(turn)
    await session.flush()
    return (await _with_votes(session, select(Turn).where(Turn.id == turn.id).subquery()))[0]


async def _with_votes(session: AsyncSession, page: Subquery) -> list[WaitingTurn]:
    turns = aliased(Turn, page)
    suggestion = case((col(Member.opted_out).is_(True), ""), else_=col(Vote.suggested_answer))
    rows = await session.exec(
        select(turns, Vote.value, Vote.reason, suggestion)
        .outerjoin(Vote, col(Vote.turn_id) == turns.id)
        .outerjoin(Member, col(Member.id) == Vote.member_id)
        .order_by(col(turns.queue_rank), col(turns.id), col(Vote.id))
        .execution_options(populate_existing=True)
    )
    found: dict[int, tuple[Turn, list[QueuedVote]]] = {}
    for turn, value, reason, suggested_answer in rows:
        assert turn.id is not None, "a stored turn has its id"
        _, votes = found.setdefault(turn.id, (turn, []))
        if value is not None:
            votes.append(QueuedVote(value, reason, suggested_answer))
    return [WaitingTurn(turn, tuple(votes)) for turn, votes in found.values()]


async def _standing(
    session: AsyncSession, turn_id: int, *, or_skipped_by: str | None = None
) -> Review | None:
    """The newest standing decision; skips decide nothing and count only when one's own is looked for."""
    counts: ColumnElement[bool] = col(Review.decision) != "skip"
    if or_skipped_by is not None:
        counts = or_(counts, col(Review.reviewer) == or_skipped_by)
    newest = (
        select(Review)
        .where(Review.turn_id == turn_id, col(Review.undone_at).is_(None), counts)
        .order_by(col(Review.id).desc())
        .limit(1)
    )
    return (await session.exec(newest)).one_or_none()


def _refuse_impossible(turn: Turn, decision: Decision, answer: str, standing: Review | None) -> None:
    if turn.state == "erased":
        raise Conflict(f"Turn {turn.id} was erased; there is nothing left to decide on.")
    if decision == "edit" and not answer.strip():
        raise UsageError(
            f"An edit of turn {turn.id} needs an answer.", "Give the better answer, or reject the turn."
        )
    if decision == "approve" and (turn.state != "answered" or not turn.answer.strip()):
        raise Conflict(
            f"Turn {turn.id} has no complete answer to approve.",
            "Edit it with the answer it should have had, or reject it.",
        )
    if decision == "skip" and standing is not None:
        raise _already_decided(turn, standing)


def _already_decided(turn: Turn, standing: Review) -> AlreadyDecided:
    return AlreadyDecided(
        turn.id or 0,
        state=_STATE_AFTER[standing.decision],
        reviewer=standing.reviewer,
        review_id=standing.id or 0,
    )


async def _record(
    session: AsyncSession, turn: Turn, reviewer: str, decision: Decision, *, answer: str = "", note: str = ""
) -> Review:
    assert turn.id is not None, "a stored turn has its id"
    review = Review(
        turn_id=turn.id,
        reviewer=reviewer,
        decision=decision,
        answer=answer if decision == "edit" else "",
        note=note,
    )
    session.add(review)
    phrasings = await _phrasings(session, turn) if decision != "skip" else []
    if decision == "skip":
        _release(turn)
    else:
        _apply(turn, review)
        for phrasing in phrasings:
            theirs = Review(
                turn_id=phrasing.id or 0,
                reviewer=reviewer,
                decision=decision,
                answer=review.answer,
                note=note,
            )
            _apply(phrasing, theirs)
            session.add_all((phrasing, theirs))
    session.add(turn)
    await session.flush()
    audit(session, reviewer, f"review.{decision}", f"turn {turn.id}", review_id=review.id)
    await passages.follow(session, col(Turn.id).in_([turn.id, *(one.id for one in phrasings)]))
    return review


async def _phrasings(session: AsyncSession, turn: Turn) -> list[Turn]:
    """The turns that follow what is decided on this one."""
    is_candidate = turn.import_id is not None and turn.regenerates_id is None
    return await imported.phrasings(session, turn.id or 0) if is_candidate else []


def _apply(turn: Turn, standing: Review | None, *, undecided: ReviewState = "waiting") -> None:
    """Make the turn repeat what its standing decision says; without one it is `undecided`."""
    if standing is None:
        turn.review_state, turn.approved_answer = undecided, ""
    else:
        turn.review_state = _STATE_AFTER[standing.decision]
        turn.approved_answer = {"approve": turn.answer, "edit": standing.answer}.get(standing.decision, "")
    _release(turn)


def _release(turn: Turn) -> None:
    turn.claimed_by, turn.claimed_until = "", None
