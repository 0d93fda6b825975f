"""A run as it goes: its loss curve so far, and how long the whole of it still takes.

Lives in the run's own process, which has seen all of it, so that a page opened late is told the same as one
that was there from the beginning. A run is its training and then its examination, in which every subject is
asked the same, the base model first. What is ahead is estimated from what was measured, in this run or in the
one before it here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from training.progress import Pace, Progress

MOST_POINTS: Final = 240
"""Points of a curve that are kept; from then on every second one goes."""
TOKENS_A_QUESTION: Final = 500.0
"""What asking the base model one question costs, in tokens of training: where no run was measured here yet.

Two runs of a model of 135M parameters on two cores came to 370 and 680. From the first run on what was
measured takes its place."""
ADAPTER_COST: Final = 1.3
"""What an adapter's examination costs, in the base model's: in runs on two cores 1.0, 1.2, 1.3 and 1.7."""


@dataclass(frozen=True)
class Ahead:
    """The forecast of a training, and what its examination costs, in questions to the base model.

    `question_s` is what such a question took in an earlier run here, None where there was none.
    """

    seconds: float
    tokens: int
    steps: int
    asked: float
    question_s: float | None = None


class Live:
    """Adds curve and time left to the progress of one run. Call it from one thread at a time.

    `asked` is what its examination cost, in questions to the base model.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.asked = 0.0
        self._clock = clock
        self._pace = Pace(clock)
        self._curve: list[dict[str, float]] = []
        self._ahead: Ahead | None = None
        self._subjects = 1
        self._step_s: float | None = None
        self._evaluating_since_s: float | None = None
        self._subject_since_s = 0.0
        self._base_s: float | None = None
        self._subject = 0
        self._first: list[tuple[float, float]] = [(0.0, 0.0)]

    def expect(self, ahead: Ahead) -> None:
        """From now on the time left is known."""
        self._ahead = ahead

    def examining(self, subjects: int, questions: int) -> None:
        """That many subjects are asked the same questions, one after the other, from now on."""
        self._subjects, self.asked = subjects, cost(subjects) * questions
        self._evaluating_since_s = self._subject_since_s = self._clock()

    def told(self, progress: Progress) -> Progress:
        """The progress with what is known of the run as a whole."""
        if progress.step == "training":
            self._draw(progress)
        return replace(progress, curve=tuple(self._curve), seconds_left=self._left(progress))

    def _draw(self, progress: Progress) -> None:
        point = {"step": float(progress.done), **progress.figures}
        known = self._curve[-1] if self._curve else {}
        if not progress.figures or {**known, "step": 0.0} == {**point, "step": 0.0}:
            return
        self._curve.append(point)
        if len(self._curve) > MOST_POINTS:
            self._curve = self._curve[::2]

    def _left(self, progress: Progress) -> float | None:
        if progress.step == "training":
            training = self._pace.seconds_left("training", progress.done, progress.total)
            if self._ahead is None:
                return None
            if training is None:
                training = self._ahead.seconds
            elif progress.total > progress.done:
                self._step_s = training / (progress.total - progress.done)
            return training + self._examination()
        if progress.step == "evaluation":
            return self._of_examination(progress)
        return 0.0 if progress.step in ("verdict", "deployment") else None

    def _examination(self) -> float:
        """Seconds of the whole examination, before it has begun."""
        assert self._ahead is not None, "asked only once something is expected"
        if self._ahead.question_s is not None:
            return self._ahead.question_s * self._ahead.asked
        step_s = self._step_s or self._ahead.seconds / max(self._ahead.steps, 1)
        token_s = step_s * self._ahead.steps / max(self._ahead.tokens, 1)
        return TOKENS_A_QUESTION * token_s * self._ahead.asked

    def _of_examination(self, progress: Progress) -> float | None:
        """What is left of the examination: the time that subjects took says what the others will take.

        Within a subject too: at every unit the first one had spent some share of its time, and so has this.
        """
        if self._evaluating_since_s is None:
            return None if self._ahead is None else self._examination()
        now_s = self._clock()
        share = progress.total / self._subjects if progress.total else 0.0
        asked = min(int(progress.done / share), self._subjects) if share else 0
        if asked > self._subject:
            self._base_s = (now_s - self._evaluating_since_s) / cost(asked)
            if not self._subject:
                self._first.append((share, now_s - self._evaluating_since_s))
            self._subject, self._subject_since_s = asked, now_s
        spent_s = now_s - self._subject_since_s
        if not self._subject:
            self._first.append((progress.done, spent_s))
        base_s = self._base_s
        if base_s is None:
            if self._ahead is None:
                return None
            base_s = self._examination() / cost(self._subjects)
        this = cost(self._subject + 1) - cost(self._subject)
        later = max(cost(self._subjects) - cost(self._subject + 1), 0.0)
        if not self._subject:
            base_s = max(base_s, spent_s / this)  # one that takes longer than it should: so will the others
            return base_s * (this + later) - spent_s
        if self._subject == self._subjects:
            return 0.0
        units = [unit for unit, _ in self._first]
        seconds = [second for _, second in self._first]
        gone = float(np.interp(progress.done - self._subject * share, units, seconds)) / seconds[-1]
        # the further it has come, the more its own pace counts against what was expected
        this_s = spent_s + (1 - gone) * base_s * this
        return (1 - gone) * this_s + this_s / this * later


def cost(subjects: int) -> float:
    """What examining the first `subjects` costs, in the base model's examination."""
    return 1.0 + ADAPTER_COST * (subjects - 1) if subjects else 0.0
