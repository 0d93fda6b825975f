"""When training is needed between the times of the timetable."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from bot.needs import RECENT, Needs
from bot.settings import ScheduleSettings
from feedback.database import Database
from tests.chronicle import Chronicle
from training.adapters import deployments
from training.settings import TrainingSettings

FEW = TrainingSettings(min_new_pairs=2)


async def test_so_many_new_pairs_are_a_need_that_the_run_names(
    database: Database, chronicle: Chronicle, tmp_path: Path
) -> None:
    needs = _needs(database, tmp_path, ScheduleSettings(new_pairs=3))
    await chronicle.approved_at_once(["What is rank?", "What is alpha?"])
    assert await needs.look(datetime.now(UTC)) == []
    await chronicle.approved_at_once(["What is dropout?"])
    (need,) = await needs.look(datetime.now(UTC))
    assert (need.adapter, need.why) == ("community", "need: 3 new approved pairs")


async def test_answers_that_are_surely_liked_less_than_before_are_a_need_once_enough_is_new(
    database: Database, chronicle: Chronicle, tmp_path: Path
) -> None:
    needs = _needs(database, tmp_path, ScheduleSettings(falling_approval=True))
    moment = datetime.now(UTC)
    for number in range(25):
        await _judged(chronicle, 1, moment - RECENT - timedelta(days=1), number)
        await _judged(chronicle, -1, moment - timedelta(days=1), number)
    assert await needs.look(moment) == []  # nothing new to learn from
    await chronicle.approved_at_once(["What is rank?", "What is alpha?"])
    (need,) = await needs.look(moment)
    assert need.why == "need: approval fell by about 100 points in 14 days"


async def test_answers_that_are_liked_as_before_are_no_need(
    database: Database, chronicle: Chronicle, tmp_path: Path
) -> None:
    needs = _needs(database, tmp_path, ScheduleSettings(falling_approval=True))
    moment = datetime.now(UTC)
    for number in range(15):
        await _judged(chronicle, 1, moment - RECENT - timedelta(days=1), number)
        await _judged(chronicle, 1, moment - timedelta(days=1), number)
    await chronicle.approved_at_once(["What is rank?", "What is alpha?"])
    assert await needs.look(moment) == []
    async with database.session(read_only=True) as session:
        assert await deployments.serving(session) is None


def _needs(database: Database, data: Path, settings: ScheduleSettings) -> Needs:
    return Needs(database, settings, FEW, "plain", data)


async def _judged(chronicle: Chronicle, value: int, asked_at: datetime, number: int) -> None:
    turn_id = await chronicle.answered(asked_at=asked_at)
    await chronicle.vote(turn_id, value, by=f"voter {number}")
