"""Turns to review as a list: searched, filtered, decided many at once; and right answers without a question.

A page goes on behind the last turn of the one before, along the queue's own index.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from sqlalchemy import ColumnElement, tuple_
from sqlmodel import col, exists, or_, select

from bot.access.actor import Actor
from bot.access.rights import require
from bot.commands import review as reviews
from bot.questions import Place
from feedback import journal, review
from feedback.database import Database
from feedback.errors import Conflict, UsageError
from feedback.journal import Answered
from feedback.review import QueuePosition
from feedback.tables import Turn, Vote
from feedback.words import Language, ReviewState, TurnId

Filter = Literal["all", "down-voted", "disputed", "gaps", "imported", "language-unsure"]
BulkDecision = Literal["approve", "reject", "undo"]
SHOWN: Final = 25
"""Turns of a page."""
ADDED: Final = "added"
"""What conversations of answers that moderators added begin with."""


@dataclass(frozen=True)
class Listed:
    """A turn in the list."""

    turn_id: TurnId
    question: str
    answer: str
    state: ReviewState
    language: str


@dataclass(frozen=True)
class ListPage:
    """Turns in the queue's order; `behind` goes on after the last of them, None at the end."""

    turns: tuple[Listed, ...]
    behind: QueuePosition | None


async def listed(
    database: Database,
    actor: Actor,
    *,
    state: ReviewState = "waiting",
    search: str = "",
    only: Filter = "all",
    after: QueuePosition | None = None,
) -> ListPage:
    """A page of the actor's community, or of all. Raises NotAllowed.

    `search` stands in question or answer. "disputed" are turns with votes of both kinds.
    """
    require(actor, "review", actor.community_id)
    found = select(Turn).where(Turn.review_state == state, Turn.state == "answered", *_filtered(only))
    if actor.community_id is not None:
        found = found.where(Turn.community_id == actor.community_id)
    if search := search.strip():
        found = found.where(
            or_(
                col(Turn.question).icontains(search, autoescape=True),
                col(Turn.answer).icontains(search, autoescape=True),
            )
        )
    if after is not None:
        found = found.where(tuple_(col(Turn.queue_rank), col(Turn.id)) > tuple_(*after))
    found = found.order_by(col(Turn.queue_rank), col(Turn.id)).limit(SHOWN + 1)
    async with database.session(read_only=True) as session:
        rows = list((await session.exec(found)).all())
    more, rows = len(rows) > SHOWN, rows[:SHOWN]
    return ListPage(
        tuple(
            Listed(
                TurnId(row.id or 0),
                row.question,
                row.approved_answer or row.answer,
                row.review_state,  # type: ignore[arg-type]
                row.language,
            )
            for row in rows
        ),
        QueuePosition(rows[-1].queue_rank, rows[-1].id or 0) if more else None,
    )


async def decide_many(
    database: Database,
    actor: Actor,
    decision: BulkDecision,
    turns: Sequence[TurnId],
    *,
    note: str = "",
    held_burst: int = 0,
) -> list[TurnId]:
    """Decide the same on many turns; those on which it was done.

    What somebody decided on meanwhile, or what has no answer to approve, stays as it is. Raises as `decide`.
    """
    done = []
    for turn_id in turns:
        try:
            if decision == "approve":
                await reviews.approve(database, turn_id, actor, held_burst=held_burst, seen=review.UNDECIDED)
            elif decision == "reject":
                await reviews.reject(database, turn_id, actor, note=note, seen=review.UNDECIDED)
            else:
                await reviews.undo(database, turn_id, actor)
        except Conflict:
            continue
        done.append(turn_id)
    return done


async def add_answer(
    database: Database, actor: Actor, place: Place, question: str, answer: str, language: Language
) -> TurnId:
    """Write down a question with its right answer, approved by who wrote it, though nobody has asked.

    Raises NotAllowed, and UsageError unless both have words.
    """
    if not question.strip() or not answer.strip():
        raise UsageError("An added answer needs a question and an answer.", "Write both.")
    key = f"{ADDED}/{secrets.token_hex(8)}"
    async with database.session() as session:
        community = await journal.community(
            session, place.platform, place.community, name=place.community_name
        )
        require(actor, "review", community.id)
        conversation = await journal.conversation(session, community.id or 0, key)
        asked = await journal.ask(
            session,
            community_id=community.id or 0,
            conversation_id=conversation.id or 0,
            member_id=None,
            external_id=key,
            question=question.strip(),
            mode="default",
            language=language,
        )
        turn_id = TurnId(asked.turn.id or 0)
        # a moderator speaks, and no model: it says nothing of how a model is liked
        said = Answered(answer.strip(), "default", language, base_model="", answer_kind="approved")
        await journal.record_answer(session, turn_id, said)
        await review.decide(session, turn_id, actor.name, "approve")
        journal.audit(session, actor.name, "review.add", f"turn {turn_id}")
    return turn_id


def _filtered(only: Filter) -> list[ColumnElement[bool]]:
    def voted(value: int) -> ColumnElement[bool]:
        return exists().where(col(Vote.turn_id) == Turn.id, col(Vote.value) == value)

    conditions: dict[Filter, list[ColumnElement[bool]]] = {
        "all": [],
        "down-voted": [voted(-1)],
        "disputed": [voted(-1), voted(1)],
        "gaps": [col(Turn.answer_kind) == "gap"],
        "imported": [col(Turn.import_id).is_not(None)],
        "language-unsure": [col(Turn.language_unsure).is_(True)],
    }
    return conditions[only]
