"""The schedule: read from the settings, kept in the record, steered from another process."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bot import schedule
from bot.schedule import RETRAIN, Schedule, trigger_of
from bot.settings import ScheduleSettings
from feedback.database import Database
from feedback.errors import NotFound, SettingsError
from training.settings import TrainingSettings

NIGHTLY = ScheduleSettings()
ONE = TrainingSettings()


def next_after(moment: datetime, **settings: Any) -> datetime:
    trigger = trigger_of(ScheduleSettings(**settings))
    assert trigger is not None
    found: datetime = trigger.get_next_fire_time(None, moment)
    return found.astimezone(UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_nightly_is_at_the_set_hour_of_the_set_time_zone() -> None:
    summer = at("2026-07-10 12:00")
    assert next_after(summer, hour=3, timezone="Europe/Warsaw") == at("2026-07-11 01:00")


def test_biweekly_keeps_its_rhythm_whenever_the_service_is_restarted() -> None:
    first = next_after(at("2026-11-24 00:00"), retrain="biweekly")
    assert next_after(first - timedelta(hours=1), retrain="biweekly") == first
    assert next_after(first + timedelta(seconds=1), retrain="biweekly") == first + timedelta(weeks=2)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("30 4 * * *", "2026-11-25 04:30"),
        ("every 12h", "2026-11-24 15:00"),
        ("EVERY 2 d", "2026-11-26 03:00"),
        ("0 3 * * 1", "2026-11-30 03:00"),
        ("0 3 * * 7", "2026-11-29 03:00"),
        ("0 3 * * 4-6/2,0", "2026-11-26 03:00"),
        ("0 3 * * fri", "2026-11-27 03:00"),
    ],
)
def test_cron_fields_and_intervals_are_read(wanted: str, expected: str) -> None:
    assert next_after(at("2026-11-24 05:00"), retrain=wanted) == at(expected)


def test_off_is_never() -> None:
    assert trigger_of(ScheduleSettings(retrain="off")) is None


@pytest.mark.parametrize("wrong", ["sometimes", "61 4 * * *", "every 0h", "* * *", ""])
def test_what_cannot_be_read_names_the_setting_and_what_is_allowed(wrong: str) -> None:
    with pytest.raises(SettingsError, match=r"schedule\.retrain.*nightly"):
        trigger_of(ScheduleSettings(retrain=wrong))


def test_an_unknown_time_zone_is_named() -> None:
    with pytest.raises(SettingsError, match=r"schedule\.timezone.*Middle/Earth"):
        trigger_of(ScheduleSettings(timezone="Middle/Earth"))


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
    assert [job.id for job in await schedule.list_jobs(database, NIGHTLY, ONE, tmp_path)] == [RETRAIN]


def test_a_timetable_of_an_adapter_that_cannot_be_read_is_named() -> None:
    wrong = TrainingSettings.model_validate({"adapters": {"docs": {"schedule": "sometimes"}}})
    with pytest.raises(SettingsError, match=r"training\.adapters\.docs\.schedule is 'sometimes'.*nightly"):
        schedule.triggers(NIGHTLY, wrong)


async def _nothing() -> None:
    return None
