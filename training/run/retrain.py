"""The whole way from the approved turns to a verdict, as one run with named steps.

Builds the dataset, trains, examines, judges, and puts a promoted adapter into service. The run's row in the
record says how far it is; what is unfinished lies in the data folder's `runs/` until it is whole. Nothing is
registered, put into service or left behind unless the run came to its end. The heavy libraries are imported
by the step that needs them, so a run that cannot start says so at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from feedback.cancellation import to_its_end
from feedback.database import Database
from feedback.errors import ThumbloopError
from feedback.plural import counted
from feedback.tables import Dataset
from training.adapters import pruning
from training.data import dataset, preferences, witnesses
from training.data.dataset import DatasetFilter, Splits
from training.data.retrieval import Embed, Lookup
from training.errors import NotDue, ReviewsQuarantined
from training.examination.reasons import Reason
from training.fit import launch, stages
from training.fit.forecast import Forecast
from training.fit.stages import Prepared
from training.model.base_model import ModelChoice
from training.progress import Progress
from training.run import conclusion, due, erasure, room, steps
from training.run.conclusion import Outcome
from training.run.opening import OpenRun, open_run
from training.run.train import train
from training.settings import GateSettings, TrainingSettings


async def retrain(
    database: Database,
    *,
    data: Path,
    model: ModelChoice,
    settings: TrainingSettings,
    default_persona: str,
    started_by: str,
    lookup: Lookup | None = None,
    embed: Embed | None = None,
    gate_settings: GateSettings | None = None,
    share: float = 1.0,
    wait: bool = False,
    only_if_due: bool = False,
    on_plan: Callable[[Forecast], None] = lambda forecast: None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Outcome:
    """Train the next version of `settings.adapter_name`, and let it serve if it is better.

    `lookup` retrieves as the bot does, for the notes of its pairs; without it they have none. `embed` tells
    the examination which answers mean the same. The adapter serves the communities that it is named for in
    `settings.adapters`, everyone where it is for none; at a `share` below 1 first that part of their
    conversations, as a canary. `wait` lets another run end first. `on_plan` is called with what the training
    is going to do. `on_progress` is called from a thread now and then; what it raises stops the run.
    Cancelled, the run stops at its next report of progress and tidies up; killed in training, the next run
    resumes from its checkpoint. Raises RunUnderWay, NotDue, NotEnoughPairs, ModelError, TrainingError
    (DiskTooFull before it begins) and what else keeps a run from its end; nothing half-written is left then.
    """
    launch.refuse_inside_a_group()

    async def before() -> str:
        await pruning.sweep(database, data)
        await asyncio.to_thread(room.require_room, data)
        if only_if_due:
            async with database.session(read_only=True) as session:
                if not await due.is_due(session, settings, default_persona):
                    raise NotDue(settings.adapter_name)
                new = await due.count_new_own_pairs(session, settings, default_persona)
            return counted(new, "new approved pair")
        return ""

    snapshot = {
        **settings.model_dump(exclude={"judge_key"}),
        "model": model.name,
        "model_revision": model.revision,
    }
    async with open_run(
        database,
        data,
        adapter_name=settings.adapter_name,
        started_by=started_by,
        settings=snapshot,
        activity="The training run in",
        before=before,
        wait=wait,
        on_progress=on_progress,
    ) as run:
        with run.step("dataset"):
            await erasure.carry_out(database, data)
            frozen, splits = await steps.freeze_dataset(run, settings, default_persona, lookup)
            await _require_news(run, settings, frozen)
            prepared = await _prepare(database, data, frozen, splits, model, settings, default_persona)
        with run.step("training"):
            training = await train(run, model, settings, frozen, splits, prepared, on_plan)
        base, in_service, trained = training.base, training.in_service, training.trained
        with run.step("evaluation"):
            examined = await steps.examine_subjects(
                run, base, splits, trained, in_service, settings, model.repetition_penalty, embed
            )
        with run.step("verdict"):
            async with database.session(read_only=True) as session:
                against = await witnesses.against(session, frozen)
            findings = steps.judge(
                examined, trained, in_service, frozen, gate_settings or GateSettings(), against
            )
            if settings.lora_variant == "dora":
                findings = findings.rejected(Reason("not served"))
        with run.step("deployment"):
            adapter, findings = await to_its_end(
                conclusion.register(run, base, frozen, trained, in_service, findings, settings, share)
            )
        outcome = await conclusion.outcome(run, adapter, findings)
        if outcome.verdict.promote and settings.keep_versions:
            with suppress(ThumbloopError):  # what could not be deleted now goes after the next run
                await pruning.prune(database, data, keep=settings.keep_versions, by=run.actor)
        return outcome


async def planned(
    database: Database,
    *,
    data: Path,
    model: ModelChoice,
    settings: TrainingSettings,
    default_persona: str,
    lookup: Lookup | None = None,
) -> Forecast:
    """What a run would do now, and what it is expected to take. The dataset is built, nothing is trained."""
    frozen = await dataset.build(
        database,
        data,
        name=settings.adapter_name,
        settings=settings,
        default_persona=default_persona,
        only=DatasetFilter.of(settings.own),
        lookup=lookup,
    )
    splits = await asyncio.to_thread(dataset.load, data, frozen)
    prepared = await _prepare(database, data, frozen, splits, model, settings, default_persona)
    return prepared.forecast


async def _require_news(run: OpenRun, settings: TrainingSettings, frozen: Dataset) -> None:
    """Raise ReviewsQuarantined when approvals are quarantined and nothing but them is new."""
    quarantined = dataset.quarantined_approvals(frozen)
    if quarantined:
        async with run.database.session(read_only=True) as session:
            if not await due.has_new_pairs(session, settings.adapter_name, frozen):
                raise ReviewsQuarantined(quarantined, "Nothing else is new since the last run")


async def _prepare(
    database: Database,
    data: Path,
    frozen: Dataset,
    splits: Splits,
    model: ModelChoice,
    settings: TrainingSettings,
    default_persona: str,
) -> Prepared:
    """Gather and freeze what people preferred, choose the method, and fit the run to this machine."""
    async with database.session(read_only=True) as session:
        collected = await preferences.collect(
            session, splits, settings, default_persona=default_persona, only=DatasetFilter.of(settings.own)
        )
    kept = await asyncio.to_thread(preferences.freeze, collected, data / frozen.folder)
    return await asyncio.to_thread(stages.prepare, splits, kept, settings, model)
