"""Training makes way for answers: a lock that whoever answers holds, and that training looks at.

Priority alone does not keep answers quick. Niced or not, training fills the caches and every gap in which the
engine computes on one core, and under Linux's autogroups `nice` does not count between sessions at all. So a
process that answers holds a lock on a file of the data folder while it has work, and training looks at the
lock between two layers of the model, a few hundredths of a second apart. The operating system gives the lock
back when its process dies, so nobody waits for a dead one; and stopping the training's process by a signal
instead could stop it in the middle of a transaction that answers wait for. Leaves to others: priorities
(`training.run.background`).
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

ANSWERING: Final = "answering.lock"
"""The file in the data folder; several processes that answer share its lock."""
LOOK_EVERY_S: Final = 0.02
"""How often training that waits looks whether all answers are given."""
PATIENCE_S: Final = 20.0
"""How long training waits for answers that never end, as on a busy day."""
TURN_S: Final = 1.0
"""How long it then works before it waits again: one second in twenty-one, so every run comes to an end."""
_TRIES: Final = 5
_BETWEEN_TRIES_S: Final = 0.001


class Answering:
    """Says to training that answers are under way. For one thread at a time."""

    def __init__(self, data: Path) -> None:
        """`data` is the data folder, made at the first answer where it is missing."""
        self._file = data / ANSWERING
        self._descriptor: int | None = None

    def begin(self) -> None:
        """Hold the lock; calling it again does nothing. A folder that cannot be written is no reason to fail.

        Training looks at the lock for a few microseconds, so a failed try is repeated, but nobody waits.
        """
        if self._descriptor is not None:
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return
        for _ in range(_TRIES):
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
                self._descriptor = descriptor
                return
            time.sleep(_BETWEEN_TRIES_S)
        os.close(descriptor)

    def end(self) -> None:
        """Give the lock back."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class MakingWay:
    """Called between two pieces of work, waits while anybody answers. `waited_s` sums up for how long.

    Where answers never end it waits `PATIENCE_S`, then lets the training work for `TURN_S`. `sleep` waits for
    some seconds, `clock` tells them.
    """

    def __init__(
        self,
        data: Path,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._file = data / ANSWERING
        self._clock = clock
        self._sleep = sleep
        self._turn_ends = -float("inf")
        self.waited_s = 0.0

    def __call__(self) -> None:
        """Return when nobody answers, or when it is training's turn."""
        began = self._clock()
        if began < self._turn_ends:
            return
        while self._somebody_answers():
            if self._clock() - began >= PATIENCE_S:
                self._turn_ends = max(self._turn_ends, self._clock() + TURN_S)
            if self._clock() < self._turn_ends:
                break
            self._sleep(LOOK_EVERY_S)
        self.waited_s += self._clock() - began

    def hurry(self) -> None:
        """Wait no more: the run is to come to its end."""
        self._turn_ends = float("inf")

    def _somebody_answers(self) -> bool:
        try:
            descriptor = os.open(self._file, os.O_RDWR | os.O_CLOEXEC)
        except OSError:  # nobody ever answered from this folder
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # a file system without locks
            return False
        finally:
            os.close(descriptor)
        return False


def between_layers(model: Any, make_way: Callable[[], None]) -> None:
    """Have `make_way` called before every layer of a transformers model, and after it on the way back.

    Whatever is computed with the model makes way from then on: training, validation, generation, scores. The
    layers are the model's largest `ModuleList`; one without gets none of this.
    """
    import torch

    lists = [module for module in model.modules() if isinstance(module, torch.nn.ModuleList)]
    layers = max(lists, key=len, default=())

    def before(_: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        make_way()
        hidden = arguments[0] if arguments else named.get("hidden_states")
        if isinstance(hidden, torch.Tensor) and hidden.requires_grad:
            hidden.register_hook(lambda gradient: make_way())  # type: ignore[no-untyped-call]

    for layer in layers:
        layer.register_forward_pre_hook(before, with_kwargs=True)
