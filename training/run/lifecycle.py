"""Training runs in the record: begun, how far, how ended; one at a time.

Who trains holds a lock in the data folder. The operating system gives it back when the process dies, so a
row that still says "running" while nobody holds the lock is a dead run's, and is closed by the next one.
"""

from __future__ import annotations

import asyncio
import math
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import psutil
from filelock import FileLock, Timeout
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from feedback.database import Database
from feedback.errors import NotFound
from feedback.tables import Dataset, Run, now
from feedback.words import Language, RunState
from training import files
from training.errors import RunUnderWay
from training.examination import reasons
from training.progress import Progress, Step

RUNS: Final = "runs"
"""The folder in the data folder where a run under way has its lock and its unfinished files."""
WAIT_SECONDS: Final = 1.0
"""How often a run that waits for another looks whether that has ended."""
REPORTS: Final = "reports"
"""The folder, in the data folder, with a folder for the report of each run."""
REASONS: Final = "reasons"
"""What a run's settings keep its verdict's reasons under, as data."""
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


async def note_progress(database: Database, run_id: int, progress: Progress) -> None:
    """Write down how far a run is."""
    values = asdict(progress) | {"figures": {n: v for n, v in progress.figures.items() if math.isfinite(v)}}
    async with database.session() as session:
        run = await find(session, run_id)
        run.step = values.pop("step")
        run.progress = {**values, "at": now().isoformat()}
        session.add(run)


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


async def note_measured(database: Database, run_id: int, seconds: Mapping[Step, float], asked: int) -> None:
    """Write down how long each step took, and how often a question was asked, for the next run's forecast."""
    async with database.session() as session:
        run = await find(session, run_id)
        run.settings = {**run.settings, "measured": {"seconds": dict(seconds), "asked": asked}}
        session.add(run)


async def question_seconds(database: Database, model: str) -> float | None:
    """What one question to one subject took in that model's newest run here, None where there is none."""
    newest = (
        select(Run.settings)
        .where(Run.host == socket.gethostname(), col(Run.state).in_(WITH_VERDICT))
        .order_by(col(Run.id).desc())
        .limit(_LOOKED_AT)
    )
    async with database.session(read_only=True) as session:
        for settings in (await session.exec(newest)).all():
            measured = settings.get("measured", {})
            if settings.get("model") == model and measured.get("asked"):
                return float(measured["seconds"]["evaluation"]) / int(measured["asked"])
    return None


async def end(
    session: AsyncSession, run_id: int, state: RunState, verdict: str, because: Sequence[dict[str, Any]] = ()
) -> None:
    """Close a run that is still open, saying how it ended, and with which stored reasons."""
    run = await find(session, run_id)
    if run.state == "running":
        run.state, run.verdict, run.finished_at = state, verdict, now()
        if because:
            run.settings = {**run.settings, REASONS: [*because]}
        session.add(run)


def verdict(run: Run, language: Language) -> str:
    """How a run ended, in that language; in English a failure, and the verdict of an older run."""
    found = reasons.kept(run.settings.get(REASONS, ()))
    return reasons.verdict(run.state == "promoted", found, language) if found else run.verdict


async def find(session: AsyncSession, run_id: int) -> Run:
    """The run of that number. Raises NotFound."""
    run = (await session.exec(select(Run).where(Run.id == run_id))).one_or_none()
    if run is None:
        raise NotFound("run", run_id, "`thumbloop retrain --status` shows the runs.")
    return run


async def under_way(database: Database) -> Run | None:
    """The run that trains now, as far as this machine can tell; a dead process's is none."""
    run = await _running(database)
    return run if run is not None and (run.host != socket.gethostname() or _lives(run)) else None


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
