"""The trainings of a run in several processes on this machine, one for each GPU, by `accelerate launch`.

Each stage gets a group of processes (`worker.py`): the same training as in one process, over shares of the
same batches. This module starts the group, passes on its progress, and ends it. People only ever stop or kill
the process that holds the record: it keeps the other end of the workers' standard input, and they exit when
that closes. Leaves to others: what a stage does (`stages`), and how many processes there are (`forecast`).
"""

from __future__ import annotations

import json
import logging
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import psutil

from feedback.errors import UsageError
from training.errors import TrainingError, TrainingInterrupted
from training.fit import accelerate_config, stages
from training.fit.hyperparameters import Stage
from training.fit.worker import DONE, JOB, Job
from training.progress import Progress

if TYPE_CHECKING:
    from training.fit.sft import Trained

HEARTBEAT_S: Final = 0.5
"""How often progress is reported even without news, so that the listener can stop the training."""
GRACE_S: Final = 15.0
"""How long the launcher may take to end its processes before they are killed."""
LOG: Final = "ranks.log"
CONFIG: Final = "ranks-config.json"
OUTPUT_KEPT: Final = 6000
"""Characters of the processes' output that are logged when they fail."""
_LOST: Final = re.compile(r"connection (was )?(reset|closed|refused)|broken pipe", re.IGNORECASE)
_OFTEN: Final = "(somebody killed it, or memory ran out)"
_EXIT: Final = re.compile(r"exitcode: (-?\d+)\) local_rank: (\d+)")

log = logging.getLogger(__name__)


def refuse_inside_a_group() -> None:
    """Raise UsageError in a process that `accelerate launch` or torchrun started as one of several."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(
            "Training starts `accelerate launch` by itself.",
            "Call `thumbloop retrain` alone; THUMBLOOP_TRAINING__PROCESSES says on how many GPUs.",
        )


def train(
    job: Job, staging: Path, *, on_progress: Callable[[Progress], None] = lambda progress: None
) -> Trained:
    """All stages of a run in `staging`, each in a group of as many processes as the forecast says.

    `job` is the first stage's; those of later stages differ in stage, start and batch divisor only. What
    `on_progress` raises ends all processes. Raises TrainingError; TrainingInterrupted when a process died.
    """

    def train_stage(stage: Stage, start: Path | None, batch_divisor: int) -> Trained:
        own = replace(job, stage=stage, start=start, batch_divisor=batch_divisor)
        return _train_in_group(own, staging, on_progress)

    return stages.run_stages(train_stage, job.prepared.forecast, staging, start=job.start, resume=job.resume)


def _train_in_group(job: Job, staging: Path, on_progress: Callable[[Progress], None]) -> Trained:
    """One stage in a group of processes; what they measured, or the reason why they failed."""
    from pydantic import TypeAdapter

    from training.fit.sft import Trained

    processes = job.prepared.forecast.processes
    (staging / DONE).unlink(missing_ok=True)
    (staging / JOB).write_bytes(TypeAdapter(Job).dump_json(job))
    failures: list[dict[str, Any]] = []
    progress = Progress("training")
    try:
        with _group(job, staging) as launcher:
            for message in _messages(launcher.stdout):
                if "progress" in message:
                    progress = Progress(**message["progress"])
                    (staging / JOB).unlink(missing_ok=True)  # all have read it, and it quotes people
                elif "failure" in message:
                    failures.append(message["failure"])
                on_progress(progress)
            status = launcher.wait()
    finally:
        (staging / JOB).unlink(missing_ok=True)
    if status == 0 and (staging / DONE).is_file():
        done = json.loads((staging / DONE).read_bytes())
        return Trained(Path(done["folder"]), done["metrics"])
    output = (staging / LOG).read_text(encoding="utf-8", errors="replace")
    log.info("The training processes ended with status %s: %s", status, output[-OUTPUT_KEPT:])
    raise failure(failures, output, processes)


@contextmanager
def _group(job: Job, staging: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The launcher and its processes, in a session of their own so that Ctrl-C reaches only this process."""
    forecast = job.prepared.forecast
    if forecast.settings.accelerate_config:
        config = Path(forecast.settings.accelerate_config).absolute()
    else:
        config = staging / CONFIG
        accelerate_config.write_plain(config, forecast.processes)
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config)]
    command += ["--num_processes", str(forecast.processes), "--num_machines", "1", "--main_process_port", "0"]
    command += ["--mixed_precision", "no", "-m", "training.fit.worker", str(staging.absolute())]
    with (staging / LOG).open("wb") as output:
        launcher = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            env=environment(job, staging),
            start_new_session=True,
        )
    try:
        yield launcher
    finally:
        _end(launcher)


def environment(job: Job, staging: Path) -> dict[str, str]:
    """The launcher's environment: our packages can be imported from any folder, and cores are shared out."""
    from training.model.devices import usable_device

    root = str(Path(__file__).parents[2])
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = job.prepared.forecast.settings.threads or cores
    own = {
        "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH")))),
        "OMP_NUM_THREADS": str(max(1, threads // job.prepared.forecast.processes)),
        "TMPDIR": str(staging.absolute()),  # torchrun leaves a folder behind
    }
    if usable_device(job.model.device) == "cpu":
        own["ACCELERATE_USE_CPU"] = "true"
    return {**os.environ, **own}


def _messages(lines: IO[bytes] | None) -> Iterator[dict[str, Any]]:
    """The processes' messages until all have ended; an empty one when nothing came for a heartbeat."""
    assert lines is not None, "a pipe was asked for"
    received: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def listen() -> None:
        for line in lines:
            received.put(line)
        received.put(None)

    threading.Thread(target=listen, daemon=True).start()
    while True:
        try:
            line = received.get(timeout=HEARTBEAT_S)
        except queue.Empty:
            yield {}
            continue
        if line is None:
            return
        with suppress(ValueError):  # what a library prints before ours has begun
            message = json.loads(line)
            if isinstance(message, dict):
                yield message


def _end(launcher: subprocess.Popen[bytes]) -> None:
    """End the launcher and all processes under it, if they have not ended."""
    under: list[psutil.Process] = []
    with suppress(psutil.NoSuchProcess):
        under = psutil.Process(launcher.pid).children(recursive=True)
    assert launcher.stdin is not None and launcher.stdout is not None, "pipes were asked for"
    with suppress(OSError):
        launcher.stdin.close()  # this alone ends the workers
    if launcher.poll() is None:
        launcher.terminate()
    _, alive = psutil.wait_procs(under, timeout=GRACE_S)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    with suppress(subprocess.TimeoutExpired):
        launcher.wait(GRACE_S)
    launcher.kill()
    launcher.wait()
    launcher.stdout.close()


def failure(failures: list[dict[str, Any]], output: str, processes: int) -> TrainingError:
    """Why the processes ended. Those that failed because another one died do not count as the reason."""
    for report in failures:
        if report["out_of_memory"]:
            error = TrainingError(report["problem"], report["remedy"])
            error.__cause__ = MemoryError("out of memory")
            return error
    for report in failures:
        if report["expected"]:
            return TrainingError(report["problem"], report["remedy"])
    died = next((exit for exit in _EXIT.finditer(output) if int(exit[1]) < 0), None)
    if died:
        which, number = int(died[2]) + 1, -int(died[1])
        often = f" {_OFTEN}" if number == signal.SIGKILL else ""
        return TrainingInterrupted(
            f"The training was broken off: process {which} of {processes} died by signal {number}{often}."
        )
    if failures and all(_LOST.search(report["problem"]) for report in failures):
        # the launcher saw the others fail before it saw which one was gone
        return TrainingInterrupted(
            f"The training was broken off: one of {processes} processes died without a word {_OFTEN}."
        )
    return TrainingInterrupted(
        failures[0]["problem"] if failures else "The training processes did not start."
    )
