"""An examination by itself: a registered adapter on the present questions, and its verdict."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from feedback import rating_results
from feedback.cancellation import to_its_end
from feedback.database import Database
from feedback.errors import UsageError
from training.adapters import registry
from training.data import witnesses
from training.data.retrieval import Embed, Lookup
from training.model.base_model import ModelChoice
from training.progress import Progress
from training.run import conclusion, steps
from training.run.conclusion import Outcome
from training.run.in_service import find_in_service
from training.run.opening import open_run
from training.settings import GateSettings, TrainingSettings


async def examine(
    database: Database,
    *,
    data: Path,
    model: ModelChoice,
    settings: TrainingSettings,
    default_persona: str,
    wanted: str,
    started_by: str,
    lookup: Lookup | None = None,
    embed: Embed | None = None,
    gate_settings: GateSettings | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Outcome:
    """Examine a registered adapter on the present question set of `settings.adapter_name`, and judge it.

    `lookup` and `embed` are as in `retrain`. The verdict becomes its state; what serves does not change. A
    run of its own, which trains nothing. Raises as `retrain`; NotFound; UsageError for the base model;
    AdapterError when the adapter is damaged, retired, or belongs to another base model.
    """
    from training.fit.sft import Trained

    async with database.session(read_only=True) as session:
        adapter = await registry.find(session, wanted)
    if adapter is None:
        raise UsageError("The base model needs no verdict.", "Name an adapter as name@version.")
    async with open_run(
        database,
        data,
        adapter_name=adapter.name,
        started_by=started_by,
        settings={"examines": registry.label(adapter), "model": model.name},
        activity="The examination in",
        on_progress=on_progress,
    ) as run:
        with run.step("dataset"):
            folder = await asyncio.to_thread(registry.verify, data, adapter)
            frozen, splits = await steps.freeze_dataset(run, settings, default_persona, lookup)
        with run.step("evaluation"):
            base = await run.load(model)
            registry.refuse_other_base(adapter, base.name, base.revision)
            in_service = (await find_in_service(database, data, settings, base)).without(adapter)
            trained = Trained(folder, adapter.metrics.get("training", {}))
            examined = await steps.examine_subjects(
                run, base, splits, trained, in_service, settings, model.repetition_penalty, embed
            )
        with run.step("verdict"):
            gate_settings = gate_settings or GateSettings()
            async with database.session(read_only=True) as session:
                rated = await rating_results.find(
                    session, adapter_id=adapter.id, confidence=gate_settings.confidence
                )
                against = await witnesses.against(session, frozen)
            findings = steps.judge(examined, trained, in_service, frozen, gate_settings, against, rated)
            await to_its_end(conclusion.judge_again(run, adapter, in_service, findings))
        return await conclusion.outcome(run, adapter, findings)
