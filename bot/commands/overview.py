"""How the loop stands, a community's or everybody's: what was asked and liked, what waits, serves and runs.

Read in one look. Counts only: nobody's words. Leaves to others: how the parts of the service are
(`bot.readiness`), and when the next run is due (`bot.schedule`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from sqlmodel import col, select

from bot.access.actor import Actor
from bot.access.rights import may, require
from bot.commands import training
from bot.commands.adapter import Serving, serving_now
from bot.commands.review import PEOPLE
from bot.commands.training import RunView
from feedback import statistics
from feedback.database import Database
from feedback.tables import Adapter
from training.adapters import registry
from training.settings import RolloutSettings

DAYS: Final = 14
MOST_DAYS: Final = 90


@dataclass(frozen=True)
class Approval:
    """Thumbs up among the votes, with Wilson's 95 % interval: shares from 0 to 1. None without votes."""

    up: int
    votes: int

    @property
    def share(self) -> float:
        """The share of thumbs up; ask only where there are votes."""
        return self.up / self.votes

    @property
    def interval(self) -> tuple[float, float]:
        """What the share surely is between."""
        return statistics.wilson(self.up, self.votes)


@dataclass(frozen=True)
class Answered:
    """What an adapter (a label, "base" or PEOPLE) answered on one day, and how that was received."""

    day: date
    adapter: str
    turns: int
    up: int
    votes: int


@dataclass(frozen=True)
class Overview:
    """How it stands at one moment. `days` are the days looked at, those without questions included.

    `waiting` and `gaps` are counted as far as `statistics.MOST_COUNTED`.

    `running` and `last_run` are None for those who may not see runs, and where there is none.
    """

    days: tuple[date, ...]
    answered: tuple[Answered, ...]
    waiting: int
    gaps: int
    serving: tuple[Serving, ...]
    running: RunView | None
    last_run: RunView | None

    @property
    def adapters(self) -> tuple[str, ...]:
        """What answered in these days, the busiest first."""
        turns: dict[str, int] = {}
        for one in self.answered:
            turns[one.adapter] = turns.get(one.adapter, 0) + one.turns
        return tuple(sorted(turns, key=lambda label: -turns[label]))

    def approval(self, adapter: str | None = None, day: date | None = None) -> Approval:
        """How answers were received: of one adapter or all, on one day or all."""
        chosen = [
            one
            for one in self.answered
            if (adapter is None or one.adapter == adapter) and (day is None or one.day == day)
        ]
        return Approval(sum(one.up for one in chosen), sum(one.votes for one in chosen))

    def questions(self, adapter: str | None = None, day: date | None = None) -> int:
        """How many questions were asked, of one adapter or all, on one day or all."""
        return sum(
            one.turns
            for one in self.answered
            if (adapter is None or one.adapter == adapter) and (day is None or one.day == day)
        )


async def overview(
    database: Database, actor: Actor, rules: RolloutSettings, *, moment: datetime, days: int = DAYS
) -> Overview:
    """The last `days` days (today is one) of the actor's community, or of all. Raises NotAllowed."""
    community = actor.community_id
    require(actor, "statistics.view", community)
    first = moment.date() - timedelta(days=days - 1)
    since = datetime.combine(first, datetime.min.time(), moment.tzinfo)
    async with database.session(read_only=True) as session:
        figures = await statistics.by_day(session, since=since, community_id=community)
        waiting = await statistics.waiting(session, community_id=community, at_most=statistics.MOST_COUNTED)
        gaps = await statistics.gaps(session, community_id=community, at_most=statistics.MOST_COUNTED)
        ids = {one.adapter_id for one in figures if one.adapter_id is not None}
        adapters = await session.exec(select(Adapter).where(col(Adapter.id).in_(ids)))
        labels: dict[int | None, str] = {adapter.id: registry.label(adapter) for adapter in adapters}
    runs = await training.history(database, limit=10) if may(actor, "run.view", community) else []
    return Overview(
        days=tuple(first + timedelta(days=number) for number in range(days)),
        answered=tuple(
            Answered(
                one.day,
                PEOPLE if one.by_people else labels.get(one.adapter_id, registry.BASE),
                one.turns,
                one.votes_up,
                one.votes_up + one.votes_down,
            )
            for one in figures
        ),
        waiting=waiting,
        gaps=gaps,
        serving=await serving_now(database, rules, moment, only_of=community),
        running=next((run for run in runs if run.state == "running"), None),
        last_run=next((run for run in runs if run.state != "running"), None),
    )
