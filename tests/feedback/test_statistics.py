"""Counts: right overall, by community and by adapter, with nobody's words in them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Engine, event

from feedback import journal, review, statistics
from feedback.journal import Answered
from feedback.statistics import AdapterFigures, Counts
from feedback.tables import Adapter, now
from tests.chronicle import Chronicle
from tests.conftest import SQLITE


async def test_an_empty_record_counts_nothing(chronicle: Chronicle) -> None:
    assert await _counts(chronicle) == Counts()
    async with chronicle.database.session(read_only=True) as session:
        assert await statistics.by_adapter(session) == {}


async def test_everything_that_happened_is_counted_once(chronicle: Chronicle) -> None:
    waiting, approved, edited, rejected = [await chronicle.answered() for _ in range(4)]
    failed, cancelled, _ = [await chronicle.asked() for _ in range(3)]
    for name in ("ben", "cleo"):
        await chronicle.vote(waiting, 1, by=name)
    await chronicle.vote(rejected, -1)
    async with chronicle.database.session() as session:
        await journal.record_failure(session, failed, "ref")
        await journal.record_cancelled(session, cancelled)
        await review.decide(session, approved, "mo", "approve")
        await review.decide(session, edited, "mo", "edit", answer="Better.")
        await review.decide(session, rejected, "mo", "reject")
    assert await _counts(chronicle) == Counts(
        turns=7,
        answered=4,
        failed=1,
        cancelled=1,
        waiting=1,
        approved=1,
        edited=1,
        rejected=1,
        votes_up=2,
        votes_down=1,
    )


async def test_communities_are_counted_apart(chronicle: Chronicle) -> None:
    await chronicle.vote(await chronicle.answered(), 1)
    async with chronicle.database.session() as session:
        other = await journal.community(session, "discord", "other")
        assert other.id is not None
        talk = await journal.conversation(session, other.id, "thread")
    await chronicle.asked(community_id=other.id, conversation_id=talk.id)
    async with chronicle.database.session(read_only=True) as session:
        by_community = await statistics.counts_by_community(session)
        one = await statistics.counts(session, community_id=other.id)
    assert by_community == {
        chronicle.community_id: Counts(turns=1, answered=1, waiting=1, votes_up=1),
        other.id: Counts(turns=1),
    }
    assert one == Counts(turns=1)


async def test_counts_can_start_at_a_time(chronicle: Chronicle) -> None:
    old = await chronicle.answered()
    await chronicle.date(old, now() - timedelta(days=2))
    await chronicle.answered()
    async with chronicle.database.session(read_only=True) as session:
        assert (await statistics.counts(session, since=now() - timedelta(days=1))).turns == 1


@pytest.mark.parametrize(
    ("seconds", "median"),
    [([3.0], 3.0), ([1.0, 4.0], 2.5), ([9.0, 1.0, 2.0], 2.0), ([1.0, 2.0, 2.0, 8.0], 2.0)],
)
async def test_the_median_time_is_that_of_the_middle_answer(
    chronicle: Chronicle, seconds: list[float], median: float
) -> None:
    for total_s in seconds:
        await chronicle.answered(answer=Answered("An answer.", "default", "en", "base", total_s=total_s))
    async with chronicle.database.session(read_only=True) as session:
        figures = await statistics.by_adapter(session)
    assert figures[None].median_total_s == median


async def test_adapters_are_told_apart_from_each_other_and_the_base(chronicle: Chronicle) -> None:
    async with chronicle.database.session() as session:
        adapter = Adapter(
            name="a", version=1, folder="a-1", content_hash="", base_model="base", base_revision=""
        )
        session.add(adapter)
    assert adapter.id is not None
    tuned = Answered(
        "An answer.", "default", "en", "base", adapter_id=adapter.id, first_token_s=0.25, total_s=4.0
    )
    await chronicle.vote(await chronicle.answered(), -1)
    await chronicle.vote(await chronicle.answered(answer=tuned), 1)
    await chronicle.answered(answer=tuned)
    async with chronicle.database.session(read_only=True) as session:
        assert await statistics.by_adapter(session) == {
            None: AdapterFigures(None, 1, 0, 1, 0.0, 2.0),
            adapter.id: AdapterFigures(adapter.id, 2, 1, 0, 0.25, 4.0),
        }


async def _counts(chronicle: Chronicle) -> Counts:
    async with chronicle.database.session(read_only=True) as session:
        return await statistics.counts(session)


@pytest.mark.parametrize(
    ("successes", "number", "low", "high"),
    [(0, 10, 0.0, 0.278), (10, 10, 0.722, 1.0), (50, 100, 0.404, 0.596)],
)
def test_the_interval_is_wilsons(successes: int, number: int, low: float, high: float) -> None:
    found = statistics.wilson(successes, number)
    assert found == pytest.approx((low, high), abs=0.001)


async def test_answers_that_people_wrote_count_for_no_model(chronicle: Chronicle) -> None:
    since = now() - timedelta(days=1)
    await chronicle.vote(await chronicle.answered(), -1)
    await chronicle.asked()
    for by_people in (
        Answered("Imported.", "default", "en", base_model=""),
        Answered("Approved.", "default", "en", "base", answer_kind="approved"),
    ):
        await chronicle.vote(await chronicle.answered(answer=by_people), 1)
    async with chronicle.database.session(read_only=True) as session:
        days = await statistics.by_day(session, since=since, community_id=chronicle.community_id)
        models = await statistics.by_adapter(session)
    told = [(one.by_people, one.adapter_id, one.turns, one.votes_up, one.votes_down) for one in days]
    assert told == [(False, None, 2, 0, 1), (True, None, 2, 2, 0)]
    assert models[None].answered == 1 and (models[None].votes_up, models[None].votes_down) == (0, 1)


@SQLITE
async def test_what_pages_count_is_read_from_indexes_alone(chronicle: Chronicle) -> None:
    """Of a million turns a look at each would take a second."""
    asked: list[tuple[str, object]] = []

    def note(_: object, __: object, statement: str, parameters: object, *___: object) -> None:
        asked.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        async with chronicle.database.session(read_only=True) as session:
            since = now() - timedelta(days=14)
            for community in (None, chronicle.community_id):
                await statistics.by_day(session, since=since, community_id=community)
                await statistics.waiting(session, community_id=community)
                await statistics.gaps(session, community_id=community)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    counts = [one for one in asked if "count(*)" in one[0]]
    assert len(counts) == 8
    async with chronicle.database.session(read_only=True) as session:
        connection = await session.connection()
        for statement, parameters in counts:
            plan = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)  # type: ignore[arg-type]
            steps = [row[-1] for row in plan if " turn" in row[-1]]
            assert steps and all("USING COVERING INDEX" in step or "ix_turn_gap" in step for step in steps), (
                statement,
                steps,
            )
