"""A run from its lock to its end: alone in the data folder, in the record, with a folder for its files.

`retrain` and `examine` open their runs here. However the block ends, the run's row says so, and nothing
half-written is left but what the next run can resume. Leaves to others: the steps, and the verdict.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from feedback.database import Database
from feedback.errors import ThumbloopError
from feedback.words import RunState
from training import files
from training.errors import NotEnoughPairs, ReviewsQuarantined, TrainingError, TrainingInterrupted
from training.fit import stages
from training.making_way import MakingWay, between_layers
from training.progress import Progress, Step
from training.run import lifecycle, threads
from training.run.live import Live
from training.settings import Quantisation

if TYPE_CHECKING:
    from training.model.base_model import BaseModel, ModelChoice

CHECKPOINT_DAYS: Final = 14
"""For how long a stopped run's checkpoints are kept: with other data or settings they serve nobody."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class OpenRun:
    """A run under way. `folder` holds its unfinished files; `report` may be called in any thread.

    `make_way` is called between pieces of work, and waits while answers are given. `seconds` says how long
    each finished step took, `live` how far the whole run is.
    """

    id: int
    database: Database
    data: Path
    folder: Path
    report: Callable[[Progress], None]
    live: Live
    make_way: MakingWay
    seconds: dict[Step, float] = field(default_factory=dict)

    @property
    def actor(self) -> str:
        """What the audit calls the run."""
        return f"run {self.id}"

    @contextmanager
    def step(self, step: Step) -> Iterator[None]:
        """One named step: reported when it begins, timed when it ends well."""
        started = time.monotonic()
        self.report(Progress(step))
        yield
        self.seconds[step] = round(time.monotonic() - started, 1)

    async def in_thread(self, work: Callable[[Callable[[Progress], None]], Result]) -> Result:
        """Call `work` in a thread, as `threads.in_thread`, with the run's progress."""
        return await threads.in_thread(work, self.report, on_stop=self.make_way.hurry)

    async def load(self, model: ModelChoice, quantisation: Quantisation = "none") -> BaseModel:
        """The base model, all of whose computing makes way for answers. Raises ModelError."""

        def load(_: object) -> BaseModel:
            base = model.load(quantisation)
            between_layers(base.model, self.make_way)
            return base

        return await self.in_thread(load)

    @contextmanager
    def kept_when_interrupted(self) -> Iterator[None]:
        """Leave the files to the next run when the block is cancelled, or a training process dies.

        Only where there is something to resume; otherwise they go as usual.
        """
        try:
            yield
        except (TrainingInterrupted, asyncio.CancelledError) as error:
            if not stages.is_resumable(self.folder):
                raise
            left = files.part_of(_place(self.data, self.id))
            self.folder.rename(left)
            if isinstance(error, asyncio.CancelledError):
                raise _Paused(stages.last_step(left)) from error
            raise


@asynccontextmanager
async def open_run(
    database: Database,
    data: Path,
    *,
    adapter_name: str,
    started_by: str,
    settings: dict[str, Any],
    activity: str,
    before: Callable[[], Awaitable[str]] | None = None,
    wait: bool = False,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> AsyncIterator[OpenRun]:
    """Open a run and close it however the block ends; what the block raises is raised again.

    `settings` are kept in the run's row. `activity` names it in error sentences, as in "The training run in".
    `before` is awaited once nobody else trains and the run is not in the record yet: what it returns is told
    beside `started_by`, as the evidence that called for the run, and what it raises leaves
    no row. `wait` lets another run end first. Raises RunUnderWay, and TrainingError when `data` cannot be
    written.
    """
    with files.faults_explained(activity, data, TrainingError):
        async with lifecycle.alone(database, data, wait=wait, spare=_worth_keeping):
            evidence = await before() if before is not None else ""
            row = await lifecycle.begin(
                database,
                adapter_name=adapter_name,
                started_by=": ".join(filter(None, (started_by, evidence))),
                settings=settings,
            )
            assert row.id is not None, "a stored run has its id"
            # of another record that was here before; it must not pass for the report of this run
            stale = data / lifecycle.REPORTS / f"run-{row.id}"
            await asyncio.to_thread(shutil.rmtree, stale, ignore_errors=True)
            try:
                with files.part_folder(_place(data, row.id)) as folder:
                    async with threads.progress_recorded(database, row.id, on_progress) as report:
                        live = Live()
                        run = OpenRun(
                            row.id,
                            database,
                            data,
                            folder,
                            lambda progress: report(live.told(progress)),
                            live,
                            MakingWay(data),
                        )
                        yield run
                    await lifecycle.note_measured(database, row.id, run.seconds, live.asked)
            except BaseException as error:  # the outermost edge of a run: however it ends, its row says so
                async with database.session() as session:
                    await lifecycle.end(session, row.id, *_ending(error))
                raise


class _Paused(asyncio.CancelledError):
    """A run was cancelled in its training, and what it had trained is kept."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step


def _worth_keeping(left: Path) -> bool:
    """Whether a dead run's folder can be resumed, and is not so old that nobody will."""
    return stages.is_resumable(left) and time.time() - left.stat().st_mtime < CHECKPOINT_DAYS * 86_400


def _place(data: Path, run_id: int) -> Path:
    return data / lifecycle.RUNS / f"run-{run_id}"


def _ending(error: BaseException) -> tuple[RunState, str]:
    """The state that a run ends in by `error`, and the sentence about it."""
    if isinstance(error, NotEnoughPairs | ReviewsQuarantined):  # nothing broke: there was nothing to do yet
        return "cancelled", str(error)
    if isinstance(error, ThumbloopError):
        return "failed", str(error)
    if isinstance(error, Exception):
        return "failed", lifecycle.UNEXPECTED
    if isinstance(error, _Paused):
        return "cancelled", lifecycle.PAUSED.format(step=error.step)
    return "cancelled", lifecycle.CANCELLED
