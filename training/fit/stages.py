"""The stages of a run, one after another: SFT, then DPO or KTO; each retried smaller when memory runs out.

`prepare` chooses and forecasts, `train` runs all stages in this process, `train_stage` runs one. A killed run
can be resumed from what it leaves in its folder, as long as dataset, base model and settings are the same.
Leaves to others: what each training does (`sft`, `preference_training`), with which numbers
(`hyperparameters`), and several processes (`launch`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from training import files
from training.data.dataset import Splits
from training.data.preferences import Preferences
from training.fit import checkpoints, hyperparameters, machine, memory_plan
from training.fit import forecast as forecasting
from training.fit.forecast import Forecast
from training.fit.hyperparameters import Stage
from training.fit.out_of_memory import retried_with_less
from training.progress import Progress
from training.settings import TrainingSettings

if TYPE_CHECKING:
    from training.fit.distributed import Ranks
    from training.fit.sft import Trained
    from training.model.base_model import BaseModel, ModelChoice

JOB: Final = "job.json"
"""In a run's folder from the start of its training: which run it is, and the identity of its training."""
SFT_DONE: Final = "sft.json"
"""Beside it once SFT has finished: what was measured."""
FORMAT: Final = 1
"""Raised when older checkpoints can no longer be resumed."""
SHAPING: Final = (
    "start_from",
    "quantisation",
    "rank",
    "alpha",
    "dropout",
    "target_modules",
    "lora_variant",
    "lora_plus_ratio",
    "epochs",
    "learning_rate",
    "batch_size",
    "preference_beta",
    "preference_learning_rate",
    "preference_epochs",
    "max_tokens",
    "replay_weight",
    "contrast_weight",
    "patience",
    "seed",
    "method",
)
"""The settings that shape an adapter: a run with different ones cannot resume."""


@dataclass(frozen=True)
class Prepared:
    """What a run is going to train on, and what that is expected to take."""

    preferences: Preferences
    forecast: Forecast


def prepare(
    splits: Splits,
    preferences: Preferences,
    settings: TrainingSettings,
    model: ModelChoice,
) -> Prepared:
    """Choose the method and fit the run to this machine. Raises ModelError, TrainingError."""
    from transformers import AutoTokenizer

    folder = model.prepare()
    forecast = forecasting.forecast(
        hyperparameters.choose_method(splits, preferences, settings),
        splits,
        preferences,
        settings,
        machine=machine.measure(model.device, model.precision, settings),
        shape=memory_plan.read_shape(folder, settings),
        tokenizer=AutoTokenizer.from_pretrained(folder, local_files_only=True),
    )
    return Prepared(preferences, forecast)


@dataclass(frozen=True)
class Resumed:
    """The run that another one resumes, and the optimiser step that its last stage had reached."""

    run: int
    step: int


def identity(
    settings: TrainingSettings,
    *,
    dataset: str,
    preferences: str,
    base: str,
    start: str = "",
    spread: str = "",
) -> str:
    """A hash that only trainings which may resume each other's checkpoints have in common.

    `dataset`, `preferences` and `start` (the adapter that is continued) are content hashes; `base` is the
    name, revision and precision of the base model; `spread` says how checkpoints are spread over processes,
    "" where they are not.
    """
    content = {
        "format": FORMAT,
        "data": [dataset, preferences],
        "base": [base, start],
        "settings": settings.model_dump(mode="json", include=set(SHAPING)),
    }
    if spread:
        content["spread"] = spread
    return hashlib.sha256(files.canonical_json(content)).hexdigest()


def is_resumable(part: Path) -> bool:
    """Whether a run's unfinished folder holds what another run could resume."""
    return (part / JOB).is_file() and ((part / SFT_DONE).is_file() or last_step(part) > 0)


def begin(staging: Path, run: int, identity: str) -> Resumed | None:
    """Note in `staging` what is trained there, and take over what a dead run of the same identity left.

    Everything else that dead runs left beside it is removed. The caller holds the lock on runs.
    """
    candidates: list[tuple[int, Path]] = []
    for part in staging.parent.glob(".run-*.part"):
        if part != staging:
            try:
                job = json.loads((part / JOB).read_bytes())
                if job["identity"] == identity and is_resumable(part):
                    candidates.append((int(job["run"]), part))
            except (OSError, ValueError, KeyError, TypeError):
                pass  # killed before it had noted its identity
    resumed: Resumed | None = None
    if candidates:
        previous, part = max(candidates)
        resumed = Resumed(previous, last_step(part))
        files.replace_folder(part, staging)
    (staging / JOB).write_bytes(files.canonical_json({"run": run, "identity": identity}))
    files.sweep(staging.parent)
    return resumed


class StageTrainer(Protocol):
    """Trains one stage, continuing the adapter in `start`, with the batches that go through at once divided.

    Raises TrainingError; where memory ran out, its cause is that error.
    """

    def __call__(self, stage: Stage, start: Path | None, batch_divisor: int) -> Trained:
        """The adapter, and what was measured."""


def train(
    base: BaseModel,
    splits: Splits,
    prepared: Prepared,
    staging: Path,
    *,
    start: Path | None = None,
    resume: bool = False,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Trained:
    """All stages in this process alone, as `run_stages` does them. Raises TrainingError."""
    here = partial(train_stage, base, splits, prepared, staging, resume=resume, on_progress=on_progress)
    return run_stages(here, prepared.forecast, staging, start=start, resume=resume)


def run_stages(
    train_stage: StageTrainer,
    forecast: Forecast,
    staging: Path,
    *,
    start: Path | None = None,
    resume: bool = False,
) -> Trained:
    """Train the stages of the forecast in `staging`; the last adapter, with the figures of all stages.

    `start` is the adapter to continue. Where preferences did not help, the adapter from before them is
    returned, and the figures say so. Raises TrainingError.
    """
    trained: Trained | None = None
    for stage in forecast.stages:
        if stage == "sft":
            trained = _finished_sft(staging) if resume else None
            if trained is None:
                trained = retried_with_less(partial(train_stage, stage, start))
                (staging / SFT_DONE).write_text(json.dumps(trained.metrics), encoding="utf-8")
        else:
            continued = trained.folder if trained else start
            preferred = retried_with_less(partial(train_stage, stage, continued))
            trained = _better_of(trained, preferred) if trained else preferred
    assert trained is not None, "a forecast has a stage"
    return replace(trained, metrics={**trained.metrics, "stages": list(forecast.stages)})


def train_stage(
    base: BaseModel,
    splits: Splits,
    prepared: Prepared,
    staging: Path,
    stage: Stage,
    start: Path | None,
    batch_divisor: int,
    *,
    resume: bool = False,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    ranks: Ranks | None = None,
) -> Trained:
    """Train one stage in this process, alone or as one of several `ranks`. Raises TrainingError."""
    from training.fit import preference_training, sft
    from training.fit.distributed import ALONE

    forecast, settings = prepared.forecast, prepared.forecast.settings
    width = base.model.config.get_text_config().hidden_size
    if stage == "sft":
        numbers = hyperparameters.for_sft(
            len(splits.train),
            settings,
            width=width,
            row_tokens=forecast.row_tokens,
            checkpointing=forecast.checkpointing,
        )
        return sft.train(
            base,
            splits,
            replace(numbers, batch_divisor=batch_divisor),
            settings,
            staging,
            start=start,
            on_progress=on_progress,
            resume=resume,
            ranks=ranks or ALONE,
        )
    preferences = prepared.preferences
    examples = preferences.pairs["train"] if stage == "dpo" else preferences.thumbs["train"]
    preference_numbers = hyperparameters.for_preferences(stage, len(examples), settings, width=width)
    return preference_training.train(
        base,
        preferences,
        replace(preference_numbers, batch_divisor=batch_divisor),
        settings,
        staging,
        start=start,
        row_tokens=forecast.row_tokens,
        checkpointing=forecast.checkpointing,
        on_progress=on_progress,
        resume=resume,
        ranks=ranks or ALONE,
    )


def ensure_fingerprint(base: BaseModel, trained: Trained) -> None:
    """Record the fingerprint of an adapter whose model was spread over processes, if it has none yet."""
    from peft import PeftModel

    from training.model import attach, fingerprint

    if fingerprint.read(trained.folder) is None:
        peft_model = PeftModel.from_pretrained(base.model, str(trained.folder))
        try:
            fingerprint.record(peft_model, base.tokenizer, trained.folder)
        finally:
            attach.detach(base, peft_model)


def _better_of(sft: Trained, preferred: Trained) -> Trained:
    metrics = {**sft.metrics, "preference": preferred.metrics}
    return replace(preferred if preferred.metrics["helped"] else sft, metrics=metrics)


def _finished_sft(staging: Path) -> Trained | None:
    """The SFT that a killed run had finished before its preference stage."""
    from training.fit.sft import ADAPTER, Trained

    try:
        metrics = json.loads((staging / SFT_DONE).read_bytes())
    except (OSError, ValueError):
        return None
    return Trained(staging / ADAPTER, metrics) if (staging / ADAPTER).is_dir() else None


def last_step(part: Path) -> int:
    """The optimiser step of the newest checkpoint of the last stage in a run's folder; 0 without one."""
    for name in (checkpoints.PREFERENCE, checkpoints.SFT):
        newest = checkpoints.newest(part / name)
        if newest is not None:
            return checkpoints.step(newest)
    return 0
