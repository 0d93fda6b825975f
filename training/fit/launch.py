"""The trainings of a run in several processes on this machine, one for each GPU, by `accelerate launch`.

A stage is a group of processes (`worker.py`) that lives as long as it takes: the same training as in one
process, over shares of the same batches. What runs here starts it, hands on how far it is, and ends it. Only
the record's process is ever stopped or killed by a person: it holds the other end of the workers' standard
input, and all of them end with that. Leaves to others: what a stage does (`stages`), and how many processes
there are (`planning`).
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
from training.fit.planning import Stage
from training.fit.worker import DONE, JOB, Job
from training.progress import Progress

if TYPE_CHECKING:
    from training.fit.sft import Trained

HEARTBEAT_S: Final = 0.5
"""How often who listens is told how far it is, news or not, so that it can stop the training."""
GRACE_S: Final = 15.0
"""How long the launcher may take to end its processes before they are killed."""
LOG: Final = "ranks.log"
CONFIG: Final = "ranks-config.json"
LAST_WORDS: Final = 6000
"""Characters of the processes' output that are worth keeping when they fail."""
_LOST: Final = re.compile(r"connection (was )?(reset|closed|refused)|broken pipe", re.IGNORECASE)
_OFTEN: Final = "(somebody killed it, or memory ran out)"
_EXIT: Final = re.compile(r"exitcode: (-?\d+)\) local_rank: (\d+)")

log = logging.getLogger(__name__)


def refuse_to_be_a_rank() -> None:
    """Raise UsageError in a process that `accelerate launch` or torchrun started as one of several."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(
            "Training starts `accelerate launch` by itself.",
            "Call `thumbloop retrain` alone; THUMBLOOP_TRAINING__PROCESSES says on how many GPUs.",
        )


def train(
    job: Job, staging: Path, *, on_progress: Callable[[Progress], None] = lambda progress: None
) -> Trained:
    """All stages of a run in `staging`, each by a group of as many processes as the forecast says.

    `job` is the first stage's; of the others, only stage, start and memory are different. What `on_progress`
    raises ends all processes. Raises TrainingError; TrainingInterrupted when a process died.
    """

    def carry_out(stage: Stage, start: Path | None, fewer_at_once: int) -> Trained:
        now = replace(job, stage=stage, start=start, fewer_at_once=fewer_at_once)
        return _by_a_group(now, staging, on_progress)

    told = job.prepared.forecast
    return stages.in_turn(carry_out, told, staging, start=job.start, resume=job.resume)


def _by_a_group(job: Job, staging: Path, on_progress: Callable[[Progress], None]) -> Trained:
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
    said = (staging / LOG).read_text(encoding="utf-8", errors="replace")
    log.info("The training processes ended with status %s: %s", status, said[-LAST_WORDS:])
    raise failure(failures, said, processes)


@contextmanager
def _group(job: Job, staging: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The launcher with its processes, in a session of their own: Ctrl-C is for who holds the record."""
    told = job.prepared.forecast
    if told.settings.accelerate_config:
        config = Path(told.settings.accelerate_config).absolute()
    else:
        config = staging / CONFIG
        accelerate_config.write_plain(config, told.processes)
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config)]
    command += ["--num_processes", str(told.processes), "--num_machines", "1", "--main_process_port", "0"]
    command += ["--mixed_precision", "no", "-m", "training.fit.worker", str(staging.absolute())]
    with (staging / LOG).open("wb") as output:
        launcher = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            env=_environment(job, staging),
            start_new_session=True,
        )
    try:
        yield launcher
    finally:
        _end(launcher)


def _environment(job: Job, staging: Path) -> dict[str, str]:
    from training.model.base_model import usable_device

    root = str(Path(__file__).parents[1])
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    own = {
        "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH")))),
        "OMP_NUM_THREADS": str(max(1, cores // job.prepared.forecast.processes)),
        "TMPDIR": str(staging.absolute()),  # torchrun leaves a folder behind
    }
    if usable_device(job.device) == "cpu":
        own["ACCELERATE_USE_CPU"] = "true"
    return {**os.environ, **own}


def _messages(lines: IO[bytes] | None) -> Iterator[dict[str, Any]]:
    """What the processes say, until all have ended; nothing ({}) when they say nothing for a while."""
    assert lines is not None, "it was asked for"
    heard: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def listen() -> None:
        for line in lines:
            heard.put(line)
        heard.put(None)

    threading.Thread(target=listen, daemon=True).start()
    while True:
        try:
            line = heard.get(timeout=HEARTBEAT_S)
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
    assert launcher.stdin is not None and launcher.stdout is not None, "they were asked for"
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


def failure(failures: list[dict[str, Any]], said: str, processes: int) -> TrainingError:
    """Why the processes ended. When one dies the others fail for the want of it: that is no reason."""
    for told in failures:
        if told["out_of_memory"]:
            error = TrainingError(told["problem"], told["remedy"])
            error.__cause__ = MemoryError("out of memory")
            return error
    for told in failures:
        if told["expected"]:
            return TrainingError(told["problem"], told["remedy"])
    died = next((exit for exit in _EXIT.finditer(said) if int(exit[1]) < 0), None)
    if died:
        which, number = int(died[2]) + 1, -int(died[1])
        often = f" {_OFTEN}" if number == signal.SIGKILL else ""
        return TrainingInterrupted(
            f"The training was broken off: process {which} of {processes} died by signal {number}{often}."
        )
    if failures and all(_LOST.search(told["problem"]) for told in failures):
        # the launcher saw the others fail before it saw which one was gone
        return TrainingInterrupted(
            f"The training was broken off: one of {processes} processes died without a word {_OFTEN}."
        )
    return TrainingInterrupted(
        failures[0]["problem"] if failures else "The training processes did not start."
    )
