"""Members' votes: one per member and turn, which may change, and the place in the queue that they give it.

Functions take an open session and leave the commit to it; the same vote delivered twice changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import case, func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from feedback.journal import locked_turn, urgency
from feedback.tables import Turn, Vote, now
from feedback.words import VoteValue

SUGGESTION_WEIGHT: Final = 4
DOWN_VOTE_WEIGHT: Final = 2
UP_VOTE_WEIGHT: Final = 1
"""What a vote adds to a turn's urgency in the queue: a suggested answer is nearly a pair already, a down
vote says that something is to be learned, an up vote that approving will be quick."""


@dataclass(frozen=True)
class Voted:
    """What a vote did: the member's value before and after (0 is no vote), and whether anything changed."""

    before: int
    after: int
    changed: bool


async def vote(
    session: AsyncSession,
    *,
    turn_id: int,
    member_id: int,
    value: VoteValue,
    reason: str = "",
    suggested_answer: str = "",
) -> Voted:
    """Set a member's vote on a turn; 0 takes it back. One vote per member and turn.

    The same value again adds a reason or suggested answer, or replaces one; an empty one erases nothing,
    so that a late redelivery of the bare thumb is harmless. Another value starts the vote afresh.
    Keeps `turn.queue_rank`. Raises NotFound when there is no such turn.
    """
    # the lock makes simultaneous votes on one turn count each other
    turn = await locked_turn(session, turn_id)
    mine = (
        await session.exec(select(Vote).where(Vote.turn_id == turn_id, Vote.member_id == member_id))
    ).one_or_none()
    before = mine.value if mine else 0
    if mine is None:
        if value == 0:
            return Voted(0, 0, changed=False)
        session.add(
            Vote(
                turn_id=turn_id,
                member_id=member_id,
                value=value,
                reason=reason,
                suggested_answer=suggested_answer,
            )
        )
    elif value == 0:
        await session.delete(mine)
    else:
        if value == before:
            reason = reason or mine.reason
            suggested_answer = suggested_answer or mine.suggested_answer
            if (reason, suggested_answer) == (mine.reason, mine.suggested_answer):
                return Voted(before, value, changed=False)
        mine.value, mine.reason, mine.suggested_answer = value, reason, suggested_answer
        mine.voted_at = now()
        session.add(mine)
    await session.flush()
    await rank_in_queue(session, turn)
    return Voted(before, value, changed=True)


async def vote_of(session: AsyncSession, turn_id: int, member_id: int) -> int:
    """The member's vote on a turn; 0 is none."""
    mine = select(Vote.value).where(Vote.turn_id == turn_id, Vote.member_id == member_id)
    return (await session.exec(mine)).one_or_none() or 0


async def rank_in_queue(session: AsyncSession, turn: Turn) -> None:
    """Work out `turn.queue_rank` from the turn and its votes; the caller holds the turn's lock."""
    weight = case((col(Vote.value) < 0, DOWN_VOTE_WEIGHT), else_=UP_VOTE_WEIGHT) + case(
        (col(Vote.suggested_answer) != "", SUGGESTION_WEIGHT), else_=0
    )
    voted = (await session.exec(select(func.sum(weight)).where(Vote.turn_id == turn.id))).one()
    turn.queue_rank = -urgency(turn.answer_kind, turn.language_unsure) - (voted or 0)
    session.add(turn)
    await session.flush()
