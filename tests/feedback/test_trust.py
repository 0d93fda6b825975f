"""Approvals that come faster than anybody reads, from somebody new, wait for the operator."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlmodel import select

from feedback import review, trust
from feedback.database import Database
from feedback.errors import NotFound
from feedback.tables import Audit, Review
from feedback.words import AUTO_REVIEWER, Decision
from tests.chronicle import Chronicle

NOON = datetime(2026, 11, 3, 12, 0, tzinfo=UTC)
NEWCOMER = "discord:mallory"


async def test_a_burst_of_a_newcomer_is_quarantined_and_what_they_decided_slowly_is_not(
    chronicle: Chronicle,
) -> None:
    slow = await _reviews(chronicle, NEWCOMER, [NOON, NOON + timedelta(minutes=5)])
    burst = await _reviews(chronicle, NEWCOMER, _within_seconds(5, NOON + timedelta(hours=1)))
    (quarantined,) = await _quarantined(chronicle.database)
    assert quarantined.reviewer == NEWCOMER and quarantined.reviews == tuple(burst)
    assert not set(slow) & set(quarantined.reviews)
    assert (quarantined.since, quarantined.until) == (
        NOON + timedelta(hours=1),
        NOON + timedelta(hours=1, seconds=4),
    )


async def test_one_approval_fewer_is_no_burst(chronicle: Chronicle) -> None:
    await _reviews(chronicle, NEWCOMER, _within_seconds(4, NOON))
    assert await _quarantined(chronicle.database) == []


async def test_approvals_just_over_a_minute_apart_are_no_burst(chronicle: Chronicle) -> None:
    await _reviews(chronicle, NEWCOMER, [NOON + timedelta(seconds=20 * n) for n in range(8)])
    assert await _quarantined(chronicle.database) == []


async def test_two_bursts_that_overlap_are_quarantined_once(chronicle: Chronicle) -> None:
    burst = await _reviews(chronicle, NEWCOMER, [NOON + timedelta(seconds=12 * n) for n in range(9)])
    (quarantined,) = await _quarantined(chronicle.database)
    assert quarantined.reviews == tuple(burst)


async def test_whoever_has_reviewed_for_a_week_may_be_quick(chronicle: Chronicle) -> None:
    await _reviews(chronicle, NEWCOMER, [NOON - timedelta(days=8)])
    await _reviews(chronicle, NEWCOMER, _within_seconds(6, NOON))
    assert await _quarantined(chronicle.database) == []


@pytest.mark.parametrize("reviewer", [AUTO_REVIEWER, "terminal:root", "console", "demo:moderator"])
async def test_rules_the_operator_and_the_demo_may_be_quick(reviewer: str, chronicle: Chronicle) -> None:
    await _reviews(chronicle, reviewer, _within_seconds(6, NOON))
    assert await _quarantined(chronicle.database) == []


async def test_rejections_and_undone_approvals_are_no_burst(chronicle: Chronicle) -> None:
    await _reviews(chronicle, NEWCOMER, _within_seconds(3, NOON))
    await _reviews(chronicle, NEWCOMER, _within_seconds(4, NOON), decision="reject")
    await _reviews(chronicle, NEWCOMER, _within_seconds(4, NOON), undone=True)
    assert await _quarantined(chronicle.database) == []


async def test_a_trusted_reviewer_is_quarantined_no_more_and_the_audit_says_who_trusted(
    chronicle: Chronicle,
) -> None:
    await _reviews(chronicle, NEWCOMER, _within_seconds(6, NOON))
    await _reviews(chronicle, "discord:ivan", _within_seconds(6, NOON))
    async with chronicle.database.session() as session:
        await trust.trust(session, NEWCOMER, by="terminal:root")
        await trust.trust(session, NEWCOMER, by="terminal:root")
    assert [burst.reviewer for burst in await _quarantined(chronicle.database)] == ["discord:ivan"]
    async with chronicle.database.session(read_only=True) as session:
        told = (await session.exec(select(Audit).where(Audit.action == "review.trust"))).all()
    assert [(entry.actor, entry.subject) for entry in told] == [("terminal:root", f"reviewer {NEWCOMER}")]


async def test_nobody_can_trust_somebody_who_never_reviewed(chronicle: Chronicle) -> None:
    async with chronicle.database.session() as session:
        with pytest.raises(NotFound, match="discord:nobody"):
            await trust.trust(session, "discord:nobody", by="terminal:root")


async def test_holding_can_be_turned_off(chronicle: Chronicle) -> None:
    await _reviews(chronicle, NEWCOMER, _within_seconds(6, NOON))
    async with chronicle.database.session(read_only=True) as session:
        assert await trust.quarantined(session, 0) == []


def _within_seconds(count: int, start: datetime) -> list[datetime]:
    return [start + timedelta(seconds=n) for n in range(count)]


async def _reviews(
    chronicle: Chronicle,
    reviewer: str,
    times: list[datetime],
    *,
    decision: Decision = "approve",
    undone: bool = False,
) -> list[int]:
    """The ids of decisions on new turns, made at those times."""
    found = []
    for moment in times:
        turn = await chronicle.answered()
        async with chronicle.database.session() as session:
            made = await review.decide(session, turn, reviewer, decision)
            row = await session.get_one(Review, made.id)
            row.decided_at, row.undone_at = moment, moment if undone else None
            session.add(row)
        found.append(made.id or 0)
    return found


async def _quarantined(database: Database) -> list[trust.Quarantined]:
    async with database.session(read_only=True) as session:
        return await trust.quarantined(session, 5)
