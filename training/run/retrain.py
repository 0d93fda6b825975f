"""The whole way from the approved turns to a verdict, as one run with named steps.

Builds the dataset, trains, examines, judges, and puts a promoted adapter into service. The run's row in the
record says how far it is; what is unfinished lies in the data folder's `runs/` until it is whole. Nothing is
in service, registered or left lying about unless the run came to its end. The heavy libraries are imported
by the step that needs them, so a run that cannot start says so at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from feedback.database import Database
from feedback.errors import DatabaseError, ThumbloopError, UsageError
from feedback.tables import Adapter, Dataset, Evaluation
from training import files
from training.adapters import registry
from training.data import candidates, dataset, preferences
from training.data.dataset import DatasetFilter
from training.errors import (
    AdapterError,
    NotDue,
    NotEnoughPairs,
    ReviewsHeld,
    TrainingError,
    TrainingInterrupted,
)
from training.examination import gate
from training.examination.gate import Verdict
from training.fit import launch, stages
from training.fit.planning import Forecast
from training.fit.stages import Prepared
from training.fit.worker import Job
from training.progress import Progress, Step
from training.run import erasure, lifecycle
from training.settings import GateSettings, Thinking, TrainingSettings

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from sqlmodel.ext.asyncio.session import AsyncSession

    from training.examination.results import Examined, Subject
    from training.examination.symptoms import Symptom
    from training.fit.sft import Trained
    from training.model.base_model import BaseModel, Known

RECORD_EVERY_S: Final = 1.0
"""How often at most the record is told how far a run is."""
CANCELLED: Final = "The run was stopped before it was finished. Nothing of it was kept."
PAUSED: Final = (
    "The run was stopped in its training. The next one with the same data and settings goes on from step "
    "{step}."
)
UNEXPECTED: Final = "The run stopped on an unexpected fault; the log of its process has the details."

Result = TypeVar("Result")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelChoice:
    """Which base model is trained on, as `base_model.load` takes it.

    `repetition_penalty` is what serving answers with: an examination answers with the same.
    """

    name: str
    models_folder: Path
    revision: str = "main"
    device: str = "auto"
    precision: str = "auto"
    repetition_penalty: float = 1.0
    thinking: Thinking = "template"


@dataclass(frozen=True)
class Outcome:
    """How a run ended. `examined` holds each subject's figures and answers; `seconds` are by step.

    `report` is the page about it, None where it could not be written.
    """

    run: int
    adapter: str
    verdict: Verdict
    examined: list[Examined]
    seconds: dict[Step, float] = field(default_factory=dict)
    symptoms: list[Symptom] = field(default_factory=list)
    report: Path | None = None

    @property
    def metrics(self) -> dict[Subject, dict[str, float]]:
        """The figures of each subject, named as in `evaluation.METRICS`."""
        return {one.subject: one.metrics for one in self.examined}


def step_back(niceness: int) -> None:
    """Let other processes go first (Unix nice). For a process whose main job is a run, before it starts."""
    if hasattr(os, "nice"):
        os.nice(niceness)


async def retrain(
    database: Database,
    *,
    data: Path,
    model: ModelChoice,
    settings: TrainingSettings,
    default_persona: str,
    started_by: str,
    gate_settings: GateSettings | None = None,
    wait: bool = False,
    only_if_due: bool = False,
    on_plan: Callable[[Forecast], None] = lambda told: None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Outcome:
    """Train the next version of `settings.adapter_name`, and let it serve if it is better.

    It serves the communities that it is named for in `settings.adapters`, everyone where it is for none.
    `wait` lets another run end first. `on_plan` hears what the training is going to do. `on_progress` is
    called from a thread now and then; what it raises stops the run. Cancelled, the run stops at its next sign
    of progress and tidies up; killed in training, the next run goes on from its checkpoint. Raises
    RunUnderWay, NotDue, NotEnoughPairs, ModelError, TrainingError and what else keeps a run from its end;
    nothing half-written is left then.
    """
    launch.refuse_to_be_a_rank()
    with files.faults_explained("The training run in", data, TrainingError):
        async with lifecycle.alone(database, data, wait=wait, spare=stages.may_be_resumed):
            await registry.sweep(database, data)
            if only_if_due:
                async with database.session(read_only=True) as session:
                    if not await lifecycle.is_due(session, settings, default_persona):
                        raise NotDue(settings.adapter_name)
            told = {
                **settings.model_dump(exclude={"judge_key"}),
                "model": model.name,
                "model_revision": model.revision,
            }
            run = await lifecycle.begin(
                database, adapter_name=settings.adapter_name, started_by=started_by, settings=told
            )
            assert run.id is not None, "a stored run has its id"
            try:
                place = data / lifecycle.RUNS / f"run-{run.id}"
                with files.part_folder(place) as staging:
                    async with _told(database, run.id, on_progress) as tell:
                        work = _Run(
                            run.id,
                            database,
                            data,
                            model,
                            settings,
                            gate_settings or GateSettings(),
                            staging,
                            tell,
                            on_plan,
                        )
                        outcome = await work.carry_out(default_persona)
            except BaseException as error:
                async with database.session() as session:
                    await lifecycle.end(session, run.id, *_ending(error))
                raise
            if outcome.verdict.promote and settings.keep_versions:
                with suppress(ThumbloopError):  # what is too much now goes after the next run
                    await registry.prune(database, data, keep=settings.keep_versions, by=f"run {run.id}")
            return outcome


class _Run:
    """One run on its way."""

    def __init__(
        self,
        run_id: int,
        database: Database,
        data: Path,
        model: ModelChoice,
        settings: TrainingSettings,
        gate_settings: GateSettings,
        staging: Path,
        tell: Callable[[Progress], None],
        on_plan: Callable[[Forecast], None],
    ) -> None:
        self._id = run_id
        self._database = database
        self._data = data
        self._model = model
        self._settings = settings
        self._gate_settings = gate_settings
        self._staging = staging
        self._tell = tell
        self._on_plan = on_plan
        self._seconds: dict[Step, float] = {}

    async def carry_out(self, default_persona: str) -> Outcome:
        """All steps, in order."""
        database, data, settings = self._database, self._data, self._settings
        with self._step("dataset"):
            await erasure.carry_out(database, data)
            frozen = await self._frozen(default_persona)
            await self._refuse_what_is_held(frozen)
            splits = await asyncio.to_thread(dataset.load, data, frozen)
            prepared = await _prepare(database, data, frozen, splits, self._model, settings, default_persona)
        with self._step("training"):
            if prepared.forecast.processes > 1:  # which load the model themselves, and need the memory
                known = await asyncio.to_thread(self._known)
                current = await self._current(known)
                trained = await self._train(known, frozen, splits, prepared, current)
                base = await _in_thread(lambda _: self._load(prepared), self._tell)
                await asyncio.to_thread(stages.complete, base, trained)
            else:
                base = await _in_thread(lambda _: self._load(prepared), self._tell)
                current = await self._current(base)
                trained = await self._train(base, frozen, splits, prepared, current)
        with self._step("evaluation"):
            examined = await _in_thread(
                lambda tell: self._examine(base, splits, trained, current, tell), self._tell
            )
        with self._step("verdict"):
            verdict, found = self._judged(trained, examined, current, frozen)
            if settings.lora_variant == "dora":
                verdict = replace(verdict, promote=False, reasons=[NOT_SERVED, *verdict.reasons])
        with self._step("deployment"):
            adapter, verdict = await _to_its_end(
                self._conclude(base, frozen, trained, examined, current, verdict, found)
            )
        report = await self._report()
        return Outcome(self._id, registry.label(adapter), verdict, examined, self._seconds, found, report)

    async def examine(self, adapter: Adapter, default_persona: str) -> Outcome:
        """The steps of an examination alone: the question set, answers, and the verdict."""
        from training.fit.sft import Trained
        from training.model import base_model

        data = self._data
        with self._step("dataset"):
            folder = await asyncio.to_thread(registry.verify, data, adapter)
            frozen = await self._frozen(default_persona)
            splits = await asyncio.to_thread(dataset.load, data, frozen)
        with self._step("evaluation"):
            base = await _in_thread(
                lambda _: base_model.load(
                    self._model.name,
                    self._model.models_folder,
                    revision=self._model.revision,
                    device=self._model.device,
                    precision=self._model.precision,
                    thinking=self._model.thinking,
                ),
                self._tell,
            )
            registry.refuse_other_base(adapter, base.name, base.revision)
            current = await self._current(base)
            if current.adapter is not None and current.adapter.id == adapter.id:
                current = replace(current, folder=None)  # it serves itself, so the base is its only rival
            trained = Trained(folder, adapter.metrics.get("training", {}))
            examined = await _in_thread(
                lambda tell: self._examine(base, splits, trained, current, tell), self._tell
            )
        with self._step("verdict"):
            verdict, found = self._judged(trained, examined, current, frozen)
            await _to_its_end(self._settle(adapter, examined, current, verdict, found))
        report = await self._report()
        return Outcome(self._id, registry.label(adapter), verdict, examined, self._seconds, found, report)

    async def _frozen(self, default_persona: str) -> Dataset:
        """The dataset of this run's adapter, noted in the run's row."""
        frozen = await dataset.build(
            self._database,
            self._data,
            name=self._settings.adapter_name,
            settings=self._settings,
            default_persona=default_persona,
            only=DatasetFilter.of(self._settings.own),
        )
        await lifecycle.note_dataset(self._database, self._id, frozen)
        return frozen

    def _judged(
        self, trained: Trained, examined: list[Examined], current: _Current, frozen: Dataset
    ) -> tuple[Verdict, list[Symptom]]:
        """The gate's verdict with what else is to be said of it, and the candidate's symptoms."""
        from training.examination import symptoms

        by_subject = {one.subject: one for one in examined}
        figures = {subject: one.figures for subject, one in by_subject.items()}
        verdict = gate.verdict(
            figures["base"], figures.get("current"), figures["candidate"], self._gate_settings
        )
        verdict = replace(verdict, reasons=[*verdict.reasons, *current.notes, *_held_notes(frozen)])
        return verdict, symptoms.find(trained.metrics, by_subject["base"], by_subject["candidate"])

    async def _settle(
        self,
        adapter: Adapter,
        examined: list[Examined],
        current: _Current,
        verdict: Verdict,
        symptoms: list[Symptom],
    ) -> None:
        """Write the verdict on an adapter that is registered already, with its figures: all or nothing."""
        metrics = _measured(examined, verdict, symptoms, self._gate_settings)
        async with self._database.session() as session:
            row = await registry.judge(
                session,
                adapter,
                promote=verdict.promote,
                metrics=lifecycle.storable(metrics),
                by=f"run {self._id}",
            )
            self._note_examined(session, examined, row, current)
            await lifecycle.end(session, self._id, "promoted" if verdict.promote else "held", str(verdict))

    def _note_examined(
        self, session: AsyncSession, examined: list[Examined], candidate: Adapter, current: _Current
    ) -> None:
        from training.examination.results import stored

        by_subject = {"candidate": candidate, "current": current.adapter}
        for one in examined:
            of = by_subject.get(one.subject)
            session.add(
                Evaluation(
                    run_id=self._id,
                    subject=one.subject,
                    adapter_id=of.id if of else None,
                    metrics=lifecycle.storable(one.metrics),
                    answers=lifecycle.storable(stored([*one.answers, *one.packaged])),
                )
            )

    async def _refuse_what_is_held(self, frozen: Dataset) -> None:
        """Raise ReviewsHeld when approvals are held and nothing but them is new."""
        held = dataset.held_approvals(frozen)
        if held:
            async with self._database.session(read_only=True) as session:
                if not await lifecycle.has_new_pairs(session, self._settings.adapter_name, frozen):
                    raise ReviewsHeld(held, "Nothing else is new since the last run")

    @contextmanager
    def _step(self, step: Step) -> Iterator[None]:
        started = time.monotonic()
        self._tell(Progress(step))
        yield
        self._seconds[step] = round(time.monotonic() - started, 1)

    def _known(self) -> Known:
        from training.model import base_model

        return base_model.known(
            self._model.name,
            self._model.models_folder,
            revision=self._model.revision,
            device=self._model.device,
            precision=self._model.precision,
        )

    def _load(self, prepared: Prepared) -> BaseModel:
        from training.model import base_model

        quantisation = prepared.forecast.settings.quantisation
        assert quantisation != "auto", "a forecast leaves nothing open"
        return base_model.load(
            self._model.name,
            self._model.models_folder,
            revision=self._model.revision,
            device=self._model.device,
            precision=self._model.precision,
            quantisation=quantisation,
            thinking=self._model.thinking,
        )

    async def _train(
        self,
        base: BaseModel | Known,
        frozen: Dataset,
        splits: dataset.Splits,
        prepared: Prepared,
        current: _Current,
    ) -> Trained:
        """Begin the training, or go on with one that was broken off; the record says what is done.

        It is done in this process with the `base` model loaded, or in several that load it themselves.
        """
        from training.model.base_model import BaseModel

        told, found = prepared.forecast, prepared.preferences
        goes_on = self._goes_on_from(current)
        identity = stages.identity(
            told.settings,
            dataset=frozen.content_hash,
            preferences=found.content_hash,
            base=f"{base.name} {base.revision} {base.precision}",
            start=goes_on.content_hash if goes_on else "",
            spread=told.config.identity(told.processes),
        )
        resumed = await asyncio.to_thread(stages.begin, self._staging, self._id, identity)
        reasons = list(told.reasons)
        if self._settings.start_from == "current":
            afresh = "Nothing that could be gone on from is in service, so it begins afresh."
            reasons.append(f"Goes on from {registry.label(goes_on)}." if goes_on else afresh)
        if resumed is not None:
            reasons.append(f"Resuming run {resumed.run} at step {resumed.step}.")
        told = replace(told, reasons=reasons)
        await lifecycle.note_plan(
            self._database,
            self._id,
            told.described(),
            preferences={
                "content_hash": found.content_hash,
                "turns": [] if told.stages == ("sft",) else found.turns,
                **found.counts,
            },
            resumes=resumed.run if resumed else None,
        )
        self._on_plan(told)
        start = current.folder if goes_on else None
        resume = resumed is not None

        def here(tell: Callable[[Progress], None]) -> Trained:
            assert isinstance(base, BaseModel), "one process trains what it has loaded"
            return stages.train(
                base, splits, prepared, self._staging, start=start, resume=resume, on_progress=tell
            )

        def by_several(tell: Callable[[Progress], None]) -> Trained:
            job = Job(
                model=self._model.name,
                models_folder=self._model.models_folder,
                revision=self._model.revision,
                device=self._model.device,
                precision=self._model.precision,
                splits=splits,
                prepared=prepared,
                stage=told.stages[0],
                start=start,
                resume=resume,
                thinking=self._model.thinking,
            )
            return launch.train(job, self._staging, on_progress=tell)

        with _kept_when_broken_off(self._staging, self._data / lifecycle.RUNS / f"run-{self._id}"):
            return await _in_thread(by_several if told.processes > 1 else here, self._tell)

    def _goes_on_from(self, current: _Current) -> Adapter | None:
        wanted = self._settings.start_from == "current" and current.folder is not None
        return current.adapter if wanted else None

    def _examine(
        self,
        base: BaseModel,
        splits: dataset.Splits,
        trained: Trained,
        current: _Current,
        tell: Callable[[Progress], None],
    ) -> list[Examined]:
        from training.examination import evaluation, generation

        subjects: dict[Subject, Path | None] = {"base": None}
        if current.folder is not None:
            subjects["current"] = current.folder
        subjects["candidate"] = trained.folder
        return evaluation.examine(
            base,
            splits.examination,
            subjects,
            self._settings,
            taught=splits.train,
            answering=partial(generation.answers, repetition_penalty=self._model.repetition_penalty),
            on_progress=tell,
        )

    async def _current(self, base: BaseModel | Known) -> _Current:
        """What serves now where the candidate would. Where it cannot answer the base model does, as there."""
        async with self._database.session(read_only=True) as session:
            adapter, places, notes = await self._served(session)
        if adapter is None:
            return _Current(None, None, notes, places)
        if (adapter.base_model, adapter.base_revision) != (base.name, base.revision):
            note = (
                f"{registry.label(adapter)}, in service, belongs to another base model ({adapter.base_model})"
            )
            told = f"{note}, so only the base model could be compared with."
            return _Current(adapter, None, [*notes, told], places)
        try:
            folder = await asyncio.to_thread(registry.verify, self._data, adapter)
        except AdapterError as error:
            told = f"{error.problem} So only the base model could be compared with."
            return _Current(adapter, None, [*notes, told], places)
        return _Current(adapter, folder, notes, places)

    async def _served(
        self, session: AsyncSession
    ) -> tuple[Adapter | None, tuple[int | None, ...], list[str]]:
        """The adapter that serves most places of the candidate's, these places, and a note on the others.

        A place is a community's number, or None for everyone.
        """
        named = self._settings.own.communities
        places: list[int | None] = [*await candidates.communities(session, named)] if named else [None]
        by_adapter: dict[int | None, list[int | None]] = {}
        adapters: dict[int | None, Adapter | None] = {}
        for place in places:
            adapter = await registry.serving(session, place)
            key = adapter.id if adapter else None
            adapters[key] = adapter
            by_adapter.setdefault(key, []).append(place)
        most = max(by_adapter, key=lambda key: len(by_adapter[key]))
        notes = [
            f"{registry.label(other) if (other := adapters[key]) else 'The base model'} goes on serving "
            f"{len(by_adapter[key])} of its communities: it was not compared with that."
            for key in by_adapter
            if key != most
        ]
        return adapters[most], tuple(by_adapter[most]), notes

    async def _report(self) -> Path | None:
        """Write the page about the run; whatever keeps it from being written, the verdict stands."""
        from training.run import report

        try:
            return await report.write(self._database, self._data, self._id)
        except Exception:
            log.exception(
                "The report of run %s could not be written; `thumbloop report` tries again.", self._id
            )
            return None

    async def _conclude(
        self,
        base: BaseModel,
        frozen: Dataset,
        trained: Trained,
        examined: list[Examined],
        current: _Current,
        verdict: Verdict,
        symptoms: list[Symptom],
    ) -> tuple[Adapter, Verdict]:
        """Register the adapter with its verdict and figures, and deploy it if promoted: all or nothing."""
        metrics = _measured(examined, verdict, symptoms, self._gate_settings) | {"training": trained.metrics}
        adapter: Adapter | None = None
        try:
            async with self._database.session() as session:
                adapter = await registry.add(
                    session,
                    self._data,
                    trained.folder,
                    name=self._settings.adapter_name,
                    base_model=base.name,
                    base_revision=base.revision,
                    dataset_id=frozen.id,
                    run_id=self._id,
                    continues_id=goes_on.id if (goes_on := self._goes_on_from(current)) else None,
                    metrics=lifecycle.storable(metrics),
                )
                places = [place for place in current.places if await current.serves(session, place)]
                if verdict.promote and not places:
                    verdict = replace(verdict, promote=False, reasons=[CHANGED_MEANWHILE, *verdict.reasons])
                adapter.metrics = {**adapter.metrics, "reasons": verdict.reasons}
                adapter.state = "promoted" if verdict.promote else "held"
                session.add(adapter)
                self._note_examined(session, examined, adapter, current)
                for place in places if verdict.promote else []:
                    await registry.switch(
                        session, adapter, by=f"run {self._id}", reason=str(verdict), community_id=place
                    )
                await lifecycle.end(
                    session, self._id, "promoted" if verdict.promote else "held", str(verdict)
                )
        except BaseException:
            if adapter is not None:
                shutil.rmtree(registry.folder(self._data, adapter), ignore_errors=True)
            raise
        return adapter, verdict


async def examine(
    database: Database,
    *,
    data: Path,
    model: ModelChoice,
    settings: TrainingSettings,
    default_persona: str,
    wanted: str,
    started_by: str,
    gate_settings: GateSettings | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Outcome:
    """Examine a registered adapter on the present question set of `settings.adapter_name`, and judge it.

    The verdict becomes its state; what serves does not change. A run of its own, which trains nothing. Raises
    as `retrain`; NotFound; UsageError for the base model; AdapterError when the adapter is damaged, retired,
    or belongs to another base model.
    """
    with files.faults_explained("The examination in", data, TrainingError):
        async with lifecycle.alone(database, data, spare=stages.may_be_resumed):
            async with database.session(read_only=True) as session:
                adapter = await registry.find(session, wanted)
            if adapter is None:
                raise UsageError("The base model needs no verdict.", "Name an adapter as name@version.")
            told = {"examines": registry.label(adapter), "model": model.name}
            run = await lifecycle.begin(
                database, adapter_name=adapter.name, started_by=started_by, settings=told
            )
            assert run.id is not None, "a stored run has its id"
            try:
                async with _told(database, run.id, on_progress) as tell:
                    work = _Run(
                        run.id,
                        database,
                        data,
                        model,
                        settings,
                        gate_settings or GateSettings(),
                        data,
                        tell,
                        lambda told: None,
                    )
                    return await work.examine(adapter, default_persona)
            except BaseException as error:
                async with database.session() as session:
                    await lifecycle.end(session, run.id, *_ending(error))
                raise


async def planned(
    database: Database,
    *,
    data: Path,
    model: ModelChoice,
    settings: TrainingSettings,
    default_persona: str,
) -> Forecast:
    """What a run would do now, and what it is expected to take. The dataset is built, nothing is trained."""
    frozen = await dataset.build(
        database,
        data,
        name=settings.adapter_name,
        settings=settings,
        default_persona=default_persona,
        only=DatasetFilter.of(settings.own),
    )
    splits = await asyncio.to_thread(dataset.load, data, frozen)
    prepared = await _prepare(database, data, frozen, splits, model, settings, default_persona)
    return prepared.forecast


async def _prepare(
    database: Database,
    data: Path,
    frozen: Dataset,
    splits: dataset.Splits,
    model: ModelChoice,
    settings: TrainingSettings,
    default_persona: str,
) -> Prepared:
    """Gather and freeze what people preferred, choose the method, and fit the run to this machine."""
    async with database.session(read_only=True) as session:
        found = await preferences.collect(
            session, splits, settings, default_persona=default_persona, only=DatasetFilter.of(settings.own)
        )
    found = await asyncio.to_thread(preferences.freeze, found, data / frozen.folder)

    def forecast() -> Prepared:
        from training.model import base_model

        folder = base_model.prepare(model.name, model.models_folder, revision=model.revision)
        return stages.prepare(
            splits,
            found,
            settings,
            model_folder=folder,
            device=model.device,
            precision=model.precision,
        )

    return await asyncio.to_thread(forecast)


NOT_SERVED: Final = (
    "It is a DoRA adapter, which neither Thumbloop's engine nor vLLM serves; `thumbloop adapter export` "
    "gives it to other servers."
)
CHANGED_MEANWHILE: Final = (
    "Another adapter was put into service while this run was under way, and the candidate was not compared "
    "with that one; `thumbloop adapter switch` lets it serve all the same."
)


@dataclass(frozen=True)
class _Current:
    """The adapter in service, its verified folder (None where it cannot answer), and what to say of it.

    `places` are the numbers of the communities that the candidate would serve in its stead; None: everyone.
    """

    adapter: Adapter | None
    folder: Path | None
    notes: list[str]
    places: tuple[int | None, ...]

    async def serves(self, session: AsyncSession, place: int | None) -> bool:
        """Whether it still is what serves that place."""
        adapter = await registry.serving(session, place)
        return (adapter and adapter.id) == (self.adapter and self.adapter.id)


class _Paused(asyncio.CancelledError):
    """A run was cancelled in its training, and what it had trained is kept."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step


@contextmanager
def _kept_when_broken_off(staging: Path, place: Path) -> Iterator[None]:
    """Leave the next run what it can go on from when a training is stopped, or a process of it dies."""
    try:
        yield
    except (TrainingInterrupted, asyncio.CancelledError) as error:
        if not stages.may_be_resumed(staging):
            raise
        left = files.part_of(place)
        staging.rename(left)
        if isinstance(error, asyncio.CancelledError):
            raise _Paused(stages.last_step(left)) from error
        raise


def _measured(
    examined: list[Examined], verdict: Verdict, symptoms: list[Symptom], gate_settings: GateSettings
) -> dict[str, Any]:
    """What an adapter's row keeps of its examination."""
    return {one.subject: one.metrics for one in examined} | {
        "symptoms": [asdict(symptom) for symptom in symptoms],
        "comparisons": [asdict(comparison) for comparison in verdict.comparisons],
        "gate": gate_settings.model_dump(),
        "reasons": verdict.reasons,
    }


def _held_notes(frozen: Dataset) -> list[str]:
    return [
        f"{count} approvals by {reviewer} came faster than anybody reads and are held; "
        f"`thumbloop review trust {reviewer}` releases them."
        for reviewer, count in dataset.held_approvals(frozen).items()
    ]


def _ending(error: BaseException) -> tuple[Any, str]:
    """The state that a run ends in by `error`, and the sentence about it."""
    if isinstance(error, NotEnoughPairs | ReviewsHeld):  # nothing broke: there was nothing to do yet
        return "cancelled", str(error)
    if isinstance(error, ThumbloopError):
        return "failed", str(error)
    if isinstance(error, Exception):
        return "failed", UNEXPECTED
    if isinstance(error, _Paused):
        return "cancelled", PAUSED.format(step=error.step)
    return "cancelled", CANCELLED


class _Stopped(Exception):
    """The run was cancelled; this ends its thread."""


async def _in_thread(
    work: Callable[[Callable[[Progress], None]], Result], tell: Callable[[Progress], None]
) -> Result:
    """Do `work` in a thread. Cancelled, it is stopped at its next sign of progress, and waited for."""
    stop = threading.Event()

    def heard(progress: Progress) -> None:
        if stop.is_set():
            raise _Stopped
        tell(progress)

    # no task of the loop's: those are all cancelled when a second Ctrl-C ends the loop
    working = asyncio.get_running_loop().run_in_executor(None, work, heard)
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        stop.set()
        while not working.done():  # however often this is cancelled: the thread's files are removed next
            with suppress(asyncio.CancelledError):
                await asyncio.wait([working])
        working.exception()  # how the thread ended is known
        raise


async def _to_its_end(last: Coroutine[Any, Any, Result]) -> Result:
    """Await `last`; a cancellation waits until it is done."""
    working = asyncio.ensure_future(last)
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait([working])
        raise


@asynccontextmanager
async def _told(
    database: Database, run_id: int, on_progress: Callable[[Progress], None]
) -> AsyncIterator[Callable[[Progress], None]]:
    """A function, safe in any thread, that passes progress on at once, and to the record now and then."""
    loop = asyncio.get_running_loop()
    news, over = asyncio.Event(), asyncio.Event()
    newest: list[Progress] = []

    def tell(progress: Progress) -> None:
        newest[:] = [progress]
        loop.call_soon_threadsafe(news.set)
        on_progress(progress)

    async def note() -> None:
        for progress in newest[:]:
            with suppress(DatabaseError):  # how far a run is, is no reason to stop it
                await lifecycle.note_progress(database, run_id, progress)

    async def write_down() -> None:
        while not over.is_set():
            await news.wait()
            news.clear()
            await note()
            with suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), RECORD_EVERY_S)
        await note()  # what came last

    writing = asyncio.create_task(write_down())
    try:
        yield tell
    finally:
        over.set()
        news.set()
        await writing
