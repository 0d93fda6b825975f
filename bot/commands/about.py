"""Who answers here, since when, and how it goes: for `/about` and `/stats`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bot.questions import Place
from feedback import journal, review, statistics
from feedback.database import Database
from feedback.statistics import AdapterFigures, Counts
from feedback.tables import Adapter
from training.adapters import deployments, registry


@dataclass(frozen=True)
class About:
    """What answers in a community. `since` None: nothing was ever switched; it learned from `pairs`."""

    adapter: str
    base_model: str
    since: datetime | None
    pairs: int
    training_allowed: bool


@dataclass(frozen=True)
class Stats:
    """A community's counts, how each adapter did by label, and what is approved since the last dataset."""

    counts: Counts
    by_adapter: dict[str, AdapterFigures]
    new_pairs: int


async def about(database: Database, place: Place, *, base_model: str) -> About:
    """What answers in the community at `place`."""
    async with database.session(read_only=True) as session:
        row = await journal.community_of(session, place.platform, place.community)
        community_id = row.id if row else None
        adapter = await deployments.serving(session, community_id)
        history = await deployments.history(session, community_id) if community_id else []
        open_one = next((one for one in history if one.until is None), None)
        if open_one is None:
            everyones = await deployments.history(session)
            open_one = next((one for one in everyones if one.until is None), None)
    return About(
        adapter=registry.label(adapter) if adapter else registry.BASE,
        base_model=base_model,
        since=open_one.since if open_one else None,
        pairs=_pairs(adapter),
        training_allowed=bool(row and row.training_allowed),
    )


async def stats(database: Database, place: Place) -> Stats:
    """How it goes in the community at `place`."""
    async with database.session(read_only=True) as session:
        row = await journal.community_of(session, place.platform, place.community)
        community_id = row.id if row and row.id else -1  # nothing happened where there is no community
        counts = await statistics.counts(session, community_id=community_id)
        figures = await statistics.by_adapter(session, community_id=community_id)
        every = await registry.list_adapters(session, retired=True)
        labels = {adapter.id: registry.label(adapter) for adapter in every}
        new_pairs = await review.count_new_approved(session)
    return Stats(
        counts,
        {registry.BASE if key is None else labels[key]: value for key, value in figures.items()},
        new_pairs,
    )


def _pairs(adapter: Adapter | None) -> int:
    found = (adapter.metrics if adapter else {}).get("training", {})
    return int(found.get("pairs", 0)) if isinstance(found, dict) else 0
