"""The moderators' commands: what waits, and approve, edit, reject and undo.

The rules are `feedback.review`'s; here a decision gets its own transaction and an account of what it means
for training, so that nobody approves in vain without being told.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import cast

from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from bot.access.actor import Actor
from bot.access.rights import may, require
from bot.commands.communities import find_community
from bot.texts import DOES_NOT_TRAIN, IS_QUARANTINED
from feedback import imported, journal, review, statistics
from feedback import trust as trusting
from feedback.database import Database
from feedback.errors import NotFound
from feedback.review import WaitingTurn
from feedback.tables import Adapter, Community, Member, Review, Turn
from feedback.words import AdapterVersion, AnswerKind, Decision, Language, TaskType, TurnId
from training.data import task_types
from training.data.candidates import mode_of
from training.model import personas

PEOPLE = "people"
"""What stands in an adapter's place for an answer that people wrote."""


@dataclass(frozen=True)
class Evidence:
    """Why a turn was found in imported talk: its score in (0, 1) and the reasons for it, each with a count.

    `phrasings` are how others asked the same; what is decided is decided for them too. `answers` are the
    other ones that were given. `asked_at` is when it was asked in the talk.
    """

    score: float
    reasons: tuple[tuple[str, int], ...]
    phrasings: tuple[str, ...]
    answers: tuple[str, ...]
    asked_at: datetime | None


@dataclass(frozen=True)
class QueueEntry:
    """A turn that waits for a decision; `adapter` is a label, `base` or PEOPLE, `claimed_by` "" when free.

    `evidence` is there where nobody asked the bot: the turn is a candidate from imported talk.

    `task_type` is what a dataset takes the answer to be; unless it `is_said`, it is by rules, which see an
    edited answer anew. `answer_kind` "gap" is a question that nothing in the community's knowledge answers.
    """

    turn_id: TurnId
    community: str
    language: str
    language_unsure: bool
    mode: str
    adapter: str
    question: str
    input: str
    answer: str
    answer_kind: AnswerKind
    votes_up: int
    votes_down: int
    reasons: tuple[str, ...]
    suggested_answers: tuple[str, ...]
    task_type: str
    task_type_is_said: bool
    claimed_by: str
    asked_at: datetime
    evidence: Evidence | None = None


@dataclass(frozen=True)
class Queue:
    """The first entries of the queue, most useful first, and how many wait in all."""

    entries: tuple[QueueEntry, ...]
    waiting: int


@dataclass(frozen=True)
class Decided:
    """What became of a turn. `changed` is False when it had been decided just so before.

    `trains` says whether its pair goes into the next dataset; `why_not` says why an approved one does not.
    `quarantined` is how many of the reviewer's approvals, this one among them, wait for the operator's word.
    """

    turn_id: TurnId
    state: str
    question: str
    approved_answer: str
    changed: bool
    trains: bool
    why_not: str
    quarantined: int = 0

    def caveat(self, language: Language) -> str:
        """That an approved pair does not train, or not yet, so that nobody approves in vain; else ""."""
        if self.why_not:
            return DOES_NOT_TRAIN.say(language, why=self.why_not)
        return IS_QUARANTINED.say(language, count=self.quarantined) if self.quarantined else ""

    def with_caveat(self, said: str, language: Language) -> str:
        """`said` of the decision, and the caveat where there is one."""
        return f"{said} {self.caveat(language)}".strip()


@dataclass(frozen=True)
class Labelled:
    """A turn whose task type a person said."""

    turn_id: TurnId
    task_type: TaskType
    question: str


@dataclass(frozen=True)
class Trusted:
    """A reviewer whom the operator trusts, and how many of their approvals had been quarantined."""

    reviewer: str
    released: int


async def queue(database: Database, actor: Actor, *, community: str | None = None, limit: int = 20) -> Queue:
    """What waits, in a named community or wherever the actor moderates. Raises NotFound, NotAllowed."""
    async with database.session(read_only=True) as session:
        found = await find_community(session, community) if community is not None else None
        community_id = found.id if found else actor.community_id
        require(actor, "review", community_id)
        turns = await review.waiting(session, community_id=community_id, limit=limit)
        total = await statistics.waiting(session, community_id=community_id)
        communities = await _communities(session, {waiting.turn.community_id for waiting in turns})
        adapters = await _labels(session, {waiting.turn.adapter_id for waiting in turns} - {None})
        labelled = await review.turns_labelled(session, [waiting.turn.id or 0 for waiting in turns])
        evidence = await _evidence(session, [waiting.turn for waiting in turns])
    return Queue(
        tuple(_entry(waiting, communities, adapters, labelled, evidence) for waiting in turns), total
    )


async def find(database: Database, turn_id: int) -> Turn:
    """The turn, whatever its state. Raises NotFound."""
    async with database.session(read_only=True) as session:
        return await journal.find_turn(session, turn_id)


async def claim_next(
    database: Database, actor: Actor, *, claim_for: timedelta = review.CLAIM_FOR, window: str = ""
) -> QueueEntry | None:
    """What this moderator decides on next, kept from the others for `claim_for`; None when nothing waits.

    A moderator, here and below, decides on the turns of their own community; an operator may on all. One who
    reviews in several windows gets another turn in each.
    """
    require(actor, "review", actor.community_id)
    async with database.session() as session:
        claimed = await review.claim_next(
            session, actor.name, community_id=actor.community_id, claim_for=claim_for, window=window
        )
        return await _entry_of(session, claimed) if claimed else None


async def look_on(
    database: Database,
    turn_id: int,
    actor: Actor,
    *,
    claim_for: timedelta = review.CLAIM_FOR,
    window: str = "",
    leaving_out: Collection[int] = (),
) -> QueueEntry | None:
    """What stands behind that turn in the queue, claimed instead of it; None at the end. Raises NotFound.

    `leaving_out` are turns that were seen with another, which asks the same.
    """
    async with database.session() as session:
        await _authorise(session, turn_id, actor)
        found = await review.look_on(
            session,
            turn_id,
            actor.name,
            community_id=actor.community_id,
            claim_for=claim_for,
            window=window,
            leaving_out=leaving_out,
        )
        return await _entry_of(session, found) if found else None


async def claim(
    database: Database,
    turn_id: int,
    actor: Actor,
    *,
    claim_for: timedelta = review.CLAIM_FOR,
    window: str = "",
) -> QueueEntry:
    """Claim one turn that waits. Raises NotFound, and Conflict when it is decided or somebody else's."""
    async with database.session() as session:
        await _authorise(session, turn_id, actor)
        claimed = await review.claim(session, turn_id, actor.name, claim_for=claim_for, window=window)
        return await _entry_of(session, claimed)


async def skip(database: Database, turn_id: int, actor: Actor) -> None:
    """Leave a turn to the other moderators. Raises as `decide`."""
    async with database.session() as session:
        await _authorise(session, turn_id, actor)
        await review.decide(session, turn_id, actor.name, "skip")


async def decide(
    database: Database,
    turn_id: int,
    actor: Actor,
    decision: Decision,
    *,
    answer: str = "",
    note: str = "",
    held_burst: int = 0,
    seen: int | None = None,
) -> Decided:
    """Approve, edit or reject. Raises NotFound, and Conflict when another moderator decided already.

    `seen`, here and below, is the decision that the moderator knows of: UNDECIDED where they saw the turn
    wait, and then none made since is replaced, not even one of their own. `held_burst` is
    `training.held_burst`: by it a moderator learns what is quarantined.
    """
    async with database.session() as session:
        await _authorise(session, turn_id, actor)
        turn = await journal.locked_turn(session, turn_id)
        newest = (await session.exec(select(func.max(Review.id)).where(Review.turn_id == turn_id))).one()
        decided = await review.decide(
            session, turn_id, actor.name, decision, answer=answer, note=note, seen=seen
        )
        account = await _account(session, turn, changed=(decided.id or 0) > (newest or 0))
        burst = await trusting.quarantined_of(session, actor.name, held_burst) if account.trains else None
        if burst is not None and decided.id in burst.reviews:
            account = replace(account, trains=False, quarantined=len(burst.reviews))
        return account


async def approve(
    database: Database,
    turn_id: int,
    actor: Actor,
    *,
    note: str = "",
    held_burst: int = 0,
    seen: int | None = None,
) -> Decided:
    """Take the answer as it is. Raises as `decide`."""
    return await decide(database, turn_id, actor, "approve", note=note, held_burst=held_burst, seen=seen)


async def edit(
    database: Database,
    turn_id: int,
    actor: Actor,
    answer: str,
    *,
    note: str = "",
    held_burst: int = 0,
    seen: int | None = None,
) -> Decided:
    """Replace the answer by a better one. Raises as `decide`, and UsageError for an empty answer."""
    return await decide(
        database,
        turn_id,
        actor,
        "edit",
        answer=answer.strip(),
        note=note,
        held_burst=held_burst,
        seen=seen,
    )


async def reject(
    database: Database, turn_id: int, actor: Actor, *, note: str = "", seen: int | None = None
) -> Decided:
    """Keep the turn out of training. Raises as `decide`."""
    return await decide(database, turn_id, actor, "reject", note=note, seen=seen)


async def undo(database: Database, turn_id: int, actor: Actor) -> Decided:
    """Take back the newest decision. Raises NotFound, and Conflict when nothing stands."""
    async with database.session() as session:
        await _authorise(session, turn_id, actor)
        turn = await review.undo(session, turn_id, actor.name)
        return await _account(session, turn, changed=True)


async def label_task_type(database: Database, turn_id: int, task_type: TaskType, actor: Actor) -> Labelled:
    """Say what kind of answer a turn has. Raises NotFound, and Conflict for an erased turn."""
    async with database.session() as session:
        await _authorise(session, turn_id, actor)
        turn = await review.label_task_type(session, turn_id, task_type, actor.name)
    return Labelled(TurnId(turn_id), task_type, turn.question)


async def label_language(database: Database, turn_id: int, language: Language, actor: Actor) -> None:
    """Say in which language a turn is. Raises NotFound, and Conflict for an erased turn."""
    async with database.session() as session:
        await _authorise(session, turn_id, actor)
        await review.label_language(session, turn_id, language, actor.name)


async def trust(database: Database, reviewer: str, *, approvals: int, by: Actor) -> Trusted:
    """Let a reviewer's approvals train from now on, also those quarantined in bursts of `approvals`.

    Raises NotFound.
    """
    require(by, "reviewer.trust", None)
    async with database.session() as session:
        burst = await trusting.quarantined_of(session, reviewer, approvals)
        await trusting.trust(session, reviewer, by=by.name)
    return Trusted(reviewer, len(burst.reviews) if burst else 0)


async def _authorise(session: AsyncSession, turn_id: int, actor: Actor) -> None:
    """Raise NotAllowed unless the actor moderates, and NotFound for another community's turn."""
    require(actor, "review", actor.community_id)
    if not may(actor, "review", (await journal.find_turn(session, turn_id)).community_id):
        raise NotFound("turn", turn_id, "It belongs to another community.")


async def _account(session: AsyncSession, turn: Turn, *, changed: bool) -> Decided:
    approved = turn.review_state in review.TRAINABLE
    why_not = await _why_not(session, turn) if approved else ""
    return Decided(
        turn_id=TurnId(turn.id or 0),
        state=turn.review_state,
        question=turn.question,
        approved_answer=turn.approved_answer,
        changed=changed,
        trains=approved and not why_not,
        why_not=why_not,
    )


async def _why_not(session: AsyncSession, turn: Turn) -> str:
    community = await session.get_one(Community, turn.community_id)
    if not community.training_allowed:
        return f"{community.name or 'this community'} does not allow training"
    member = await session.get(Member, turn.member_id) if turn.member_id is not None else None
    if member is not None and member.opted_out:
        return "the member who asked has opted out"
    return "it is held out for examinations" if turn.held_out else ""


async def _entry_of(session: AsyncSession, waiting: WaitingTurn) -> QueueEntry:
    communities = await _communities(session, {waiting.turn.community_id})
    adapters = await _labels(session, {waiting.turn.adapter_id} - {None})
    labelled = await review.turns_labelled(session, [waiting.turn.id or 0])
    evidence = await _evidence(session, [waiting.turn])
    return _entry(waiting, communities, adapters, labelled, evidence)


async def _evidence(session: AsyncSession, turns: Sequence[Turn]) -> dict[int, Evidence]:
    """The evidence of those turns that were found in imported talk, by turn."""
    ids = [turn.id or 0 for turn in turns if turn.import_id is not None]
    if not ids:
        return {}
    phrasings = await imported.questions_of(session, ids)
    return {
        turn_id: Evidence(
            candidate.score,
            tuple((str(reason), int(count)) for reason, count in candidate.reasons),
            tuple(phrasings.get(turn_id, ())),
            tuple(str(answer["text"]) for answer in candidate.answers),
            candidate.asked_at,
        )
        for turn_id, candidate in (await imported.candidates(session, ids)).items()
    }


async def _communities(session: AsyncSession, ids: set[int]) -> dict[int, str]:
    rows = (await session.exec(select(Community).where(col(Community.id).in_(ids)))).all()
    return {row.id or 0: row.name or f"{row.platform}:{row.external_id}" for row in rows}


async def _labels(session: AsyncSession, ids: set[int | None]) -> dict[int | None, str]:
    rows = (await session.exec(select(Adapter).where(col(Adapter.id).in_(ids)))).all()
    return {row.id: str(AdapterVersion(row.name, row.version)) for row in rows}


def _entry(
    waiting: WaitingTurn,
    communities: dict[int, str],
    adapters: dict[int | None, str],
    labelled: set[int],
    evidence: dict[int, Evidence],
) -> QueueEntry:
    turn = waiting.turn
    said = task_types.is_said(turn.task_type, labelled=turn.id in labelled)
    question = personas.question_text(turn.question, turn.input)
    return QueueEntry(
        turn_id=TurnId(turn.id or 0),
        community=communities[turn.community_id],
        language=turn.language,
        language_unsure=turn.language_unsure,
        mode=turn.mode,
        adapter=PEOPLE
        if turn.answer_kind == "approved"
        else adapters.get(turn.adapter_id, "base" if turn.base_model else PEOPLE),
        question=turn.question,
        input=turn.input,
        answer=turn.answer,
        answer_kind=cast(AnswerKind, turn.answer_kind),
        votes_up=sum(vote.value > 0 for vote in waiting.votes),
        votes_down=sum(vote.value < 0 for vote in waiting.votes),
        reasons=waiting.reasons,
        suggested_answers=waiting.suggested_answers,
        task_type=turn.task_type if said else task_types.of_pair(question, turn.answer, mode_of(turn.mode)),
        task_type_is_said=said,
        claimed_by=turn.claimed_by,
        asked_at=turn.asked_at,
        evidence=evidence.get(turn.id or 0),
    )
