"""The jobs that run by themselves: the retrain by the clock, kept in our database, and housekeeping.

APScheduler 3.11 with its job store in the record's database, so that a pause or the next time survive a
restart, and `thumbloop schedule` may change them from another process: the service looks again every
half-minute. What a job does is done elsewhere; the retrain runs in a process of its own.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import structlog
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.base import BaseScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from bot.commands import training
from bot.settings import ScheduleSettings
from feedback.database import Database
from feedback.errors import NotFound, SettingsError

RETRAIN: Final = "retrain"
LATE_SECONDS: Final = 12 * 3600
"""How late a missed run is still made up for: a laptop that slept through the night retrains at breakfast."""
LOOK_AGAIN_SECONDS: Final = 30

_EVERY = re.compile(r"every (\d{1,4}) ?(m|h|d|w)")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_ALLOWED: Final = (
    "Use nightly, biweekly, off, five cron fields such as '0 3 * * 1', or 'every 12h' (m, h, d, w)."
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class JobView:
    """A job for people; `next_run` None while it is paused."""

    id: str
    title: str
    trigger: str
    next_run: datetime | None
    paused: bool


def trigger_of(settings: ScheduleSettings) -> BaseTrigger | None:
    """When the retrain job runs; None is never. Raises SettingsError for what cannot be read."""
    wanted = settings.retrain.strip().lower()
    try:
        zone = ZoneInfo(settings.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise SettingsError(
            f"The setting schedule.timezone (THUMBLOOP_SCHEDULE__TIMEZONE) is {settings.timezone!r}, "
            "which is no time zone that this machine knows.",
            "Use an IANA name such as Europe/Warsaw, or UTC.",
        ) from None
    # an interval counts from a fixed day, so that a restart does not put the next run off
    start = datetime(2024, 1, 1, settings.hour, tzinfo=zone)
    every = _EVERY.fullmatch(wanted)
    try:
        if wanted == "off":
            return None
        if wanted == "nightly":
            return CronTrigger(hour=settings.hour, minute=0, timezone=zone)
        if wanted == "biweekly":
            return IntervalTrigger(weeks=2, start_date=start, timezone=zone)
        if every is not None and int(every[1]):
            return IntervalTrigger(**{_UNITS[every[2]]: int(every[1])}, start_date=start, timezone=zone)
        return CronTrigger.from_crontab(settings.retrain, timezone=zone)
    except ValueError:
        raise SettingsError(
            f"The setting schedule.retrain (THUMBLOOP_SCHEDULE__RETRAIN) is {settings.retrain!r}, "
            "which cannot be read.",
            _ALLOWED,
        ) from None


async def retrain_when_due(data: str) -> None:
    """What the retrain job does; the store keeps this function's name and the data folder's path."""
    ended = await training.run_and_wait(Path(data), started_by="schedule", only_if_due=True)
    log.info("scheduled retrain ended", status=ended.status, said=ended.said)


class Schedule:
    """The running schedule of a service."""

    def __init__(
        self,
        database: Database,
        settings: ScheduleSettings,
        data: Path,
        housekeeping: Callable[[], Awaitable[None]],
    ) -> None:
        """`housekeeping` is called every half-minute, never twice at once; its errors are logged.

        Raises SettingsError.
        """
        self._scheduler = AsyncIOScheduler(jobstores=_stores(database), timezone="UTC")
        self._trigger = trigger_of(settings)
        self._data = data
        self._housekeeping = housekeeping

    def start(self) -> None:
        """Start in the running event loop."""
        self._scheduler.start(paused=True)
        _keep_job(self._scheduler, self._trigger, self._data)
        # waking for this also lets the scheduler see what other processes changed in the store
        self._scheduler.add_job(
            self._housekeeping, "interval", seconds=LOOK_AGAIN_SECONDS, jobstore="memory", coalesce=True
        )
        self._scheduler.resume()

    async def stop(self) -> None:
        """Stop; a run under way is told to stop, and tidies up."""
        executor = self._scheduler._executors.get("default")
        under_way = list(getattr(executor, "_pending_futures", ()))
        self._scheduler.shutdown(wait=False)
        await asyncio.gather(*under_way, return_exceptions=True)


async def list_jobs(database: Database, settings: ScheduleSettings, data: Path) -> list[JobView]:
    """The jobs with their next times. Raises SettingsError."""
    return await asyncio.to_thread(_list_jobs, database, settings, data)


async def pause(database: Database, settings: ScheduleSettings, data: Path, job_id: str) -> JobView:
    """Let a job rest until it is resumed. Raises NotFound."""
    return await asyncio.to_thread(_change, database, settings, data, job_id, "pause_job")


async def resume(database: Database, settings: ScheduleSettings, data: Path, job_id: str) -> JobView:
    """Let a paused job run again at its next time. Raises NotFound."""
    return await asyncio.to_thread(_change, database, settings, data, job_id, "resume_job")


def _list_jobs(database: Database, settings: ScheduleSettings, data: Path) -> list[JobView]:
    with _looking(database, settings, data) as scheduler:
        return [_view(job) for job in scheduler.get_jobs("record")]


def _change(database: Database, settings: ScheduleSettings, data: Path, job_id: str, change: str) -> JobView:
    with _looking(database, settings, data) as scheduler:
        if scheduler.get_job(job_id, "record") is None:
            raise NotFound("job", job_id, "`thumbloop schedule list` shows the jobs that there are.")
        getattr(scheduler, change)(job_id, "record")
        return _view(scheduler.get_job(job_id, "record"))


@contextmanager
def _looking(database: Database, settings: ScheduleSettings, data: Path) -> Iterator[BaseScheduler]:
    """A scheduler that starts nothing, to look into the store and change it."""
    trigger = trigger_of(settings)
    scheduler = BackgroundScheduler(jobstores=_stores(database), timezone="UTC")
    scheduler.start(paused=True)
    try:
        _keep_job(scheduler, trigger, data)
        yield scheduler
    finally:
        scheduler.shutdown(wait=False)


def _stores(database: Database) -> dict[str, Any]:
    return {"record": SQLAlchemyJobStore(url=database.sync_url), "memory": MemoryJobStore()}


def _keep_job(scheduler: BaseScheduler, trigger: BaseTrigger | None, data: Path) -> None:
    """Make the stored job what the settings say; one that is as it should be keeps its time and its pause."""
    present = scheduler.get_job(RETRAIN, "record")
    if trigger is None:
        if present is not None:
            scheduler.remove_job(RETRAIN, "record")
        return
    arguments = (str(data.absolute()),)
    if present is not None and (repr(present.trigger), present.args) == (repr(trigger), arguments):
        return
    scheduler.add_job(
        retrain_when_due,
        trigger,
        args=arguments,
        id=RETRAIN,
        name="Train a new adapter when enough new pairs are approved",
        jobstore="record",
        replace_existing=True,
        coalesce=True,
        max_instances=1,
        misfire_grace_time=LATE_SECONDS,
    )
    if present is not None and present.next_run_time is None:
        scheduler.pause_job(RETRAIN, "record")


def _view(job: Any) -> JobView:
    return JobView(job.id, job.name, str(job.trigger), job.next_run_time, job.next_run_time is None)
