"""Training runs: start one in a process of its own, how far it is, and those before it.

A run is `thumbloop retrain` in another process: it may be niced, killed or run out of memory without the
bot noticing. What it says, it says through the record.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol

from sqlmodel import col, select

from bot.access.actor import Actor
from bot.access.rights import require
from feedback import journal
from feedback.database import Database
from feedback.errors import Conflict
from feedback.tables import Adapter, Dataset, Evaluation, Run
from feedback.words import LANGUAGES, AdapterVersion, Language
from training.errors import NotEnoughPairs, RunUnderWay
from training.examination import reasons
from training.examination.comparisons import RIGHTLY, Counts, is_lost
from training.examination.reasons import Reason
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

    async def start(self, started_by: Actor, adapter_name: str | None = None) -> None:
        """Start a run. Raises as `refuse_to_start`."""
        ...

    async def is_starting(self) -> bool:
        """Whether the process of a run works that is not in the record yet; it has much to import."""
        ...


@dataclass(frozen=True)
class RunView:
    """A run for people; `dataset` and `adapter` are labels, an adapter to be is its name alone.

    `said` is its verdict in each language, `reasons` the same one by one where the record keeps them.
    `symptoms` are those found in its adapter, as the record keeps them; `counts` how many questions it
    answers rightly.
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
    said: Mapping[Language, str] = field(default_factory=dict)
    reasons: tuple[Reason, ...] = ()
    symptoms: tuple[dict[str, Any], ...] = ()
    counts: Counts | None = None

    def seconds_left(self, moment: datetime) -> float | None:
        """Seconds until the whole run ends, by what it last said of itself; None while nobody knows."""
        left, at = self.progress.get("seconds_left"), self.progress.get("at")
        if self.state != "running" or left is None or at is None:
            return None
        return max(0.0, float(left) - (moment - datetime.fromisoformat(at)).total_seconds())


@dataclass(frozen=True)
class Sample:
    """A held-out question with the approved answer and what each subject said to it, by subject."""

    question: str
    reference: str
    answers: dict[str, str]


@dataclass(frozen=True)
class RunDetails:
    """All about one run. `figures` are by subject and metric, `curve` the losses by "step".

    `seconds` are by step of the run, `plan` and `settings` what it was told and was going to do.
    """

    view: RunView
    figures: dict[str, dict[str, float]]
    curve: tuple[dict[str, float], ...]
    seconds: dict[str, float]
    plan: dict[str, Any]
    settings: dict[str, Any]


async def history(database: Database, *, limit: int = 10, before: int | None = None) -> list[RunView]:
    """The last runs, newest first; those `before` the run of that number, where it is given."""
    rows = _runs().order_by(col(Run.id).desc()).limit(limit)
    if before is not None:
        rows = rows.where(col(Run.id) < before)
    async with database.session(read_only=True) as session:
        found = (await session.exec(rows)).all()
    return [_view(run, adapter, dataset) for run, adapter, dataset in found]


async def newest(database: Database) -> RunView | None:
    """The run that was begun last; None where there was none."""
    return next(iter(await history(database, limit=1)), None)


async def details(database: Database, actor: Actor, run_id: int) -> RunDetails:
    """All about the run of that number but members' words. Raises NotFound, NotAllowed."""
    require(actor, "run.view", actor.community_id)
    async with database.session(read_only=True) as session:
        await lifecycle.find(session, run_id)
        run, adapter, dataset = (await session.exec(_runs().where(Run.id == run_id))).one()
        rows = await session.exec(
            select(Evaluation.subject, Evaluation.metrics).where(Evaluation.run_id == run_id)
        )
        figures = {
            subject: {name: value for name, value in metrics.items() if isinstance(value, int | float)}
            for subject, metrics in rows
        }
    trained = adapter.metrics.get("training", {}) if adapter else {}
    left_out = ("plan", "preferences", "measured", lifecycle.REASONS)
    return RunDetails(
        view=_view(run, adapter, dataset),
        figures=figures,
        curve=tuple(trained.get("curve") or run.progress.get("curve", ())),
        seconds=run.settings.get("measured", {}).get("seconds", {}),
        plan=run.settings.get("plan", {}),
        settings={name: value for name, value in run.settings.items() if name not in left_out},
    )


async def samples(database: Database, actor: Actor, run_id: int, *, limit: int = 8) -> list[Sample]:
    """Held-out questions of a run's examination with everybody's answers; those that it lost come first.

    Raises NotAllowed.
    """
    require(actor, "report.view", actor.community_id)
    async with database.session(read_only=True) as session:
        rows = (await session.exec(select(Evaluation).where(Evaluation.run_id == run_id))).all()
    by_subject = {
        row.subject: [
            one for one in row.answers if one.get("reference") and one.get("kind", "held-out") == "held-out"
        ]
        for row in rows
    }
    asked = [
        dict(zip(by_subject, everybody, strict=True)) for everybody in zip(*by_subject.values(), strict=False)
    ]
    asked.sort(key=lambda answers: not is_lost({who: _rightly(one) for who, one in answers.items()}))
    found = []
    for answers in asked[:limit]:
        first = next(iter(answers.values()))
        said = {who: one.get("answer", "") for who, one in answers.items()}
        found.append(Sample(first["question"], first["reference"], said))
    return found


def _rightly(answer: Mapping[str, Any]) -> float | None:
    found: float | None = answer.get("values", {}).get(RIGHTLY)
    return found


async def cancel(database: Database, actor: Actor) -> int:
    """Tell the run under way to stop, which keeps what it has trained; its number.

    It tidies up by itself, which may take some seconds. Raises NotAllowed, Conflict where none is under way
    or it trains on another machine.
    """
    require(actor, "run.start", actor.community_id)
    run = await lifecycle.under_way(database)
    if run is None or run.id is None:
        raise Conflict("No training run is under way.", "`thumbloop retrain --status` shows the last ones.")
    if run.host != socket.gethostname():
        raise Conflict(
            f"Run {run.id} trains on {run.host}, and only there it can be stopped.",
            f"On {run.host}, `thumbloop retrain --cancel` stops it.",
            public=f"Run {run.id} trains on another machine, and only there it can be stopped.",
        )
    with suppress(ProcessLookupError):  # it has ended meanwhile
        os.kill(run.pid, signal.SIGTERM)
    async with database.session() as session:
        journal.audit(session, actor.name, "run.cancel", f"run {run.id}")
    return run.id


def resumes_at(data: Path, run_id: int) -> int | None:
    """The step at which the next run goes on where that one was stopped; None where nothing is left of it."""
    from training.fit import stages

    for left in sorted((data / lifecycle.RUNS).glob(f".run-{run_id}.*")):
        if stages.is_resumable(left):
            return stages.last_step(left)
    return None


def _runs() -> Any:
    return (
        select(Run, Adapter, Dataset)
        .outerjoin(Adapter, col(Adapter.run_id) == Run.id)
        .outerjoin(Dataset, col(Dataset.id) == Run.dataset_id)
    )


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
    known = adapter.metrics if adapter else {}
    return RunView(
        run=run.id or 0,
        state=run.state,
        step=run.step,
        progress=run.progress,
        adapter=str(AdapterVersion(adapter.name, adapter.version)) if adapter else run.adapter_name,
        dataset=f"{dataset.name}@{dataset.version}" if dataset else "",
        started_by=run.started_by,
        verdict=run.verdict,
        said={language: lifecycle.verdict(run, language) for language in LANGUAGES},
        started_at=run.started_at,
        finished_at=run.finished_at,
        reasons=tuple(reasons.kept(run.settings.get(lifecycle.REASONS) or known.get("reasons", ()))),
        symptoms=tuple(known.get("symptoms", ())),
        counts=Counts.kept(adapter.metrics) if adapter else None,
    )
