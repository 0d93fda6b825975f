"""Training runs in the record: begun, how far, how ended; one at a time.

Who trains holds a lock in the data folder. The operating system gives it back when the process dies, so a
row that still says "running" while nobody holds the lock is a dead run's, and is closed by the next one. Of
another machine's runs nobody can tell that, so each run writes a heartbeat into the record every few seconds.
"""

from __future__ import annotations

import asyncio
import math
import os
import re
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import psutil
from filelock import FileLock, Timeout
from sqlalchemy import func, type_coerce
from sqlmodel import col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from feedback.database import Database
from feedback.errors import NotFound
from feedback.tables import Dataset, Run, UtcDateTime, now
from feedback.words import Language, RunState
from training import files
from training.errors import RunUnderWay
from training.examination import reasons
from training.progress import Progress, Step

CANCELLED: Final = "The run was stopped before it was finished. Nothing of it was kept."
PAUSED: Final = (
    "The run was stopped in its training. The next one with the same data and settings resumes at step "
    "{step}."
)
UNEXPECTED: Final = "The run stopped on an unexpected fault; the log of its process has the details."
_POLISH: Final = {
    CANCELLED: "Trening przerwano przed końcem. Nic z niego nie zachowano.",
    PAUSED: (
        "Trening przerwano w trakcie uczenia. Następny, z tymi samymi danymi i ustawieniami, "
        "ruszy od kroku {step}."
    ),
    UNEXPECTED: "Trening przerwała nieoczekiwana usterka; szczegóły są w logu jego procesu.",
}
RUNS: Final = "runs"
"""The folder in the data folder where a run under way has its lock and its unfinished files."""
WAIT_SECONDS: Final = 1.0
"""How often a run that waits for another looks whether that has ended."""
REPORTS: Final = "reports"
"""The folder, in the data folder, with a folder for the report of each run."""
REASONS: Final = "reasons"
"""What a run's settings keep its verdict's reasons under, as data."""
SILENT_S: Final = 30.0
"""Without a heartbeat for so long a run of another machine counts as dead; one comes every 5 s."""
WITH_VERDICT: Final[tuple[RunState, ...]] = ("promoted", "rejected")
_LOOKED_AT: Final = 20
"""How many runs back a measurement is looked for."""
DIED: Final = "The process of this run died before it was finished. Nothing of it serves; start another one."


@asynccontextmanager
async def alone(
    database: Database,
    data: Path,
    *,
    wait: bool = False,
    spare: Callable[[Path], bool] = lambda left: False,
) -> AsyncIterator[None]:
    """Keep other runs out of `data`, and clear away what dead runs left, except what `spare` says to keep.

    When another run is under way, `wait` until it has ended; without it, raise RunUnderWay.
    """
    place = data / RUNS
    lock = _lock(data)
    while not lock.is_locked:
        try:
            lock.acquire()
        except Timeout:
            if not wait:
                run = await _running(database)
                raise RunUnderWay(run.id if run else None, run.pid if run else None) from None
            await asyncio.sleep(WAIT_SECONDS)
    try:
        await _close_dead(database)
        await asyncio.to_thread(files.sweep, place, spare=spare)
        yield
    finally:
        lock.release()


async def close_dead(database: Database, data: Path) -> list[int]:
    """Close the runs whose process has died, as the next run would; their numbers.

    While anybody trains in `data` nothing is closed.
    """
    if await _running(database) is None:
        return []
    lock = _lock(data)
    try:
        lock.acquire()
    except Timeout:
        return []
    try:
        return await _close_dead(database)
    finally:
        lock.release()


class SilentRuns:
    """Runs of other machines whose heartbeat stopped, which only looking again and again can tell."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._last: dict[int, tuple[datetime | None, float]] = {}

    async def close(self, moment_s: float) -> list[int]:
        """Close those without a heartbeat for `SILENT_S` on this machine's own clock; their numbers.

        Raises DatabaseError, and starts over at the next look then: while the record is away no heartbeat
        arrives, so each run gets its whole time again.
        """
        last, self._last = self._last, {}
        closed: list[int] = []
        if self._database.is_sqlite:
            return closed
        async with self._database.session() as session:
            running = select(Run.id, Run.alive_at).where(
                Run.state == "running", Run.host != socket.gethostname()
            )
            for run_id, alive_at in (await session.exec(running)).all():
                assert run_id is not None, "a stored run has its id"
                before, since_s = last.get(run_id, (None, moment_s))
                if before != alive_at:
                    since_s = moment_s
                if moment_s - since_s >= SILENT_S and await end(session, run_id, "failed", DIED):
                    closed.append(run_id)
                else:
                    self._last[run_id] = (alive_at, since_s)
        return closed


async def begin(database: Database, *, adapter_name: str, started_by: str, settings: dict[str, Any]) -> Run:
    """A new run of this process. The caller is `alone`."""
    run = Run(
        adapter_name=adapter_name,
        started_by=started_by,
        pid=os.getpid(),
        host=socket.gethostname(),
        settings=settings,
        step="dataset",
    )
    async with database.session() as session:
        session.add(run)
    return run


async def record_heartbeat(database: Database, run_id: int, progress: Progress | None = None) -> None:
    """Write down that a run is alive and, where it is given, how far it is."""
    values: dict[str, Any] = {"alive_at": func.now()}
    if progress is not None:
        told = asdict(progress) | {"figures": {n: v for n, v in progress.figures.items() if math.isfinite(v)}}
        values |= {"step": told.pop("step"), "progress": {**told, "at": now().isoformat()}}
    async with database.session() as session:
        await session.exec(update(Run).where(col(Run.id) == run_id).values(values))


async def note_dataset(database: Database, run_id: int, dataset: Dataset) -> None:
    """Write down what a run is trained on."""
    async with database.session() as session:
        run = await find(session, run_id)
        run.dataset_id = dataset.id
        session.add(run)


async def note_plan(database: Database, run_id: int, plan: dict[str, Any], **more: Any) -> None:
    """Write down what a run is going to do, beside its settings."""
    async with database.session() as session:
        run = await find(session, run_id)
        run.settings = {**run.settings, "plan": plan, **more}
        session.add(run)


async def note_measured(
    database: Database, run_id: int, seconds: Mapping[Step, float], examined: float
) -> None:
    """Write down how long each step took and what the examination cost (`Live.asked`), for the next run."""
    async with database.session() as session:
        run = await find(session, run_id)
        run.settings = {**run.settings, "measured": {"seconds": dict(seconds), "examined": examined}}
        session.add(run)


async def question_seconds(database: Database, model: str) -> float | None:
    """What one question to the base model took in that model's newest run here, None where there is none."""
    newest = (
        select(Run.settings)
        .where(Run.host == socket.gethostname(), col(Run.state).in_(WITH_VERDICT))
        .order_by(col(Run.id).desc())
        .limit(_LOOKED_AT)
    )
    async with database.session(read_only=True) as session:
        for settings in (await session.exec(newest)).all():
            measured = settings.get("measured", {})
            if settings.get("model") == model and measured.get("examined"):
                return float(measured["seconds"]["evaluation"]) / float(measured["examined"])
    return None


async def end(
    session: AsyncSession, run_id: int, state: RunState, verdict: str, because: Sequence[dict[str, Any]] = ()
) -> bool:
    """Close a run, saying how it ended and with which stored reasons; whether it was still open."""
    still_open = update(Run).where(col(Run.id) == run_id, col(Run.state) == "running")
    ended = {"state": state, "verdict": verdict, "finished_at": now()}
    closed = bool((await session.exec(still_open.values(ended))).rowcount)
    if closed and because:
        run = await find(session, run_id)
        run.settings = {**run.settings, REASONS: [*because]}
        session.add(run)
    return closed


def verdict(run: Run, language: Language) -> str:
    """How a run ended, in that language; in English most failures, and the verdict of an older run."""
    found = reasons.kept(run.settings.get(REASONS, ()))
    if found:
        return reasons.verdict(run.state == "promoted", found, language)
    if language == "pl":
        step = "".join(re.findall(r"resumes at step (\d+)\.$", run.verdict))
        said = {english.format(step=step): polish.format(step=step) for english, polish in _POLISH.items()}
        return said.get(run.verdict, run.verdict)
    return run.verdict


async def find(session: AsyncSession, run_id: int) -> Run:
    """The run of that number. Raises NotFound."""
    run = (await session.exec(select(Run).where(Run.id == run_id))).one_or_none()
    if run is None:
        raise NotFound("run", run_id, "`thumbloop retrain --status` shows the runs.")
    return run


async def under_way(database: Database) -> Run | None:
    """The run that trains now; a dead process's, or one without a heartbeat, is none."""
    run = await _running(database)
    if run is None:
        return None
    if run.host == socket.gethostname():
        return run if _lives(run) else None
    async with database.session(read_only=True) as session:
        moment = (await session.exec(select(type_coerce(func.now(), UtcDateTime())))).one()
    return run if run.alive_at and moment - run.alive_at < timedelta(seconds=SILENT_S) else None


def storable(value: Any) -> Any:
    """`value` as JSON columns take it: what is no finite number becomes null."""
    if isinstance(value, dict):
        return {name: storable(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [storable(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


async def _running(database: Database) -> Run | None:
    newest = select(Run).where(Run.state == "running").order_by(col(Run.id).desc()).limit(1)
    async with database.session(read_only=True) as session:
        return (await session.exec(newest)).one_or_none()


def _lock(data: Path) -> FileLock:
    (data / RUNS).mkdir(parents=True, exist_ok=True)
    return FileLock(data / RUNS / ".lock", timeout=0, thread_local=False)


async def _close_dead(database: Database) -> list[int]:
    """Mark the runs failed whose process is gone; their numbers. The caller holds the lock."""
    closed: list[int] = []
    host = socket.gethostname()
    async with database.session() as session:
        for run in (await session.exec(select(Run).where(Run.state == "running"))).all():
            # a SQLite file is this machine's alone, whatever it was called then (a container's name changes)
            here = run.host == host or database.is_sqlite
            if here and not (run.host == host and _lives(run)):
                await end(session, run.id or 0, "failed", DIED)
                closed.append(run.id or 0)
    return closed


def _lives(run: Run) -> bool:
    """Whether the run's own process is there, and not a later one that got its number."""
    if run.pid == os.getpid():
        return False
    try:
        return psutil.Process(run.pid).create_time() <= run.started_at.timestamp()
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
