"""How far a run is, in a form that a progress bar, a log line and a database column can show."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Literal

Step = Literal["dataset", "training", "evaluation", "verdict", "deployment"]


@dataclass(frozen=True)
class Progress:
    """`done` of `total` units of a step; the unit is an optimiser step in training, a batch in evaluation.

    `per_second` is tokens per second, 0 while unknown. `figures` are the latest measurements, such as loss,
    and `curve` those of the training by "step". `seconds_left` is until the whole run ends, None while
    nobody knows.
    """

    step: Step
    done: int = 0
    total: int = 0
    per_second: float = 0.0
    figures: dict[str, float] = field(default_factory=dict)
    curve: tuple[dict[str, float], ...] = ()
    seconds_left: float | None = None


class Pace:
    """How long work still takes, from how fast it went since it was first looked at.

    The first unit does not count: until then a step loads and prepares, and a run that goes on where an
    earlier one was broken off has done much at once.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._work: Hashable = None
        self._since_s = 0.0
        self._since_done = 0

    def seconds_left(self, work: Hashable, done: int, total: int) -> float | None:
        """Seconds until `total` units of `work` are done; None while no pace is known."""
        now = self._clock()
        if work != self._work or not 0 < self._since_done <= done:
            self._work, self._since_s, self._since_done = work, now, done
        made = done - self._since_done
        return (total - done) * (now - self._since_s) / made if made > 0 and total else None
