"""Where an adapter comes from and whom it serves, and where a turn has gone to: both ways along the loop."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import col, select

from bot.access.actor import Actor
from bot.access.rights import may, require
from feedback.database import Database
from feedback.errors import UsageError
from feedback.tables import Adapter, Review
from training.adapters import lineage, registry
from training.adapters.lineage import AdapterLineage, TurnLineage


@dataclass(frozen=True)
class Decision:
    """A moderator's decision on a turn; `stands` is False for one that was undone."""

    review: int
    reviewer: str
    decision: str
    decided_at: datetime
    stands: bool


@dataclass(frozen=True)
class TurnStory:
    """What answered a turn, what was decided about it, and what learnt from it; `run` made what answered."""

    lineage: TurnLineage
    decisions: tuple[Decision, ...]
    run: int | None


async def of_adapter(database: Database, actor: Actor, label: str, *, most: int = 20) -> AdapterLineage:
    """All that is behind an adapter, with at most `most` of its pairs, for who may see members' words.

    Raises NotFound, NotAllowed, and UsageError for the base model.
    """
    require(actor, "adapter.view", actor.community_id)
    shown = most if may(actor, "dataset.view", actor.community_id) else 0
    async with database.session(read_only=True) as session:
        adapter = await registry.find(session, label)
        if adapter is None:
            raise UsageError("The base model comes from nowhere here.", "Name an adapter as name@version.")
        return await lineage.of_adapter(session, adapter, most=shown)


async def of_turn(database: Database, actor: Actor, turn_id: int) -> TurnStory:
    """Both ways from a turn. Raises NotFound, NotAllowed."""
    require(actor, "dataset.view", actor.community_id)
    async with database.session(read_only=True) as session:
        found = await lineage.of_turn(session, turn_id)
        rows = await session.exec(select(Review).where(Review.turn_id == turn_id).order_by(col(Review.id)))
        decisions = tuple(
            Decision(row.id or 0, row.reviewer, row.decision, row.decided_at, row.undone_at is None)
            for row in rows
        )
        run: int | None = None
        if found.adapter:
            name, _, version = found.adapter.rpartition("@")
            made = select(Adapter.run_id).where(Adapter.name == name, Adapter.version == int(version))
            run = (await session.exec(made)).one_or_none()
    return TurnStory(found, decisions, run)
