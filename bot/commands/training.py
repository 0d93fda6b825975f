"""Training runs: start one in a process of its own, how far it is, and those before it.

A run is `thumbloop retrain` in another process: it may be niced, killed or run out of memory without the
bot noticing. What it says, it says through the record.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol

from sqlmodel import col, select

from bot.access.actor import Actor
from feedback.database import Database
from feedback.tables import Adapter, Dataset, Run
from feedback.words import AdapterVersion
from training.errors import NotEnoughPairs, RunUnderWay
from training.examination.comparisons import Counts
from training.run import due, lifecycle
from training.settings import TrainingSettings

STOP_SECONDS: Final = 20
"""How long a run that is told to stop may take to tidy up before it is killed."""


class Retraining(Protocol):
    """What edges start runs with; `settings` say which adapters there are to train."""

    @property
    def settings(self) -> TrainingSettings:
        """What is trained, and how."""
        ...

    async def start(self, started_by: Actor, adapter_name: str | None = None) -> str:
        """Start a run and return a sentence about it. Raises as `refuse_to_start`."""
        ...


@dataclass(frozen=True)
class RunView:
    """A run for people; `dataset` and `adapter` are labels, an adapter to be is its name alone.

    `symptoms` are those found in its adapter, one line each; `counts` how many questions it answers rightly.
    """

    run: int
    state: str
    step: str
    progress: dict[str, Any]
    adapter: str
    dataset: str
    started_by: str
    verdict: str
    started_at: datetime
    finished_at: datetime | None
    symptoms: tuple[str, ...] = ()
    counts: Counts | None = None


async def history(database: Database, *, limit: int = 10) -> list[RunView]:
    """The last runs, newest first."""
    rows = (
        select(Run, Adapter, Dataset)
        .outerjoin(Adapter, col(Adapter.run_id) == Run.id)
        .outerjoin(Dataset, col(Dataset.id) == Run.dataset_id)
        .order_by(col(Run.id).desc())
        .limit(limit)
    )
    async with database.session(read_only=True) as session:
        found = (await session.exec(rows)).all()
    return [_view(run, adapter, dataset) for run, adapter, dataset in found]


async def refuse_while_running(database: Database) -> None:
    """Raise RunUnderWay while a run is under way."""
    run = await lifecycle.under_way(database)
    if run is not None:
        raise RunUnderWay(run.id, run.pid)


async def refuse_to_start(
    database: Database, settings: TrainingSettings, default_persona: str, adapter_name: str | None = None
) -> None:
    """Say at once what a run of that adapter would find out first; None is `settings.adapter_name`.

    Raises NotTrainedHere, RunUnderWay, NotEnoughPairs, and UsageError for a community that there is not.
    """
    chosen = settings.of_adapter(adapter_name)
    await refuse_while_running(database)
    async with database.session(read_only=True) as session:
        approved = await due.count_own_pairs(session, chosen, default_persona)
    if approved < chosen.min_pairs:
        raise NotEnoughPairs(approved, chosen.min_pairs, adapter_name)


def start_detached(data: Path, *, started_by: Actor, adapter_name: str | None = None) -> int:
    """Start a run that outlives this process; its process id."""
    process = subprocess.Popen(
        _arguments(started_by.name, *_of_adapter(adapter_name)),
        env=_environment(data),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    return process.pid


async def run_and_wait(
    data: Path,
    *,
    started_by: str,
    adapter_name: str | None = None,
    only_if_due: bool = False,
    wait: bool = False,
) -> Ended:
    """Run one training in a process of its own and wait; cancelled, it is told to stop and tidies up.

    `wait` lets a run that is under way end first.
    """
    more = [
        *_of_adapter(adapter_name),
        *(["--if-due"] if only_if_due else []),
        *(["--wait"] if wait else []),
    ]
    return await in_own_process(data, *_arguments(started_by, *more))


async def in_own_process(data: Path, *arguments: str) -> Ended:
    """Run a command on this data folder and wait; cancelled, it is told to stop and tidies up."""
    process = await asyncio.create_subprocess_exec(
        *arguments,
        env=_environment(data),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C in our terminal is ours to pass on, once
    )
    try:
        _, said = await process.communicate()
    except asyncio.CancelledError:
        await _stop(process)
        raise
    return Ended(process.returncode or 0, said.decode(errors="replace").strip())


@dataclass(frozen=True)
class Ended:
    """How the process of a run ended, and what it said on stderr."""

    status: int
    said: str


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.send_signal(signal.SIGTERM)
    # its stderr must be read on, or it could block while it says goodbye
    goodbye = asyncio.ensure_future(process.communicate())
    done, _ = await asyncio.wait({goodbye}, timeout=STOP_SECONDS)
    if not done:
        process.kill()
        await goodbye


def _arguments(started_by: str, *more: str) -> list[str]:
    return [sys.executable, "-m", "bot", "retrain", "--started-by", started_by, *more]


def _of_adapter(name: str | None) -> list[str]:
    return [] if name is None else ["--adapter-name", name]


def _environment(data: Path) -> dict[str, str]:
    """This process's environment; the data folder may have been chosen by an option, which a child lacks."""
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(part for part in (os.environ.get("PYTHONPATH", ""), root) if part)
    return {**os.environ, "THUMBLOOP_DATA": str(data.absolute()), "PYTHONPATH": path}


def _view(run: Run, adapter: Adapter | None, dataset: Dataset | None) -> RunView:
    return RunView(
        run=run.id or 0,
        state=run.state,
        step=run.step,
        progress=run.progress,
        adapter=str(AdapterVersion(adapter.name, adapter.version)) if adapter else run.adapter_name,
        dataset=f"{dataset.name}@{dataset.version}" if dataset else "",
        started_by=run.started_by,
        verdict=run.verdict,
        started_at=run.started_at,
        finished_at=run.finished_at,
        symptoms=tuple(
            f"{symptom['name']}: {symptom['meaning']}"
            for symptom in (adapter.metrics.get("symptoms", ()) if adapter else ())
        ),
        counts=Counts.kept(adapter.metrics) if adapter else None,
    )
