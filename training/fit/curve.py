"""A training's curve, whatever the method: kept, reported after every step, ended by a validation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from transformers import TrainerCallback, TrainerControl, TrainerState

from training.progress import Progress

_NAMES: Final = {
    "step": "step",
    "loss": "loss",
    "eval_loss": "validation_loss",
    "eval_rewards/margins": "reward_margin",
}
"""The trainers' names of what is kept, with ours."""


class Reporter(TrainerCallback):  # type: ignore[misc]
    """Reports progress after every step, keeps the curve, and ends with a validation."""

    def __init__(self, on_progress: Callable[[Progress], None]) -> None:
        self.on_progress = on_progress
        self.curve: list[dict[str, float]] = []
        self.per_second = 0.0

    def last(self, name: str) -> float | None:
        """The newest point of a curve."""
        return next((point[name] for point in reversed(self.curve) if name in point), None)

    def on_train_begin(self, _: Any, state: TrainerState, *__: Any, **___: Any) -> None:
        """A resumed run brings its curve along."""
        points = [_point(entry) for entry in state.log_history]
        self.curve = [point for point in points if point.keys() > {"step"}]

    def on_step_end(self, _: Any, state: TrainerState, control: TrainerControl, **__: Any) -> None:
        """Report, and let the last step be validated and saved, wherever it falls."""
        if state.global_step >= state.max_steps:
            control.should_evaluate = control.should_save = True
        self._report(state)

    def on_log(self, _: Any, state: TrainerState, *__: Any, logs: dict[str, float], **___: Any) -> None:
        """Keep what was measured."""
        point = _point({**logs, "step": state.global_step})
        if point.keys() > {"step"}:
            self.curve.append(point)
            self._report(state)

    def _report(self, state: TrainerState) -> None:
        names = [name for name in _NAMES.values() if name != "step"]
        figures = {name: figure for name in names if (figure := self.last(name)) is not None}
        self.on_progress(Progress("training", state.global_step, state.max_steps, self.per_second, figures))


def _point(entry: dict[str, float]) -> dict[str, float]:
    return {ours: entry[theirs] for theirs, ours in _NAMES.items() if theirs in entry}
