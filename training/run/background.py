"""A run's process steps back: priority, threads, memory, and who goes first when memory runs out.

For a process whose main job is a run, before it loads anything heavy. What several processes of a training
inherit is set here once. Leaves to others: waiting while answers are given (`training.making_way`).
"""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from pathlib import Path
from typing import Final

from training.settings import TrainingSettings

GOES_FIRST: Final = 500
"""Linux's `oom_score_adj` of a run, of 1000: when memory runs out it ends, and not the service."""
_PROC: Final = Path("/proc/self")


def step_back(settings: TrainingSettings) -> None:
    """Put this process behind those that answer, within the threads and the memory that it may have.

    `nice` counts within a session only where Linux groups processes by session (autogroups, see sched(7)),
    and a run that the service starts has a session of its own: there the whole group is niced.
    """
    os.nice(settings.niceness)
    with suppress(OSError):  # no Linux, or one without autogroups
        if os.getsid(0) == os.getpid() and (_PROC / "autogroup").exists():
            (_PROC / "autogroup").write_text(str(settings.niceness), encoding="ascii")
    with suppress(OSError):
        if int((_PROC / "oom_score_adj").read_text(encoding="ascii")) < GOES_FIRST:
            (_PROC / "oom_score_adj").write_text(str(GOES_FIRST), encoding="ascii")
    if settings.threads:
        os.environ["OMP_NUM_THREADS"] = str(settings.threads)
    if settings.memory_gib:
        most = round(settings.memory_gib * 2**30)
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(
            resource.RLIMIT_DATA, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard)
        )
