"""The jobs that run by themselves: each adapter's retrain by the clock, kept in our database; housekeeping.

APScheduler 3.11 with its job store in the record's database, so that a pause or the next time survive a
restart, and `thumbloop schedule` may change them from another process: the service looks again every
half-minute. What a job does is done elsewhere; a retrain runs in a process of its own, and where two are due
at once one waits for the other.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
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

from bot.commands import training as runs
from bot.settings import ScheduleSettings
from feedback.database import Database
from feedback.errors import NotFound, SettingsError
from training.settings import TrainingSettings

RETRAIN: Final = "retrain"
"""The job of `training.adapter_name`; another adapter's has its name behind it, as in retrain-docs."""
LATE_SECONDS: Final = 12 * 3600
"""How late a missed run is still made up for: a laptop that slept through the night retrains at breakfast."""
LOOK_AGAIN_SECONDS: Final = 30

_EVERY = re.compile(r"every (\d{1,4}) ?(m|h|d|w)")
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_NUMBERED_DAYS: Final = re.compile(r"^(?P<first>[0-7])(-(?P<last>[0-7])(/(?P<step>[1-7]))?)?$")
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


def job_of(adapter_name: str, training: TrainingSettings) -> str:
    """The id of the job that retrains that adapter."""
    return RETRAIN if adapter_name == training.adapter_name else f"{RETRAIN}-{adapter_name}"


def adapter_of(job_id: str, training: TrainingSettings) -> str:
    """The adapter that a job retrains, also while its timetable is off. Raises NotFound."""
    for name in training.names:
        if job_of(name, training) == job_id:
            return name
    raise _no_job(job_id)


def trigger_of(settings: ScheduleSettings, adapter_name: str = "", own: str = "") -> BaseTrigger | None:
    """When an adapter is retrained: by its `own` timetable if it has one; None is never.

    Raises SettingsError for what cannot be read.
    """
    told = own or settings.retrain
    wanted = told.strip().lower()
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
        return CronTrigger.from_crontab(_with_named_days(told), timezone=zone)
    except ValueError:
        setting = (
            f"training.adapters.{adapter_name}.schedule"
            if own
            else "schedule.retrain (THUMBLOOP_SCHEDULE__RETRAIN)"
        )
        raise SettingsError(f"The setting {setting} is {told!r}, which cannot be read.", _ALLOWED) from None


def triggers(settings: ScheduleSettings, training: TrainingSettings) -> dict[str, BaseTrigger | None]:
    """When each adapter is retrained, by name. Raises SettingsError for what cannot be read."""
    return {
        name: trigger_of(settings, name, training.of_adapter(name).own.schedule) for name in training.names
    }


async def retrain_when_due(data: str, adapter_name: str | None = None) -> None:
    """What a retrain job does; the store keeps this function's name, the data folder and the adapter."""
    ended = await runs.run_and_wait(
        Path(data), started_by="schedule", adapter_name=adapter_name, only_if_due=True, wait=True
    )
    log.info("scheduled retrain ended", adapter=adapter_name, status=ended.status, said=ended.said)


class Schedule:
    """The running schedule of a service."""

    def __init__(
        self,
        database: Database,
        settings: ScheduleSettings,
        training: TrainingSettings,
        data: Path,
        housekeeping: Callable[[], Awaitable[None]],
    ) -> None:
        """`housekeeping` is called every half-minute, never twice at once; its errors are logged.

        Raises SettingsError.
        """
        self._scheduler = AsyncIOScheduler(jobstores=_stores(database), timezone="UTC")
        self._jobs = _jobs(settings, training, data)
        self._housekeeping = housekeeping

    def start(self) -> None:
        """Start in the running event loop."""
        self._scheduler.start(paused=True)
        _keep_jobs(self._scheduler, self._jobs)
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


async def list_jobs(
    database: Database, settings: ScheduleSettings, training: TrainingSettings, data: Path
) -> list[JobView]:
    """The jobs with their next times. Raises SettingsError."""
    return await asyncio.to_thread(_list_jobs, database, _jobs(settings, training, data))


async def pause(
    database: Database, settings: ScheduleSettings, training: TrainingSettings, data: Path, job_id: str
) -> JobView:
    """Let a job rest until it is resumed. Raises NotFound."""
    return await asyncio.to_thread(_change, database, _jobs(settings, training, data), job_id, "pause_job")


async def resume(
    database: Database, settings: ScheduleSettings, training: TrainingSettings, data: Path, job_id: str
) -> JobView:
    """Let a paused job run again at its next time. Raises NotFound."""
    return await asyncio.to_thread(_change, database, _jobs(settings, training, data), job_id, "resume_job")


@dataclass(frozen=True)
class _Job:
    """A job as the settings want it."""

    title: str
    trigger: BaseTrigger
    arguments: tuple[str, ...]


def _jobs(settings: ScheduleSettings, training: TrainingSettings, data: Path) -> dict[str, _Job]:
    """The jobs that the settings want, by id. Raises SettingsError."""
    folder = str(data.absolute())
    return {
        job_of(name, training): _Job(
            f"Train a new {name} adapter when enough new pairs are approved",
            trigger,
            (folder,) if name == training.adapter_name else (folder, name),
        )
        for name, trigger in triggers(settings, training).items()
        if trigger is not None
    }


def _list_jobs(database: Database, wanted: Mapping[str, _Job]) -> list[JobView]:
    with _looking(database, wanted) as scheduler:
        return [_view(job) for job in scheduler.get_jobs("record")]


def _change(database: Database, wanted: Mapping[str, _Job], job_id: str, change: str) -> JobView:
    with _looking(database, wanted) as scheduler:
        if scheduler.get_job(job_id, "record") is None:
            raise _no_job(job_id)
        getattr(scheduler, change)(job_id, "record")
        return _view(scheduler.get_job(job_id, "record"))


@contextmanager
def _looking(database: Database, wanted: Mapping[str, _Job]) -> Iterator[BaseScheduler]:
    """A scheduler that starts nothing, to look into the store and change it."""
    scheduler = BackgroundScheduler(jobstores=_stores(database), timezone="UTC")
    scheduler.start(paused=True)
    try:
        _keep_jobs(scheduler, wanted)
        yield scheduler
    finally:
        scheduler.shutdown(wait=False)


def _with_named_days(cron: str) -> str:
    """Cron fields with the weekdays by name: cron counts them from Sunday, APScheduler from Monday."""
    fields = cron.split()
    if len(fields) == 5:
        fields[4] = ",".join(_NUMBERED_DAYS.sub(_named_days, part) for part in fields[4].split(","))
    return " ".join(fields)


def _named_days(found: re.Match[str]) -> str:
    first = int(found["first"])
    last = int(found["last"] or first)
    if first > last:
        raise ValueError("a range of days runs backwards")
    return ",".join(_DAYS[day % 7] for day in range(first, last + 1, int(found["step"] or 1)))


def _stores(database: Database) -> dict[str, Any]:
    return {"record": SQLAlchemyJobStore(url=database.sync_url), "memory": MemoryJobStore()}


def _keep_jobs(scheduler: BaseScheduler, wanted: Mapping[str, _Job]) -> None:
    """Make the stored jobs what the settings say; one that is right already keeps its time and its pause."""
    for present in scheduler.get_jobs("record"):
        if present.id not in wanted:
            scheduler.remove_job(present.id, "record")
    for job_id, job in wanted.items():
        _keep_job(scheduler, job_id, job)


def _keep_job(scheduler: BaseScheduler, job_id: str, job: _Job) -> None:
    present = scheduler.get_job(job_id, "record")
    if present is not None and (repr(present.trigger), present.args) == (repr(job.trigger), job.arguments):
        return
    scheduler.add_job(
        retrain_when_due,
        job.trigger,
        args=job.arguments,
        id=job_id,
        name=job.title,
        jobstore="record",
        replace_existing=True,
        coalesce=True,
        max_instances=1,
        misfire_grace_time=LATE_SECONDS,
    )
    if present is not None and present.next_run_time is None:
        scheduler.pause_job(job_id, "record")


def _no_job(job_id: str) -> NotFound:
    return NotFound("job", job_id, "`thumbloop schedule list` shows the jobs that there are.")


def _view(job: Any) -> JobView:
    return JobView(job.id, job.name, str(job.trigger), job.next_run_time, job.next_run_time is None)
