"""How things stand: what serves whom, what runs, what is next, what is wrong. Looks only; changes nothing.

Read from the record, the data folder and the running service's own report, cheaply enough for every other
second. `doctor` looks deeper, into files and hardware.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from sqlmodel import select

from bot import disk, health_probe, schedule
from bot.commands import training as runs
from bot.commands.adapter import Serving, serving_now
from bot.commands.training import RunView
from bot.ownership import TIMETABLE
from bot.schedule import JobView
from bot.settings import Settings
from feedback.database import Database
from feedback.tables import Lease, now
from training.run import lifecycle

OVERDUE: Final = timedelta(minutes=5)
"""How long after its time a job counts as not run: the service looks every half-minute."""

ServiceState = Literal["runs", "does not run", "another program answers"]


@dataclass(frozen=True)
class Trouble:
    """Something wrong: `where` names the part, `what` says it in a sentence."""

    where: str
    what: str


@dataclass(frozen=True)
class Status:
    """How things stand at one moment. `last_run` is the newest that has ended.

    `jobs_run_by` is the process that took the jobs over last, "" before any did.
    """

    at: datetime
    service: ServiceState
    port: int
    jobs_run_by: str
    serving: tuple[Serving, ...]
    running: RunView | None
    last_run: RunView | None
    jobs: tuple[JobView, ...]
    troubles: tuple[Trouble, ...]


async def look(settings: Settings, database: Database) -> Status:
    """How things stand now. Raises DatabaseError, and SettingsError for a schedule that cannot be read."""
    moment = now()
    service, parts = await asyncio.to_thread(_ask_service, settings)
    serving = await serving_now(database, settings.rollout, moment)
    history = await runs.history(database, limit=20)
    alive = await lifecycle.under_way(database)
    running = next((run for run in history if alive is not None and run.run == alive.id), None)
    ended = next((run for run in history if run.state != "running"), None)
    jobs = await schedule.list_jobs(database, settings.schedule, settings.training, settings.data)
    troubles = [
        *(Trouble(one["name"], one["why"]) for one in parts if one["state"] != "ok"),
        *_of_disk(settings, {one["name"] for one in parts}),
        *_of_runs(history, running, ended),
        *_of_jobs(jobs, moment),
    ]
    return Status(
        moment,
        service,
        settings.web.port,
        await _job_runner(database),
        serving,
        running,
        ended,
        tuple(jobs),
        tuple(troubles),
    )


def _ask_service(settings: Settings) -> tuple[ServiceState, list[dict[str, str]]]:
    try:
        return "runs", health_probe.parts(settings.web.host, settings.web.port)
    except OSError:
        return "does not run", []
    except ValueError:
        return "another program answers", []


async def _job_runner(database: Database) -> str:
    async with database.session(read_only=True) as session:
        taken = select(Lease.holder).where(Lease.name == TIMETABLE)
        return (await session.exec(taken)).one_or_none() or ""


def _of_disk(settings: Settings, told: set[str]) -> list[Trouble]:
    if disk.DISK in told:
        return []
    seen = disk.look(settings.data)
    return [] if seen.state == "ok" else [Trouble(disk.DISK, seen.why)]


def _of_runs(history: list[RunView], running: RunView | None, ended: RunView | None) -> list[Trouble]:
    found = [
        Trouble(f"run {run.run}", lifecycle.DIED)
        for run in history
        if run.state == "running" and (running is None or run.run != running.run)
    ]
    if ended is not None and ended.state == "failed":
        found.append(Trouble(f"run {ended.run}", ended.verdict))
    return found


def _of_jobs(jobs: list[JobView], moment: datetime) -> list[Trouble]:
    return [
        Trouble(job.id, "It was due and did not run: no service that runs the jobs is up. `thumbloop serve`.")
        for job in jobs
        if job.next_run is not None and job.next_run < moment - OVERDUE
    ]
