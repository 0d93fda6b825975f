"""Read-only counts of what happened: for the console, the gate, the canary and the metrics page.

Counts are of turns by when they were asked, votes by the turn they are on; nothing here returns a text.
Use a read-only session, and the figures belong to one moment.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Date, cast, func, literal_column, not_
from sqlalchemy.orm import Mapped
from sqlmodel import case, col, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from feedback.tables import BY_PEOPLE, Community, Turn, Vote
from feedback.words import Platform

MOST_COUNTED: Final = 10_000
"""How far what is only shown to people is counted; beyond that it would take longer than a page may."""
_Z: Final = 1.959964
"""The normal quantile of a 95 % interval."""


@dataclass(frozen=True)
class Counts:
    """What happened in one community, or in all. `waiting` are answered turns that nobody decided on."""

    turns: int = 0
    answered: int = 0
    failed: int = 0
    cancelled: int = 0
    erased: int = 0
    waiting: int = 0
    approved: int = 0
    edited: int = 0
    rejected: int = 0
    votes_up: int = 0
    votes_down: int = 0


@dataclass(frozen=True)
class AdapterFigures:
    """How one adapter did; `adapter_id` None is the base model. Medians in seconds, of answered turns."""

    adapter_id: int | None
    answered: int
    votes_up: int
    votes_down: int
    median_first_token_s: float
    median_total_s: float


@dataclass(frozen=True)
class DayFigures:
    """What was asked on one day (UTC) and answered by one adapter (None: the base model), with its votes.

    `by_people` are the answers that people wrote; no model's figures hold them.
    """

    day: date
    adapter_id: int | None
    turns: int
    votes_up: int
    votes_down: int
    by_people: bool = False


async def counts(
    session: AsyncSession, *, community_id: int | None = None, since: datetime | None = None
) -> Counts:
    """The counts of all communities together, or of one."""
    by_community = await counts_by_community(session, community_id=community_id, since=since)
    return Counts(
        **{name: sum(getattr(one, name) for one in by_community.values()) for name in Counts.__annotations__}
    )


async def counts_by_community(
    session: AsyncSession, *, community_id: int | None = None, since: datetime | None = None
) -> dict[int, Counts]:
    """The counts of every community that has a turn, by community id."""
    chosen = _chosen(community_id, since)
    turn_rows = await session.exec(
        select(Turn.community_id, Turn.state, Turn.review_state, func.count())
        .where(*chosen)
        .group_by(col(Turn.community_id), col(Turn.state), col(Turn.review_state))
    )
    found: dict[int, dict[str, int]] = {}
    for community, state, review_state, number in turn_rows:
        figures = found.setdefault(community, dict.fromkeys(Counts.__annotations__, 0))
        figures["turns"] += number
        if state != "asked":
            figures[state] += number
        # a failed turn waits for nobody, and "erased" is counted already
        if review_state in ("approved", "edited", "rejected") or (review_state, state) == (
            "waiting",
            "answered",
        ):
            figures[review_state] += number
    vote_rows = await session.exec(
        select(Turn.community_id, *_votes())
        .join(Vote, col(Vote.turn_id) == Turn.id)
        .where(*chosen)
        .group_by(col(Turn.community_id))
    )
    for community, up, down in vote_rows:
        found[community] |= {"votes_up": up, "votes_down": down}
    return {community: Counts(**figures) for community, figures in found.items()}


async def by_adapter(
    session: AsyncSession, *, community_id: int | None = None
) -> dict[int | None, AdapterFigures]:
    """Answers, votes and median times of every adapter that answered something; key None is the base.

    What people wrote counts for none.
    """
    chosen = [*_chosen(community_id, None), not_(literal_column(f"({BY_PEOPLE})"))]
    votes = {
        adapter: (up, down)
        for adapter, up, down in await session.exec(
            select(Turn.adapter_id, *_votes())
            .join(Vote, col(Vote.turn_id) == Turn.id)
            .where(*chosen)
            .group_by(col(Turn.adapter_id))
        )
    }
    answered = {
        adapter: number
        for adapter, number in await session.exec(
            select(Turn.adapter_id, func.count())
            .where(*chosen, Turn.state == "answered")
            .group_by(col(Turn.adapter_id))
        )
    }
    first_token = await _medians(session, col(Turn.first_token_s), chosen)
    total = await _medians(session, col(Turn.total_s), chosen)
    return {
        adapter: AdapterFigures(
            adapter, number, *votes.get(adapter, (0, 0)), first_token[adapter], total[adapter]
        )
        for adapter, number in answered.items()
    }


async def by_day(
    session: AsyncSession, *, since: datetime, community_id: int | None = None
) -> list[DayFigures]:
    """Each day's questions and votes since then, by what answered; in order, people last."""
    chosen = _chosen(community_id, since)
    found = await _by_day(session, chosen)
    # counted apart and taken off: an index of all turns with who wrote each would be as large as they are
    wrote = [*_chosen(None, since), literal_column(BY_PEOPLE)]
    if community_id is not None:
        wrote.append(col(Turn.community_id) + 0 == community_id)  # else SQLite takes the larger index
    by_people = await _by_day(session, wrote)
    for key, (turns, up, down) in by_people.items():
        every = found[key]
        found[key] = (every[0] - turns, every[1] - up, every[2] - down)
    figures = [
        DayFigures(date.fromisoformat(day), adapter, turns, up, down, known is by_people)
        for known in (found, by_people)
        for (day, adapter), (turns, up, down) in known.items()
        if turns
    ]
    return sorted(figures, key=lambda one: (one.day, one.by_people, one.adapter_id or 0))


async def _by_day(
    session: AsyncSession, chosen: list[ColumnElement[bool]]
) -> dict[tuple[str, int | None], tuple[int, int, int]]:
    """Questions, votes up and votes down of each day and adapter."""
    day = _day(session)
    asked = await session.exec(
        select(day, Turn.adapter_id, func.count()).where(*chosen).group_by(day, col(Turn.adapter_id))
    )
    voted = await session.exec(
        select(day, Turn.adapter_id, *_votes())
        .join(Vote, col(Vote.turn_id) == Turn.id)
        .where(*chosen)
        .group_by(day, col(Turn.adapter_id))
    )
    votes = {(when, adapter): (up, down) for when, adapter, up, down in voted}
    found = {}
    for when, adapter, turns in asked:
        up, down = votes.get((when, adapter), (0, 0))
        found[str(when), adapter] = (turns, up, down)
    return found


async def waiting(
    session: AsyncSession, *, community_id: int | None = None, at_most: int | None = None
) -> int:
    """How many answers wait for a decision, in a community or in all: from the queue's index alone.

    `at_most`, here and in `gaps`, ends the count there.
    """
    return await _counted(session, _waiting(community_id), at_most)


async def full_queues(session: AsyncSession, platform: Platform, number: int) -> set[int | None]:
    """The communities of a platform in which at least so many answers wait; looks no further than that."""
    waits = (Turn.community_id == Community.id, Turn.review_state == "waiting", Turn.state == "answered")
    last = select(Turn.id).where(*waits).offset(number - 1).limit(1).correlate(Community).exists()
    return set((await session.exec(select(Community.id).where(Community.platform == platform, last))).all())


async def gaps(session: AsyncSession, *, community_id: int | None = None, at_most: int | None = None) -> int:
    """How many questions wait to which nothing in the community's knowledge gave an answer."""
    # as a literal: of a parameter no database can tell that the index of gaps holds it
    is_gap = col(Turn.answer_kind) == literal_column("'gap'")
    return await _counted(session, _waiting(community_id).where(is_gap), at_most)


def wilson(successes: int, number: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share (J. Am. Stat. Assoc. 22, 1927), from 0 to 1; `number` is above 0."""
    share, square = successes / number, _Z**2
    middle = (share + square / (2 * number)) / (1 + square / number)
    width = _Z * math.sqrt(share * (1 - share) / number + square / (4 * number**2)) / (1 + square / number)
    return max(0.0, middle - width), min(1.0, middle + width)


def _waiting(community_id: int | None) -> SelectOfScalar[Any]:
    chosen = _chosen(community_id, None)
    return select(literal_column("1")).where(
        *chosen, col(Turn.review_state) == "waiting", col(Turn.state) == "answered"
    )


async def _counted(session: AsyncSession, rows: SelectOfScalar[Any], at_most: int | None) -> int:
    return (await session.exec(select(func.count()).select_from(rows.limit(at_most).subquery()))).one()


def _day(session: AsyncSession) -> ColumnElement[date]:
    """The day of a question, in UTC: PostgreSQL's times would follow its server's zone."""
    if session.get_bind().dialect.name == "postgresql":
        return cast(func.timezone("UTC", col(Turn.asked_at)), Date)
    return func.date(col(Turn.asked_at))


async def _medians(
    session: AsyncSession, seconds: Mapped[float], chosen: list[ColumnElement[bool]]
) -> dict[int | None, float]:
    """The median of a column by adapter; SQLite has no function for it, so the middle rows are picked."""
    same_adapter = col(Turn.adapter_id)
    ranked = (
        select(
            same_adapter.label("adapter_id"),
            seconds.label("seconds"),
            func.row_number().over(partition_by=same_adapter, order_by=seconds).label("place"),
            func.count().over(partition_by=same_adapter).label("number"),
        )
        .where(*chosen, Turn.state == "answered")
        .subquery()
    )
    # of an odd number both sides name the one middle row, of an even number the two beside the middle
    middle = (ranked.c.place * 2).between(ranked.c.number, ranked.c.number + 2)
    rows = await session.exec(
        select(ranked.c.adapter_id, func.avg(ranked.c.seconds)).where(middle).group_by(ranked.c.adapter_id)
    )
    return {adapter: float(median) for adapter, median in rows}


def _chosen(community_id: int | None, since: datetime | None) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if community_id is not None:
        conditions.append(col(Turn.community_id) == community_id)
    if since is not None:
        conditions.append(col(Turn.asked_at) >= since)
    return conditions


def _votes() -> tuple[ColumnElement[int], ColumnElement[int]]:
    return (
        func.sum(case((col(Vote.value) > 0, 1), else_=0)),
        func.sum(case((col(Vote.value) < 0, 1), else_=0)),
    )
