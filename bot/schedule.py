"""The jobs that run by themselves: retrains and the reading of documents by the clock; housekeeping.

APScheduler 3.11 with its job store in the record's database, so that a pause or the next time survive a
restart, and `thumbloop schedule` may change them from another process: the service looks again every
half-minute. What a job does is done elsewhere; it runs in a process of its own, and where two are due
at once one waits for the other. Jobs go by the machine's clock; the half-minutes do not, so that neither they
nor the jobs wait for as long as it is set back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import structlog
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.asyncio import AsyncIOScheduler, run_in_event_loop
from apscheduler.schedulers.base import BaseScheduler
from apscheduler.triggers.base import BaseTrigger

from bot.commands import documents
from bot.commands import training as runs
from bot.ownership import Ownership, ownership
from bot.settings import ScheduleSettings
from bot.timetable import refresh_trigger, triggers, words
from feedback.database import Database
from feedback.errors import NotFound
from feedback.tables import now
from training.settings import TrainingSettings

RETRAIN: Final = "retrain"
"""The job of `training.adapter_name`; another adapter's has its name behind it, as in retrain-docs."""
REFRESH: Final = "refresh-documents"
"""The job that reads documents anew; an adapter's job never has this name, for it begins otherwise."""
RECORD: Final = "record"
"""What the scheduler calls the job store in our database."""
LOOK_AGAIN_SECONDS: Final = 30

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class JobView:
    """A job for people; `trigger` says in words when it runs, `next_run` is None while it is paused.

    `settings_here` is what the settings of this process say instead, and the service will follow when it is
    started with them; empty where they agree.
    """

    id: str
    title: str
    trigger: str
    next_run: datetime | None
    paused: bool
    settings_here: str = ""


def job_of(adapter_name: str, training: TrainingSettings) -> str:
    """The id of the job that retrains that adapter."""
    return RETRAIN if adapter_name == training.adapter_name else f"{RETRAIN}-{adapter_name}"


def adapter_of(job_id: str, training: TrainingSettings) -> str:
    """The adapter that a job retrains, also while its timetable is off. Raises NotFound."""
    for name in training.names:
        if job_of(name, training) == job_id:
            return name
    raise _no_job(job_id)


async def retrain_when_due(data: str, adapter_name: str | None = None) -> None:
    """What a retrain job does; the store keeps this function's name, the data folder and the adapter."""
    ended = await runs.run_and_wait(
        Path(data), started_by="schedule", adapter_name=adapter_name, only_if_due=True, wait=True
    )
    log.info("scheduled retrain ended", adapter=adapter_name, status=ended.status, said=ended.said)


async def refresh_when_due(data: str) -> None:
    """What the job of documents does; the store keeps this function's name and the data folder."""
    ended = await documents.refresh_in_own_process(Path(data))
    log.info("documents were read anew", status=ended.status, said=ended.said)


class Schedule:
    """The running schedule of a service.

    Of several services on one record the first owns the timetable; another one takes it over when that ends.
    """

    def __init__(
        self,
        database: Database,
        settings: ScheduleSettings,
        training: TrainingSettings,
        data: Path,
        housekeeping: Callable[[], Awaitable[None]],
        needs: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`housekeeping` is called every half-minute, never twice at once; its errors are logged.

        `needs` is begun then, too, where the jobs are ours and the last time has ended. Raises SettingsError.
        """
        self._ownership = ownership(database)
        self._scheduler = _Scheduler(database, self._ownership)
        self._database = database
        self._jobs = _jobs(settings, training, data)
        self._may_own = settings.runs_here
        self._housekeeping = housekeeping
        self._needs = needs
        self._needed: asyncio.Task[None] | None = None
        self._is_owner = False
        self._rounds: asyncio.Task[None] | None = None

    async def start(self) -> bool:
        """Start in the running event loop; False when another service owns the timetable for now."""
        async with self._database.writing():
            self._scheduler.start(paused=True)
            self._follow(self._may_own and self._ownership.take())
        self._scheduler.resume()
        self._rounds = asyncio.create_task(self._every_half_minute())
        return self._is_owner

    async def stop(self) -> None:
        """Stop; a run under way is told to stop, and tidies up."""
        executor = self._scheduler._executors.get("default")
        under_way = list(getattr(executor, "_pending_futures", ()))
        if self._rounds is not None:
            self._rounds.cancel()
            under_way.append(self._rounds)
        if self._needed is not None:
            self._needed.cancel()
            under_way.append(self._needed)
        self._scheduler.shutdown(wait=False)
        await asyncio.gather(*under_way, return_exceptions=True)
        self._ownership.give_up()

    async def _every_half_minute(self) -> None:
        while True:
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
            for work in (self._look_again, self._housekeeping, self._begin_needed):
                try:
                    await work()
                except Exception as error:  # the outermost edge: what fails now is tried again next time
                    log.error("upkeep failed", exc_info=error)

    async def _begin_needed(self) -> None:
        """Begin to look for needs; how the last time ended is told here."""
        if self._needs is None or not self._is_owner or (self._needed and not self._needed.done()):
            return
        ended, self._needed = self._needed, asyncio.create_task(_awaited(self._needs))
        if ended is not None:
            ended.result()

    async def _look_again(self) -> None:
        """See what other processes changed, who owns the timetable, and whether the clock was set back."""
        async with self._database.writing():
            is_owner = self._may_own and await asyncio.to_thread(self._ownership.take)
            self._follow(is_owner)
            if is_owner:
                _bring_forward(self._scheduler, now())
        self._scheduler.wakeup()

    def _follow(self, is_owner: bool) -> None:
        """Run the stored jobs, as the settings want them, as long as they are ours to run."""
        if is_owner == self._is_owner:
            return
        self._is_owner = is_owner
        if is_owner:
            self._scheduler.add_jobstore(_store(self._database), RECORD)
            _keep_jobs(self._scheduler, self._jobs)
        else:
            self._scheduler.remove_jobstore(RECORD)
        log.info("the timetable's owner changed", owner="this service" if is_owner else "another one")


async def _awaited(work: Callable[[], Awaitable[None]]) -> None:
    await work()


class _Scheduler(AsyncIOScheduler):  # type: ignore[misc]
    """Uses its store only while no session of this process writes.

    The store waits for the database's lock in the event loop, which a session needs to come to its end.
    """

    def __init__(self, database: Database, ownership: Ownership) -> None:
        super().__init__(timezone="UTC")
        self._database = database
        self._ownership = ownership
        self._looking: asyncio.Task[None] | None = None

    @run_in_event_loop  # type: ignore[untyped-decorator]
    def wakeup(self) -> None:
        self._looking = asyncio.create_task(self._look())

    async def _look(self) -> None:
        async with self._database.writing():
            if not self.running:
                return
            self._stop_timer()
            try:
                # until the jobs' next times are written nobody takes them over, so each runs once
                with self._ownership.held() as is_ours:
                    self._start_timer(self._process_jobs() if is_ours else LOOK_AGAIN_SECONDS)
            except Exception as error:  # whatever the store raises, the next half-minute looks again
                log.error("the timetable could not be read or written", exc_info=error)


class _Onlooker(BaseScheduler):  # type: ignore[misc]
    """Never looks for jobs that are due, not even at its end, when a scheduler with a thread does."""

    def wakeup(self) -> None:
        pass

    def shutdown(self, wait: bool = True) -> None:
        super().shutdown(wait)


async def list_jobs(
    database: Database, settings: ScheduleSettings, training: TrainingSettings, data: Path
) -> list[JobView]:
    """The jobs with their next times; before a service ever ran, those that the settings want.

    Changes nothing. Raises SettingsError.
    """
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


async def make_store(database: Database) -> None:
    """Make the table that the jobs are kept in, where it is missing."""
    await asyncio.to_thread(_list_jobs, database, {})


@dataclass(frozen=True)
class _Job:
    """A job as the settings want it."""

    title: str
    trigger: BaseTrigger
    work: Callable[..., Awaitable[None]]
    arguments: tuple[str, ...]


def _jobs(settings: ScheduleSettings, training: TrainingSettings, data: Path) -> dict[str, _Job]:
    """The jobs that the settings want, by id. Raises SettingsError."""
    folder = str(data.absolute())
    jobs = {
        job_of(name, training): _Job(
            f"Train a new {name} adapter when enough new pairs are approved",
            trigger,
            retrain_when_due,
            (folder,) if name == training.adapter_name else (folder, name),
        )
        for name, trigger in triggers(settings, training).items()
        if trigger is not None
    }
    refreshing = refresh_trigger(settings)
    if refreshing is not None:
        title = "Read documents anew from their folders and addresses"
        jobs[REFRESH] = _Job(title, refreshing, refresh_when_due, (folder,))
    return jobs


def _list_jobs(database: Database, wanted: Mapping[str, _Job]) -> list[JobView]:
    with _reading(database) as scheduler:
        stored = {job.id: _view(job, wanted) for job in scheduler.get_jobs(RECORD)}
    new = "" if not stored else "new here"
    planned = [_planned(job_id, job, new) for job_id, job in wanted.items() if job_id not in stored]
    return [*stored.values(), *planned]


def _change(database: Database, wanted: Mapping[str, _Job], job_id: str, change: str) -> JobView:
    with _reading(database) as scheduler:
        if scheduler.get_job(job_id, RECORD) is None:
            if job_id not in wanted:
                raise _no_job(job_id)
            _keep_job(scheduler, job_id, wanted[job_id])
        getattr(scheduler, change)(job_id, RECORD)
        return _view(scheduler.get_job(job_id, RECORD), wanted)


@contextmanager
def _reading(database: Database) -> Iterator[BaseScheduler]:
    """A scheduler that starts nothing, to look into the store, where all stays as the service wants it."""
    scheduler = _Onlooker(jobstores={RECORD: _store(database)}, timezone="UTC")
    scheduler.start(paused=True)
    try:
        yield scheduler
    finally:
        scheduler.shutdown(wait=False)


def _store(database: Database) -> SQLAlchemyJobStore:
    return SQLAlchemyJobStore(url=database.sync_url)


def _keep_jobs(scheduler: BaseScheduler, wanted: Mapping[str, _Job]) -> None:
    """Make the stored jobs what the settings say; one that is right already keeps its time and its pause."""
    for present in scheduler.get_jobs(RECORD):
        if present.id not in wanted:
            scheduler.remove_job(present.id, RECORD)
    for job_id, job in wanted.items():
        _keep_job(scheduler, job_id, job)


def _keep_job(scheduler: BaseScheduler, job_id: str, job: _Job) -> None:
    present = scheduler.get_job(job_id, RECORD)
    if present is not None and (repr(present.trigger), present.args) == (repr(job.trigger), job.arguments):
        # stores of before gave up what was twelve hours late
        scheduler.modify_job(job_id, RECORD, misfire_grace_time=None)
        return
    scheduler.add_job(
        job.work,
        job.trigger,
        args=job.arguments,
        id=job_id,
        name=job.title,
        jobstore=RECORD,
        replace_existing=True,
        coalesce=True,
        max_instances=1,
        misfire_grace_time=None,  # however late, it runs once
    )
    if present is not None and present.next_run_time is None:
        scheduler.pause_job(job_id, RECORD)


def _bring_forward(scheduler: BaseScheduler, moment: datetime) -> None:
    """Let no job wait longer than its trigger says: its next time was found while the clock was ahead.

    One that skips the first time ahead ran then already, before the clock was corrected by a little.
    """
    for job in scheduler.get_jobs(RECORD):
        first = job.trigger.get_next_fire_time(None, moment)
        second = job.trigger.get_next_fire_time(first, first) if first is not None else None
        if job.next_run_time is not None and second is not None and job.next_run_time > second:
            log.warning("the clock was set back; a job runs earlier", job=job.id, next_run=first.isoformat())
            scheduler.modify_job(job.id, RECORD, next_run_time=first)


def _no_job(job_id: str) -> NotFound:
    return NotFound("job", job_id, "`thumbloop schedule list` shows the jobs that there are.")


def _view(job: Any, wanted: Mapping[str, _Job]) -> JobView:
    here = wanted.get(job.id)
    settings_here = ""
    if here is None:
        settings_here = "off"
    elif repr(here.trigger) != repr(job.trigger):
        settings_here = words(here.trigger)
    return JobView(
        job.id, job.name, words(job.trigger), job.next_run_time, job.next_run_time is None, settings_here
    )


def _planned(job_id: str, job: _Job, settings_here: str) -> JobView:
    following = job.trigger.get_next_fire_time(None, now())
    return JobView(job_id, job.title, words(job.trigger), following, False, settings_here)
