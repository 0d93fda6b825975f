"""One of several processes that train together: `-m training.worker FOLDER`, by `accelerate launch`.

`launch.py` starts them and says what to do in the folder's `ranks.json`. A worker loads the base model onto
its own device and carries out one stage of a training. It touches no record: the first of them writes the
stage's files, tells how far it is, and leaves what it measured in `ranks-done.json`; any of them tells why it
fails. All of them end as soon as the process that started them does, whatever became of that.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, NoReturn

from feedback.errors import ThumbloopError
from training.data.dataset import Splits
from training.fit.planning import Stage
from training.fit.stages import Prepared
from training.progress import Progress
from training.settings import Thinking

JOB: Final = "ranks.json"
DONE: Final = "ranks-done.json"
FAILED: Final = 1


@dataclass(frozen=True)
class Job:
    """A stage of a training for several processes: what `base_model.load` and `stages.carry_out` take."""

    model: str
    models_folder: Path
    revision: str
    device: str
    precision: str
    splits: Splits
    prepared: Prepared
    stage: Stage
    start: Path | None
    resume: bool
    fewer_at_once: int = 1
    thinking: Thinking = "template"


def main() -> NoReturn:
    """Carry out the job, and exit with 0 when it is done."""
    say = _voice()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    status = 0
    try:
        _work(Path(sys.argv[1]), say)
    except Exception as error:  # the outermost edge of this process
        traceback.print_exc()
        say(failure=_told(error))
        status = FAILED
    sys.stderr.flush()
    os._exit(status)  # at once: a group that still waits for this process would keep it from ending


def _work(staging: Path, say: Callable[..., None]) -> None:
    import torch
    from pydantic import TypeAdapter

    from training.fit import distributed, stages
    from training.model import base_model

    job = TypeAdapter(Job).validate_json((staging / JOB).read_bytes())
    own = distributed.of_environment(job.prepared.forecast.config)
    device = base_model.usable_device(job.device)
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    quantisation = job.prepared.forecast.settings.quantisation
    assert quantisation != "auto", "a forecast leaves nothing open"
    base = base_model.load(
        job.model,
        job.models_folder,
        revision=job.revision,
        device="cpu" if own.config.sharded else device,  # where a part is all that fits, it is not the start
        precision=base_model.usable_precision(job.precision, device),
        quantisation=quantisation,
        thinking=job.thinking,
    )
    base = replace(base, device=device)

    def heard(progress: Progress) -> None:
        if own.leads:
            say(progress=asdict(progress))

    trained = stages.carry_out(
        base,
        job.splits,
        job.prepared,
        staging,
        job.stage,
        job.start,
        job.fewer_at_once,
        resume=job.resume,
        on_progress=heard,
        ranks=own,
    )
    if own.leads:
        told = {"folder": str(trained.folder), "metrics": trained.metrics}
        (staging / DONE).write_text(json.dumps(told), encoding="utf-8")
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _voice() -> Callable[..., None]:
    """What tells the starting process a line of JSON; whatever else is printed goes to standard error.

    A line is short enough to be written at one stroke, so those of several processes never mix.
    """
    channel = os.dup(1)
    os.dup2(2, 1)

    def say(**told: Any) -> None:
        os.write(channel, json.dumps(told).encode() + b"\n")

    return say


def _end_with_parent() -> None:
    """Wait for the end of standard input, whose other end only the starting process holds."""
    while os.read(0, 1):
        pass
    os._exit(FAILED)


def _told(error: Exception) -> dict[str, Any]:
    from training.model.base_model import is_out_of_memory

    expected = isinstance(error, ThumbloopError)
    cause = error.__cause__ if expected else error
    return {
        "problem": error.problem if isinstance(error, ThumbloopError) else _in_short(error),
        "remedy": error.remedy if isinstance(error, ThumbloopError) else "",
        "expected": expected,
        "out_of_memory": isinstance(cause, Exception) and is_out_of_memory(cause),
    }


def _in_short(error: Exception) -> str:
    told = " ".join(str(error).split())[:300]
    return f"A training process failed ({type(error).__name__}: {told})."


if __name__ == "__main__":
    main()
