"""How far a run is, in a form that a progress bar, a log line and a database column can show."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Step = Literal["dataset", "training", "evaluation", "verdict", "deployment"]


@dataclass(frozen=True)
class Progress:
    """`done` of `total` units of a step; the unit is an optimiser step in training, a batch in evaluation.

    `per_second` is tokens per second, 0 while unknown. `figures` are the latest measurements, such as loss.
    """

    step: Step
    done: int = 0
    total: int = 0
    per_second: float = 0.0
    figures: dict[str, float] = field(default_factory=dict)
