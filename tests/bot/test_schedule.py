"""The schedule: read from the settings, kept in the record, steered from another process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from bot import schedule
from bot.schedule import RETRAIN, Schedule
from bot.settings import ScheduleSettings
from feedback.database import Database
from feedback.errors import NotFound
from training.settings import TrainingSettings

NIGHTLY = ScheduleSettings()
ONE = TrainingSettings()


async def test_the_job_is_there_before_the_service_ever_ran(database: Database, tmp_path: Path) -> None:
    (job,) = await schedule.list_jobs(database, NIGHTLY, ONE, tmp_path)
    assert job.id == RETRAIN and not job.paused
    assert job.next_run is not None and job.next_run.hour == NIGHTLY.hour


async def test_a_pause_survives_a_restart_of_the_service_and_other_settings(
    database: Database, tmp_path: Path
) -> None:
    await schedule.pause(database, NIGHTLY, ONE, tmp_path, RETRAIN)
    for settings in (NIGHTLY, ScheduleSettings(retrain="biweekly")):
        service = Schedule(database, settings, ONE, tmp_path, housekeeping=_nothing)
        service.start()
        await service.stop()
        (job,) = await schedule.list_jobs(database, settings, ONE, tmp_path)
        assert job.paused
    resumed = await schedule.resume(database, settings, ONE, tmp_path, RETRAIN)
    assert not resumed.paused and resumed.next_run is not None


async def test_a_job_that_is_switched_off_is_gone(database: Database, tmp_path: Path) -> None:
    await schedule.list_jobs(database, NIGHTLY, ONE, tmp_path)
    off = ScheduleSettings(retrain="off")
    assert await schedule.list_jobs(database, off, ONE, tmp_path) == []
    with pytest.raises(NotFound, match="schedule list"):
        await schedule.pause(database, off, ONE, tmp_path, RETRAIN)


SEVERAL = TrainingSettings.model_validate(
    {"adapters": {"docs": {"schedule": "0 3 * * 1"}, "blog": {}, "archive": {"schedule": "off"}}}
)


async def test_each_adapter_is_retrained_by_its_own_timetable_or_the_common_one(
    database: Database, tmp_path: Path
) -> None:
    jobs = {job.id: job for job in await schedule.list_jobs(database, NIGHTLY, SEVERAL, tmp_path)}
    assert jobs.keys() == {"retrain", "retrain-docs", "retrain-blog"}
    docs, blog = jobs["retrain-docs"].next_run, jobs["retrain-blog"].next_run
    assert docs is not None and (docs.weekday(), docs.hour) == (0, 3)
    assert blog == jobs["retrain"].next_run and "docs" in jobs["retrain-docs"].title


async def test_one_adapter_is_paused_and_the_others_are_not_and_a_name_that_is_gone_has_no_job(
    database: Database, tmp_path: Path
) -> None:
    await schedule.pause(database, NIGHTLY, SEVERAL, tmp_path, "retrain-docs")
    service = Schedule(database, NIGHTLY, SEVERAL, tmp_path, housekeeping=_nothing)
    service.start()
    await service.stop()
    jobs = await schedule.list_jobs(database, NIGHTLY, SEVERAL, tmp_path)
    assert [job.id for job in jobs if job.paused] == ["retrain-docs"]
    service = Schedule(database, NIGHTLY, ONE, tmp_path, housekeeping=_nothing)
    service.start()
    await service.stop()
    assert [job.id for job in await schedule.list_jobs(database, NIGHTLY, ONE, tmp_path)] == [RETRAIN]


# --- one owner ---


@contextlib.asynccontextmanager
async def service(
    database: Database, settings: ScheduleSettings, data: Path, housekeeping: Callable[[], Awaitable[None]]
) -> AsyncIterator[tuple[Schedule, bool]]:
    """A running schedule, and whether it owned the timetable at its start."""
    running = Schedule(database, settings, ONE, data, housekeeping=housekeeping)
    is_owner = running.start()
    try:
        yield running, is_owner
    finally:
        await running.stop()


async def test_looking_at_the_jobs_with_other_settings_changes_nothing_of_a_running_services(
    database: Database, tmp_path: Path
) -> None:
    async with service(database, NIGHTLY, tmp_path, _nothing):
        before = await schedule.list_jobs(database, NIGHTLY, ONE, tmp_path)
        for other in ("every 1m", "off"):
            (job,) = await schedule.list_jobs(database, ScheduleSettings(retrain=other), ONE, tmp_path)
            assert (job.trigger, job.next_run) == (before[0].trigger, before[0].next_run)
            assert job.settings_here in ("every 1 minute (UTC)", "off")
        assert await schedule.list_jobs(database, NIGHTLY, ONE, tmp_path) == before
    assert before[0].settings_here == ""


async def test_pausing_with_other_settings_pauses_the_job_that_the_service_has(
    database: Database, tmp_path: Path
) -> None:
    async with service(database, NIGHTLY, tmp_path, _nothing):
        paused = await schedule.pause(database, ScheduleSettings(retrain="every 1m"), ONE, tmp_path, RETRAIN)
        assert paused.paused and paused.trigger == "every day at 03:00 (UTC)"


async def test_a_second_service_on_one_record_leaves_the_timetable_to_the_first(
    database: Database, tmp_path: Path
) -> None:
    other = ScheduleSettings(retrain="every 1m")
    async with service(database, NIGHTLY, tmp_path, _nothing) as (_, first):
        async with service(database, other, tmp_path, _nothing) as (_, second):
            assert (first, second) == (True, False)
        (job,) = await schedule.list_jobs(database, NIGHTLY, ONE, tmp_path)
        assert job.trigger == "every day at 03:00 (UTC)"


async def test_a_second_service_takes_the_timetable_over_when_the_first_ends(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "LOOK_AGAIN_SECONDS", 0.05)
    tidied = asyncio.Event()

    async def tidy() -> None:
        tidied.set()

    first = Schedule(database, NIGHTLY, ONE, tmp_path, housekeeping=_nothing)
    assert first.start()
    async with service(database, ScheduleSettings(retrain="every 12h"), tmp_path, tidy):
        await first.stop()
        tidied.clear()
        await tidied.wait()
        (job,) = await schedule.list_jobs(database, NIGHTLY, ONE, tmp_path)
        assert job.trigger == "every 12 hours, counted from 03:00 (UTC)"


async def _nothing() -> None:
    return None
