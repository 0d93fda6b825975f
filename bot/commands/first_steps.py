"""How far somebody has gone round the loop: what they have done of what a first evening holds."""

from __future__ import annotations

from typing import Any, Final, Literal

from sqlmodel import col, select

from bot.access.actor import Actor
from feedback.database import Database
from feedback.tables import Deployment, Member, Review, Run, Turn, Vote

Step = Literal["ask", "vote", "review", "train", "switch"]
STEPS: Final[tuple[Step, ...]] = ("ask", "vote", "review", "train", "switch")
"""In the order in which the loop goes round."""


async def done(database: Database, actor: Actor, platform: str, pseudonym: str) -> frozenset[Step]:
    """What the actor, who asks and votes under that pseudonym, has done so far."""
    me = select(Member.id).where(Member.platform == platform, Member.pseudonym == pseudonym)
    looked_for: dict[Step, Any] = {
        "ask": select(Turn.id).where(col(Turn.member_id).in_(me)),
        "vote": select(Vote.id).where(col(Vote.member_id).in_(me)),
        "review": select(Review.id).where(Review.reviewer == actor.name),
        "train": select(Run.id).where(Run.started_by == actor.name),
        "switch": select(Deployment.id).where(Deployment.decided_by == actor.name),
    }
    found: set[Step] = set()
    async with database.session(read_only=True) as session:
        for step in STEPS:
            if (await session.exec(looked_for[step].limit(1))).first() is not None:
                found.add(step)
    return frozenset(found)
