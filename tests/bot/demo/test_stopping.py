"""A demo that is stopped says what becomes of its training run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bot.demo.run import stopped_run
from feedback.database import Database
from feedback.tables import Run
from training.run.lifecycle import PAUSED

BEGAN = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("state", "ended", "said"),
    [
        ("cancelled", BEGAN + timedelta(minutes=5), "Run 1: " + PAUSED.format(step=40)),
        ("cancelled", BEGAN - timedelta(days=1), ""),
        ("promoted", BEGAN + timedelta(minutes=5), ""),
    ],
)
async def test_a_run_that_the_end_of_the_demo_stopped_goes_on_next_time(
    database: Database, state: str, ended: datetime, said: str
) -> None:
    async with database.session() as session:
        session.add(
            Run(
                state=state,
                adapter_name="community",
                started_by="web",
                verdict=PAUSED.format(step=40),
                finished_at=ended,
            )
        )
    assert await stopped_run(database, BEGAN) == said


async def test_a_demo_without_a_run_has_nothing_to_say_of_one(database: Database) -> None:
    assert await stopped_run(database, BEGAN) == ""
