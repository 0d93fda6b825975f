"""The trainings of a run, one after another: SFT, then DPO or KTO; with less memory where it runs out.

`prepare` chooses and forecasts, `train` goes through the stages, `carry_out` does one in this process. What a
killed run leaves in its folder is enough to go on from, as long as dataset, base model and settings are the
same. Leaves to others: what each training does (`lora`, `preference_training`), which numbers it gets
(`planning`), and several processes (`launch`).
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
from training.errors import TrainingError
from training.fit import checkpoints, planning
from training.fit.planning import Forecast, Stage
from training.progress import Progress
from training.settings import TrainingSettings

if TYPE_CHECKING:
    from training.fit.distributed import Ranks
    from training.fit.sft import Trained
    from training.model.base_model import BaseModel

JOB: Final = "job.json"
"""In a run's folder from the start of its training on: which run it is, and what it is a training of."""
SFT_DONE: Final = "sft.json"
"""Beside it once SFT is through: what was measured."""
FORMAT: Final = 1
"""Raised when a checkpoint of before can no longer be gone on from."""
ATTEMPTS: Final = 3
"""How often a training that runs out of memory is begun, each time with half as much at once."""


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
    "patience",
    "seed",
    "method",
)
"""The settings that shape an adapter: a run with others begins anew."""


@dataclass(frozen=True)
class Prepared:
    """What a run is going to train on, and what that is expected to take."""

    preferences: Preferences
    forecast: Forecast


def prepare(
    splits: Splits,
    found: Preferences,
    settings: TrainingSettings,
    *,
    model_folder: Path,
    device: str,
    precision: str,
) -> Prepared:
    """Choose the method and fit the run to this machine. Raises TrainingError."""
    from transformers import AutoTokenizer

    chosen = planning.choose_method(splits, found, settings)
    told = planning.forecast(
        chosen,
        splits,
        found,
        settings,
        here=planning.machine(device, precision, settings),
        shape=planning.shape(model_folder, settings),
        tokenizer=AutoTokenizer.from_pretrained(model_folder, local_files_only=True),
    )
    return Prepared(found, told)


@dataclass(frozen=True)
class Resumed:
    """The run that another one goes on from, and the optimiser step that it had got to, of its last stage."""

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
    """What a training is one of: those with the same identity may go on from each other's checkpoints.

    `dataset`, `preferences` and `start` (the adapter to go on from) are content hashes, `base` is the name,
    revision and precision of the base model, `spread` says over what its checkpoints are, if they are.
    """
    told = settings.model_dump(mode="json", include=set(SHAPING))
    about = {"format": FORMAT, "data": [dataset, preferences], "base": [base, start], "settings": told}
    if spread:
        about["spread"] = spread
    return hashlib.sha256(files.canonical_json(about)).hexdigest()


def may_be_resumed(part: Path) -> bool:
    """Whether a run's unfinished folder holds what another run could go on from."""
    return (part / JOB).is_file() and ((part / SFT_DONE).is_file() or last_step(part) > 0)


def begin(staging: Path, run: int, identity: str) -> Resumed | None:
    """Say in `staging` what is trained there, and take over what a dead run of the same identity left.

    Everything else that dead runs left beside it is removed. The caller is alone.
    """
    found: list[tuple[int, Path]] = []
    for part in staging.parent.glob(".run-*.part"):
        if part != staging:
            try:
                job = json.loads((part / JOB).read_bytes())
                if job["identity"] == identity and may_be_resumed(part):
                    found.append((int(job["run"]), part))
            except (OSError, ValueError, KeyError, TypeError):
                pass  # killed before it had said what it was
    resumed: Resumed | None = None
    if found:
        before, part = max(found)
        resumed = Resumed(before, last_step(part))
        files.replace_folder(part, staging)
    (staging / JOB).write_bytes(files.canonical_json({"run": run, "identity": identity}))
    files.sweep(staging.parent)
    return resumed


class Carrier(Protocol):
    """Carries one stage of a forecast out: `fewer_at_once` times fewer pairs at once than fit, from `start`.

    Raises TrainingError, from the fault itself where memory ran out.
    """

    def __call__(self, stage: Stage, start: Path | None, fewer_at_once: int) -> Trained:
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
    """All stages in this process alone, as `in_turn` does them. Raises TrainingError."""
    here = partial(carry_out, base, splits, prepared, staging, resume=resume, on_progress=on_progress)
    return in_turn(here, prepared.forecast, staging, start=start, resume=resume)


def in_turn(
    carry_out: Carrier, told: Forecast, staging: Path, *, start: Path | None = None, resume: bool = False
) -> Trained:
    """Carry out the stages of the forecast in `staging`; the last adapter with the figures of all of them.

    `start` is the adapter to go on from. An adapter that preferences did not help is left as it was before
    them, and the figures say so. Raises TrainingError.
    """
    trained: Trained | None = None
    for stage in told.stages:
        if stage == "sft":
            trained = _sft_before(staging) if resume else None
            if trained is None:
                trained = _with_memory_at_hand(partial(carry_out, stage, start))
                (staging / SFT_DONE).write_text(json.dumps(trained.metrics), encoding="utf-8")
        else:
            goes_on_from = trained.folder if trained else start
            preferred = _with_memory_at_hand(partial(carry_out, stage, goes_on_from))
            trained = _the_better(trained, preferred) if trained else preferred
    assert trained is not None, "a forecast has a stage"
    return replace(trained, metrics={**trained.metrics, "stages": list(told.stages)})


def carry_out(
    base: BaseModel,
    splits: Splits,
    prepared: Prepared,
    staging: Path,
    stage: Stage,
    start: Path | None,
    fewer_at_once: int,
    *,
    resume: bool = False,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    ranks: Ranks | None = None,
) -> Trained:
    """One stage in this process, alone or as one of several `ranks`. Raises TrainingError."""
    from training.fit import preference_training, sft
    from training.fit.distributed import ALONE

    told, settings = prepared.forecast, prepared.forecast.settings
    width = base.model.config.get_text_config().hidden_size
    if stage == "sft":
        numbers = planning.plan(
            len(splits.train),
            settings,
            width=width,
            row_tokens=told.row_tokens,
            checkpointing=told.checkpointing,
        )
        return sft.train(
            base,
            splits,
            replace(numbers, fewer_at_once=fewer_at_once),
            settings,
            staging,
            start=start,
            on_progress=on_progress,
            resume=resume,
            ranks=ranks or ALONE,
        )
    found = prepared.preferences
    examples = found.pairs["train"] if stage == "dpo" else found.thumbs["train"]
    plan = planning.plan_preferences(stage, len(examples), settings, width=width)
    return preference_training.train(
        base,
        found,
        replace(plan, fewer_at_once=fewer_at_once),
        settings,
        staging,
        start=start,
        row_tokens=told.row_tokens,
        checkpointing=told.checkpointing,
        on_progress=on_progress,
        resume=resume,
        ranks=ranks or ALONE,
    )


def complete(base: BaseModel, trained: Trained) -> None:
    """Record the fingerprint of an adapter whose model was spread over processes, if it has none yet."""
    from peft import PeftModel

    from training.model import attach, fingerprint

    if fingerprint.read(trained.folder) is None:
        peft_model = PeftModel.from_pretrained(base.model, str(trained.folder))
        try:
            fingerprint.record(peft_model, base.tokenizer, trained.folder)
        finally:
            attach.detach(base, peft_model)


def _the_better(sft: Trained, preferred: Trained) -> Trained:
    metrics = {**sft.metrics, "preference": preferred.metrics}
    return replace(preferred if preferred.metrics["helped"] else sft, metrics=metrics)


def _with_memory_at_hand(attempt: Callable[[int], Trained]) -> Trained:
    """What `attempt` makes; where memory runs out, with half as much at once (2), then with a quarter (4)."""
    from training.model.base_model import is_out_of_memory

    for number in range(ATTEMPTS):
        try:
            return attempt(2**number)
        except TrainingError as error:
            cause = error.__cause__
            last = number == ATTEMPTS - 1
            if last or not (isinstance(cause, Exception) and is_out_of_memory(cause)):
                raise
        _give_memory_back()
    raise AssertionError("the last attempt returns or raises")


def _give_memory_back() -> None:
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _sft_before(staging: Path) -> Trained | None:
    """The SFT that a killed run had finished before it went on to preferences."""
    from training.fit.sft import ADAPTER, Trained

    try:
        metrics = json.loads((staging / SFT_DONE).read_bytes())
    except (OSError, ValueError):
        return None
    return Trained(staging / ADAPTER, metrics) if (staging / ADAPTER).is_dir() else None


def last_step(part: Path) -> int:
    """The optimiser step of the newest checkpoint in a run's folder, of its last stage; 0 without one."""
    for name in ("preference-checkpoints", "checkpoints"):
        newest = checkpoints.newest(part / name)
        if newest is not None:
            return checkpoints.step(newest)
    return 0
