"""The training step of a run: fresh, or resuming an interrupted one; in one process or several."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from feedback.tables import Dataset
from feedback.text import Text
from training.adapters import registry
from training.data.dataset import Splits
from training.fit import launch, stages
from training.fit.forecast import Forecast
from training.fit.stages import Prepared
from training.fit.worker import Job
from training.model.base_model import BaseModel, Known, ModelChoice
from training.run import lifecycle, steps
from training.run.in_service import InService, find_in_service
from training.run.live import Ahead, cost
from training.run.opening import OpenRun
from training.settings import TrainingSettings

if TYPE_CHECKING:
    from training.fit.sft import Trained

_CONTINUES: Final = Text("Continues {adapter}.", "Ciąg dalszy adaptera {adapter}.")
_FRESH: Final = Text(
    "Nothing in service can be continued, so it begins with a fresh adapter.",
    "Niczego, co jest w użyciu, nie da się kontynuować, więc zaczyna od nowego adaptera.",
)
_RESUMING: Final = Text("Resuming run {run} at step {step}.", "Wznawia trening {run} od kroku {step}.")


@dataclass(frozen=True)
class Training:
    """What was trained, on which model, and what served then. The base model is loaded, without adapter."""

    base: BaseModel
    in_service: InService
    trained: Trained


async def train(
    run: OpenRun,
    model: ModelChoice,
    settings: TrainingSettings,
    frozen: Dataset,
    splits: Splits,
    prepared: Prepared,
    on_plan: Callable[[Forecast], None],
) -> Training:
    """Train on the dataset as prepared. `on_plan` is called with what is going to be done. Raises
    TrainingError."""
    quantisation = prepared.forecast.settings.quantisation
    assert quantisation != "auto", "a forecast leaves nothing open"
    several = prepared.forecast.processes > 1
    base: BaseModel | Known
    if several:  # the processes load the model themselves, and need the memory
        base = await asyncio.to_thread(model.known)
    else:
        base = await run.load(model, quantisation)
    in_service = await find_in_service(run.database, run.data, settings, base)
    resume = await _begin(run, settings, frozen, prepared, in_service, base, on_plan)
    start = in_service.folder if in_service.continued(settings) else None
    forecast = prepared.forecast
    run.live.expect(
        Ahead(
            forecast.seconds,
            forecast.tokens,
            forecast.steps,
            asked=steps.questions_of(splits, settings) * cost(2 if in_service.folder is None else 3),
            question_s=await lifecycle.question_seconds(run.database, model.name),
        )
    )
    with run.kept_when_interrupted():
        if isinstance(base, BaseModel):
            here = partial(stages.train, base, splits, prepared, run.folder, start=start, resume=resume)
            trained = await run.in_thread(lambda report: here(on_progress=report))
            return Training(base, in_service, trained)
        first = prepared.forecast.stages[0]
        job = Job(model, splits, prepared, first, start, resume, run.data)
        trained = await run.in_thread(lambda report: launch.train(job, run.folder, on_progress=report))
    loaded = await run.load(model, quantisation)
    await asyncio.to_thread(stages.ensure_fingerprint, loaded, trained)
    return Training(loaded, in_service, trained)


async def _begin(
    run: OpenRun,
    settings: TrainingSettings,
    frozen: Dataset,
    prepared: Prepared,
    in_service: InService,
    base: BaseModel | Known,
    on_plan: Callable[[Forecast], None],
) -> bool:
    """Note the training's identity and plan in the run's folder and row; whether it resumes another one."""
    forecast, preferences = prepared.forecast, prepared.preferences
    continued = in_service.continued(settings)
    identity = stages.identity(
        forecast.settings,
        dataset=frozen.content_hash,
        preferences=preferences.content_hash,
        base=f"{base.name} {base.revision} {base.precision}",
        start=continued.content_hash if continued else "",
        spread=forecast.config.identity(forecast.processes),
    )
    resumed = await asyncio.to_thread(stages.begin, run.folder, run.id, identity)
    reasons = list(forecast.reasons)
    if continued:
        reasons.append(_CONTINUES.filled(adapter=registry.label(continued)))
    elif settings.start_from == "current":
        reasons.append(_FRESH)
    if resumed is not None:
        reasons.append(_RESUMING.filled(run=resumed.run, step=resumed.step))
    forecast = replace(forecast, reasons=reasons)
    await lifecycle.note_plan(
        run.database,
        run.id,
        forecast.described(),
        preferences={
            "content_hash": preferences.content_hash,
            "turns": [] if forecast.stages == ("sft",) else preferences.turns,
            **preferences.counts,
        },
        resumes=resumed.run if resumed else None,
    )
    on_plan(forecast)
    return resumed is not None
