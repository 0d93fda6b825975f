"""One of several processes that train together: `-m training.fit.worker FOLDER`, by `accelerate launch`.

`launch.py` starts them and leaves their job in the folder's `ranks.json`. A worker loads the base model onto
its own device and trains one stage. None of them opens the record: the first one writes the stage's files,
reports progress, and leaves what it measured in `ranks-done.json`; each reports its own failure. All of them
exit as soon as the process that started them does, however that ended.
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
from training.fit.hyperparameters import Stage
from training.fit.stages import Prepared
from training.model.base_model import ModelChoice
from training.progress import Progress

JOB: Final = "ranks.json"
DONE: Final = "ranks-done.json"
FAILED: Final = 1


@dataclass(frozen=True)
class Job:
    """A stage for several processes to train: the base model, and what `stages.train_stage` takes.

    `data` is the data folder, where it is seen whether answers are given.
    """

    model: ModelChoice
    splits: Splits
    prepared: Prepared
    stage: Stage
    start: Path | None
    resume: bool
    data: Path
    batch_divisor: int = 1


def main() -> NoReturn:
    """Do the job, and exit with 0 when it is done."""
    send = _open_channel()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    status = 0
    try:
        _work(Path(sys.argv[1]), send)
    except Exception as error:  # the outermost edge of this process: whatever it is, it is reported
        traceback.print_exc()
        send(failure=describe_error(error))
        status = FAILED
    sys.stderr.flush()
    os._exit(status)  # at once: a process group that still waits for this one would keep it from exiting


def _work(staging: Path, send: Callable[..., None]) -> None:
    """Load the model and train the stage of the job in `staging`; the first rank writes the result."""
    import torch
    from pydantic import TypeAdapter

    from training.fit import distributed, stages
    from training.making_way import MakingWay, between_layers
    from training.model import devices

    job = TypeAdapter(Job).validate_json((staging / JOB).read_bytes())
    own = distributed.of_environment(job.prepared.forecast.config)
    device = devices.usable_device(job.model.device)
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    quantisation = job.prepared.forecast.settings.quantisation
    assert quantisation != "auto", "a forecast leaves nothing open"
    choice = replace(
        job.model,
        device="cpu" if own.config.sharded else device,  # the whole of a sharded model may not fit on a GPU
        precision=devices.usable_precision(job.model.precision, device),
    )
    base = replace(choice.load(quantisation), device=device)
    between_layers(base.model, MakingWay(job.data))

    def report(progress: Progress) -> None:
        if own.leads:
            send(progress=asdict(progress))

    trained = stages.train_stage(
        base,
        job.splits,
        job.prepared,
        staging,
        job.stage,
        job.start,
        job.batch_divisor,
        resume=job.resume,
        on_progress=report,
        ranks=own,
    )
    if own.leads:
        result = {"folder": str(trained.folder), "metrics": trained.metrics}
        (staging / DONE).write_text(json.dumps(result), encoding="utf-8")
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _open_channel() -> Callable[..., None]:
    """A function that sends the starting process a line of JSON; all other output goes to standard error.

    A line is short enough for one write, so the lines of several processes never mix.
    """
    channel = os.dup(1)
    os.dup2(2, 1)

    def send(**message: Any) -> None:
        os.write(channel, json.dumps(message).encode() + b"\n")

    return send


def _end_with_parent() -> None:
    """Wait for the end of standard input, whose other end only the starting process holds."""
    while os.read(0, 1):
        pass
    os._exit(FAILED)


def describe_error(error: Exception) -> dict[str, Any]:
    """What the starting process needs to know of an error, as JSON: see `launch.failure`."""
    from training.model.libraries import is_out_of_memory

    expected = isinstance(error, ThumbloopError)
    cause = error.__cause__ if expected else error
    return {
        "problem": error.problem if isinstance(error, ThumbloopError) else _one_line(error),
        "remedy": error.remedy if isinstance(error, ThumbloopError) else "",
        "expected": expected,
        "out_of_memory": isinstance(cause, Exception) and is_out_of_memory(cause),
    }


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())[:300]
    return f"A training process failed ({type(error).__name__}: {text})."


if __name__ == "__main__":
    main()
