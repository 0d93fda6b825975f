"""Approvals that came too fast from somebody too new: quarantined until the operator trusts the reviewer.

A hundred approvals within a minute, in the first week after somebody's first decision, are more likely a
poisoned review set than diligence. The operator's own edges, rules and the demo decide in bulk and are no
moderators, so theirs are never quarantined. That a reviewer is trusted stands in the audit and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlmodel import col, func, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from feedback.errors import NotFound
from feedback.journal import audit
from feedback.review import APPROVING
from feedback.tables import Audit, Review

BURST: Final = timedelta(minutes=1)
NEWCOMER: Final = timedelta(days=7)
"""How long after their first decision a reviewer is new."""
NO_MODERATORS: Final = ("terminal:", "rule:", "demo:", "console")
"""How reviewers begin who are no moderator of a community: the operator's terminal and console (imports come
from there), automatic rules, the demo."""

_TRUST: Final = "review.trust"


@dataclass(frozen=True)
class Quarantined:
    """Approvals of one reviewer that wait for the operator's word; `reviews` are their ids in order."""

    reviewer: str
    reviews: tuple[int, ...]
    since: datetime
    until: datetime


async def quarantined(session: AsyncSession, approvals: int) -> list[Quarantined]:
    """What is quarantined, by reviewer: bursts of at least `approvals` within a minute; 0 turns it off."""
    if approvals <= 0:
        return []
    trusted = select(Audit.subject).where(Audit.action == _TRUST)
    many = (
        select(Review.reviewer)
        .where(~or_(*(col(Review.reviewer).startswith(start) for start in NO_MODERATORS)))
        .group_by(col(Review.reviewer))
        .having(func.count() >= approvals)
        .order_by(col(Review.reviewer))
    )
    known = set((await session.exec(trusted)).all())
    found = []
    for reviewer in (await session.exec(many)).all():
        if _subject(reviewer) not in known:
            found.append(await _bursts(session, reviewer, approvals))
    return [one for one in found if one is not None]


async def quarantined_of(session: AsyncSession, reviewer: str, approvals: int) -> Quarantined | None:
    """What is quarantined of one reviewer, as `quarantined` finds it."""
    if approvals <= 0 or reviewer.startswith(NO_MODERATORS) or await _is_trusted(session, reviewer):
        return None
    return await _bursts(session, reviewer, approvals)


async def trust(session: AsyncSession, reviewer: str, *, by: str) -> None:
    """Let a reviewer's approvals train, quarantined ones included. Raises NotFound without any review."""
    reviewed = select(Review.id).where(Review.reviewer == reviewer).limit(1)
    if (await session.exec(reviewed)).first() is None:
        raise NotFound(
            "reviewer", reviewer, "`thumbloop dataset build` names those whose approvals are quarantined."
        )
    if not await _is_trusted(session, reviewer):
        audit(session, by, _TRUST, _subject(reviewer))
        await session.flush()


async def _is_trusted(session: AsyncSession, reviewer: str) -> bool:
    told = select(Audit.id).where(Audit.action == _TRUST, Audit.subject == _subject(reviewer)).limit(1)
    return (await session.exec(told)).first() is not None


async def _bursts(session: AsyncSession, reviewer: str, approvals: int) -> Quarantined | None:
    """The approvals of a reviewer's first week that came in bursts."""
    first = select(func.min(Review.decided_at)).where(Review.reviewer == reviewer)
    began = (await session.exec(first)).one()
    if began is None:
        return None
    early = (
        select(Review.id, Review.decided_at)
        .where(
            Review.reviewer == reviewer,
            col(Review.decision).in_(APPROVING),
            col(Review.undone_at).is_(None),
            col(Review.decided_at) < began + NEWCOMER,
        )
        .order_by(col(Review.decided_at), col(Review.id))
    )
    rows = [(review or 0, decided_at) for review, decided_at in (await session.exec(early)).all()]
    burst = [rows[index] for index in _in_bursts([decided_at for _, decided_at in rows], approvals)]
    if not burst:
        return None
    return Quarantined(reviewer, tuple(sorted(review for review, _ in burst)), burst[0][1], burst[-1][1])


def _subject(reviewer: str) -> str:
    return f"reviewer {reviewer}"


def _in_bursts(times: Sequence[datetime], approvals: int) -> list[int]:
    """The indices of those of the ordered `times` that lie in a minute with at least `approvals` of them."""
    found: set[int] = set()
    first = 0
    for last, moment in enumerate(times):
        while moment - times[first] > BURST:
            first += 1
        if last - first + 1 >= approvals:
            found.update(range(max(first, max(found, default=-1) + 1), last + 1))
    return sorted(found)
