"""The schedule: read from the settings, kept in the record, steered from another process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

import pytest
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from bot import schedule
from bot.schedule import REFRESH, RETRAIN, Schedule
from bot.settings import ScheduleSettings
from feedback import journal
from feedback.database import Database
from feedback.errors import NotFound, SettingsError
from tests.conftest import SQLITE
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
        await service.start()
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


async def test_documents_are_read_anew_only_where_the_settings_say_when(
    database: Database, tmp_path: Path
) -> None:
    often = ScheduleSettings(retrain="off", refresh="every 6h")
    (job,) = await schedule.list_jobs(database, often, ONE, tmp_path)
    assert (job.id, job.paused) == (REFRESH, False) and job.next_run is not None
    paused = await schedule.pause(database, often, ONE, tmp_path, REFRESH)
    assert paused.paused
    with pytest.raises(SettingsError, match="THUMBLOOP_SCHEDULE__REFRESH"):
        await schedule.list_jobs(database, ScheduleSettings(refresh="now and then"), ONE, tmp_path)


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
    await service.start()
    await service.stop()
    jobs = await schedule.list_jobs(database, NIGHTLY, SEVERAL, tmp_path)
    assert [job.id for job in jobs if job.paused] == ["retrain-docs"]
    service = Schedule(database, NIGHTLY, ONE, tmp_path, housekeeping=_nothing)
    await service.start()
    await service.stop()
    assert [job.id for job in await schedule.list_jobs(database, NIGHTLY, ONE, tmp_path)] == [RETRAIN]


# --- one owner ---


@contextlib.asynccontextmanager
async def service(
    database: Database, settings: ScheduleSettings, data: Path, housekeeping: Callable[[], Awaitable[None]]
) -> AsyncIterator[tuple[Schedule, bool]]:
    """A running schedule, and whether it owned the timetable at its start."""
    running = Schedule(database, settings, ONE, data, housekeeping=housekeeping)
    is_owner = await running.start()
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
    assert await first.start()
    async with service(database, ScheduleSettings(retrain="every 12h"), tmp_path, tidy):
        await first.stop()
        tidied.clear()
        await tidied.wait()
        (job,) = await schedule.list_jobs(database, NIGHTLY, ONE, tmp_path)
        assert job.trigger == "every 12 hours, counted from 03:00 (UTC)"


async def _nothing() -> None:
    return None


class _Rounds:
    """Housekeeping that counts its rounds."""

    def __init__(self) -> None:
        self._tidied = asyncio.Semaphore(0)

    async def tidy(self) -> None:
        self._tidied.release()

    async def come(self, rounds: int) -> None:
        for _ in range(rounds):
            await self._tidied.acquire()


class _Yesterday(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:
        return datetime.now(tz) - timedelta(days=1)


async def test_whoever_looks_at_a_job_that_is_due_leaves_it_due(database: Database, tmp_path: Path) -> None:
    async with service(database, NIGHTLY, tmp_path, _nothing):
        pass
    due = datetime.now(UTC) - timedelta(hours=1)
    await _plan(database, due)
    for _ in range(2):
        (job,) = await schedule.list_jobs(database, NIGHTLY, ONE, tmp_path)
        assert job.next_run == due


@SQLITE
async def test_housekeeping_goes_on_when_the_clock_is_set_back(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "LOOK_AGAIN_SECONDS", 0.01)
    rounds = _Rounds()
    async with service(database, NIGHTLY, tmp_path, rounds.tidy):
        await rounds.come(2)
        monkeypatch.setattr("apscheduler.schedulers.base.datetime", _Yesterday)
        await rounds.come(5)


async def test_housekeeping_goes_on_after_a_round_that_failed(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "LOOK_AGAIN_SECONDS", 0.01)
    rounds = _Rounds()

    async def fail() -> None:
        await rounds.tidy()
        raise OSError("the disk is gone")

    async with service(database, NIGHTLY, tmp_path, fail):
        await rounds.come(2)


@pytest.mark.parametrize("retrain", ["nightly", "biweekly", "every 12h"])
async def test_a_job_planned_while_the_clock_was_ahead_is_brought_forward(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, retrain: str
) -> None:
    monkeypatch.setattr(schedule, "LOOK_AGAIN_SECONDS", 0.01)
    settings, rounds = ScheduleSettings(retrain=retrain), _Rounds()
    async with service(database, settings, tmp_path, _nothing):
        pass
    ahead = datetime.now(UTC) + timedelta(days=400)
    await _plan(database, ahead)
    async with service(database, settings, tmp_path, rounds.tidy):
        while await _next_run(database, settings, tmp_path) == ahead:
            await rounds.come(1)
        assert await _next_run(database, settings, tmp_path) < ahead - timedelta(days=380)


async def test_a_clock_set_back_by_seconds_after_a_run_repeats_no_run(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "LOOK_AGAIN_SECONDS", 0.01)
    rounds = _Rounds()
    async with service(database, NIGHTLY, tmp_path, _nothing):
        tomorrow = await _next_run(database, NIGHTLY, tmp_path) + timedelta(days=1)
    await _plan(database, tomorrow)
    async with service(database, NIGHTLY, tmp_path, rounds.tidy):
        await rounds.come(2)
        assert await _next_run(database, NIGHTLY, tmp_path) == tomorrow


_rung: list[asyncio.Event] = []


async def _ring(data: str) -> None:
    _rung[-1].set()


@SQLITE
async def test_what_was_missed_for_days_runs_once_when_the_service_is_back(
    database: Database, tmp_path: Path
) -> None:
    _rung.append(asyncio.Event())
    async with service(database, NIGHTLY, tmp_path, _nothing):
        planned = await _next_run(database, NIGHTLY, tmp_path)
    await _in_the_store(database, lambda store: store.modify_job(RETRAIN, func=_ring))
    await _plan(database, planned - timedelta(days=4))
    async with service(database, NIGHTLY, tmp_path, _nothing):
        await _rung[-1].wait()
        assert await _next_run(database, NIGHTLY, tmp_path) >= planned


@SQLITE
async def test_a_job_that_comes_due_while_a_session_writes_holds_up_neither(
    database: Database, tmp_path: Path
) -> None:
    _rung.append(asyncio.Event())
    async with service(database, NIGHTLY, tmp_path, _nothing) as (running, _):
        await asyncio.sleep(0)  # it looks for the first time
        async with database.session() as session:
            await _in_the_store(
                database, lambda store: store.add_job(_ring, args=[""], misfire_grace_time=None)
            )
            await journal.member(session, "web", "ada")
            running._scheduler.wakeup()
            await journal.member(session, "web", "ben")
        await _rung[-1].wait()
        remaining: list[str] = []
        await _in_the_store(database, lambda store: remaining.extend(job.id for job in store.get_jobs()))
        assert remaining == [RETRAIN]  # what ran once is not kept to run again


async def _next_run(database: Database, settings: ScheduleSettings, data: Path) -> datetime:
    (job,) = await schedule.list_jobs(database, settings, ONE, data)
    assert job.next_run is not None
    return job.next_run


async def _plan(database: Database, moment: datetime) -> None:
    """Let the job run next at that time, as another process would."""
    await _in_the_store(database, lambda store: store.modify_job(RETRAIN, next_run_time=moment))


async def _in_the_store(database: Database, change: Callable[[AsyncIOScheduler], object]) -> None:
    store = SQLAlchemyJobStore(url=database.sync_url)
    other = AsyncIOScheduler(jobstores={"default": store}, timezone="UTC")
    other.start(paused=True)
    change(other)
    other.shutdown(wait=False)
    await asyncio.sleep(0)  # it shuts down when the event loop comes to it
