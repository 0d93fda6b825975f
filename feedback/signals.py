"""How answers were received: of each answer one figure, from what members and moderators did about it.

Read-only, and blind to texts. What is done with the figures is the canary's (`training.adapters`).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, func
from sqlalchemy.orm import aliased
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from feedback.tables import Deployment, Review, Turn, Vote

MOST_OF_ONE_MEMBER: Final = 20
"""Votes of one member that count for one adapter: a few who vote on everything do not decide alone."""

_DECIDED: Final = {"approved": 1.0, "edited": 0.0, "rejected": 0.0}
"""What a moderator's decision says of the bot's own answer; it outranks votes."""


@dataclass(frozen=True)
class Audience:
    """Whose answers are meant: one community's, or (None) those of all without a deployment of their own."""

    community_id: int | None

    def condition(self) -> ColumnElement[bool]:
        """The turns of that audience."""
        of_it = col(Turn.community_id)
        if self.community_id is not None:
            return of_it == self.community_id
        own = select(Deployment.community_id).where(
            col(Deployment.community_id).is_not(None), col(Deployment.until).is_(None)
        )
        return of_it.not_in(own)


async def approval(
    session: AsyncSession,
    adapter_id: int | None,
    audience: Audience,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[float]:
    """How each answer of an adapter (None: the base model) was received, from 0 to 1, first judged first.

    1 is approved, by a moderator or by all who voted; 0 is disapproved, edited, rejected, or asked for again
    by somebody who did not vote. An answer that nobody judged has no figure, nor has a moderators' text given
    as it is. The answers are those asked for from `since` on and before `until`.
    """
    chosen: list[ColumnElement[bool]] = [
        col(Turn.adapter_id).is_(None) if adapter_id is None else col(Turn.adapter_id) == adapter_id,
        col(Turn.state) == "answered",
        col(Turn.answer_kind) == "generated",
        audience.condition(),
    ]
    if since is not None:
        chosen.append(col(Turn.asked_at) >= since)
    if until is not None:
        chosen.append(col(Turn.asked_at) < until)
    judged: dict[int, tuple[datetime, float]] = {}
    again = aliased(Turn)
    for turn_id, at in await session.exec(
        select(Turn.id, func.min(again.asked_at))
        .join(again, col(again.regenerates_id) == Turn.id)
        .where(*chosen)
        .group_by(col(Turn.id))
    ):
        judged[turn_id or 0] = at, 0.0
    for turn_id, (at, value) in (await _votes(session, chosen)).items():
        judged[turn_id] = min(at, judged.get(turn_id, (at, value))[0]), value
    for turn_id, state, at in await session.exec(
        select(Turn.id, Turn.review_state, func.min(Review.decided_at))
        .join(Review, col(Review.turn_id) == Turn.id)
        .where(*chosen, col(Turn.review_state).in_(_DECIDED), col(Review.undone_at).is_(None))
        .group_by(col(Turn.id), col(Turn.review_state))
    ):
        earlier = judged.get(turn_id or 0, (at, 0.0))[0]
        judged[turn_id or 0] = min(at, earlier), _DECIDED[state]
    return [value for _, _, value in sorted((at, turn, value) for turn, (at, value) in judged.items())]


async def _votes(
    session: AsyncSession, chosen: list[ColumnElement[bool]]
) -> dict[int, tuple[datetime, float]]:
    """When each turn got its first vote that counts, and the share of such votes that are up."""
    of_member: dict[int, int] = defaultdict(int)
    counted: dict[int, list[tuple[datetime, int]]] = defaultdict(list)
    rows = await session.exec(
        select(Vote.turn_id, Vote.member_id, Vote.value, Vote.voted_at)
        .join(Turn, col(Turn.id) == Vote.turn_id)
        .where(*chosen)
        .order_by(col(Vote.id))
    )
    for turn_id, member_id, value, at in rows:
        of_member[member_id] += 1
        if of_member[member_id] <= MOST_OF_ONE_MEMBER:
            counted[turn_id].append((at, value))
    return {
        turn_id: (min(at for at, _ in votes), sum(value > 0 for _, value in votes) / len(votes))
        for turn_id, votes in counted.items()
    }
