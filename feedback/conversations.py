"""What may train, conversation by conversation, with the answers said before: the record's longest read.

Plain rows instead of tables' objects, in pages, so that a million turns take seconds and little memory. Of
members who opted out, and of erased turns, no words are in it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement
from sqlmodel import and_, col, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from feedback import imported
from feedback.review import TRAINABLE
from feedback.tables import CONTEXT, Community, Member, Review, Turn

PAGE: Final = 5_000
"""Turns read at once."""


class Spoken(NamedTuple):
    """A turn of a conversation: what was asked, and the answer that counts now (of an edited one the new)."""

    turn: int
    community: int
    conversation: int
    member: int | None
    regenerates: int | None
    question: str
    input: str
    answer: str
    mode: str
    language: str
    task_type: str
    approved: bool
    held_out: bool
    review_state: str


class Approval(NamedTuple):
    """The review that counts for a turn, and whose it is."""

    review: int
    reviewer: str


def with_something_approved(session: AsyncSession) -> AsyncIterator[list[Spoken]]:
    """Each conversation that has an approved turn, as its answered turns in the order they were asked.

    Only of communities that allow training. Rejected answers are left out. Use a read-only session, which
    sees one moment of the record.
    """
    interesting = select(Turn.conversation_id).where(col(Turn.review_state).in_(TRAINABLE))
    allowed = select(Community.id).where(col(Community.training_allowed).is_(True))
    return _by_conversation(
        session,
        col(Turn.conversation_id).in_(interesting),
        col(Turn.community_id).in_(allowed),
        or_(
            col(Turn.review_state).in_(TRAINABLE),
            and_(col(Turn.review_state).in_(("waiting", CONTEXT)), col(Turn.state) == "answered"),
        ),
    )


def answered(session: AsyncSession) -> AsyncIterator[list[Spoken]]:
    """Each conversation's answered turns in the order they were asked, whatever became of them.

    Of all communities. Use a read-only session, which sees one moment of the record.
    """
    return _by_conversation(session, Turn.state == "answered")


async def _by_conversation(
    session: AsyncSession, *which: ColumnElement[bool] | bool
) -> AsyncIterator[list[Spoken]]:
    columns: tuple[Any, ...] = (
        Turn.conversation_id,
        Turn.id,
        Turn.community_id,
        Turn.member_id,
        Turn.regenerates_id,
        Turn.question,
        Turn.input,
        Turn.answer,
        Turn.approved_answer,
        Turn.review_state,
        Turn.mode,
        Turn.language,
        Turn.task_type,
        Turn.held_out,
    )
    turns = (
        select(*columns)
        .outerjoin(Member, col(Member.id) == Turn.member_id)
        .where(
            *which,
            or_(col(Turn.member_id).is_(None), col(Member.opted_out).is_(False)),
            col(Turn.id).not_in(imported.with_words_of_opted_out()),
        )
        .order_by(col(Turn.conversation_id), col(Turn.id))
    )
    conversation: list[Spoken] = []
    async for rows in (await session.stream(turns)).partitions(PAGE):
        for spoken in map(_spoken, rows):
            if conversation and conversation[0].conversation != spoken.conversation:
                yield conversation
                conversation = []
            conversation.append(spoken)
    if conversation:
        yield conversation


async def approvals(session: AsyncSession) -> dict[int, Approval]:
    """The standing decision of every turn that one stands on, by turn."""
    standing = (
        select(Review.turn_id, Review.id, Review.reviewer)
        .where(col(Review.undone_at).is_(None), col(Review.decision) != "skip")
        .order_by(col(Review.id))
    )
    found: dict[int, Approval] = {}
    async for rows in (await session.stream(standing)).partitions(PAGE):
        found.update((turn, Approval(review, reviewer)) for turn, review, reviewer in rows)
    return found


def earlier(conversation: Sequence[Spoken], position: int, limit: int) -> list[Spoken]:
    """The last `limit` turns before the one at `position`, as `journal.history` gives them when answering.

    Of a question that was answered more than once, the newest answer that was not rejected stands for all.
    """
    turn = conversation[position]
    before = turn.regenerates or turn.turn
    newest_first: dict[int, Spoken] = {}
    for place in range(position - 1, -1, -1):
        if len(newest_first) == limit:
            break
        spoken = conversation[place]
        if spoken.turn < before:
            newest_first.setdefault(spoken.regenerates or spoken.turn, spoken)
    return list(newest_first.values())[::-1]


def _spoken(row: Any) -> Spoken:
    conversation, turn, community, member, regenerates, question, text, answer, approved, state, *rest = row
    mode, language, task_type, held_out = rest
    trains = state in TRAINABLE
    return Spoken(
        turn=turn,
        community=community,
        conversation=conversation,
        member=member,
        regenerates=regenerates,
        question=question,
        input=text,
        answer=approved if trains else answer,
        mode=mode,
        language=language,
        task_type=task_type,
        approved=trains,
        held_out=held_out,
        review_state=state,
    )
