"""Pairs to train on, as many as a test needs; and the tiny model's settings that go with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.chronicle import Chronicle
from training.data.dataset import Splits
from training.data.pairs import TrainingPair
from training.fit.planning import Forecast
from training.model import base_model
from training.model.base_model import BaseModel
from training.progress import Progress
from training.run.retrain import ModelChoice, Outcome, retrain
from training.settings import GateSettings, TrainingSettings


def pair(number: int, answer: str | None = None) -> TrainingPair:
    """One question of a series, all about the same length."""
    return TrainingPair(f"What is item {number}?", output=answer or f"Item {number} is a lamp.")


def splits(train: int = 8, validation: int = 2, examination: int = 2) -> Splits:
    """A dataset of that many pairs."""
    series = [pair(number) for number in range(train + validation + examination)]
    return Splits(
        series[:train],
        series[train : train + validation],
        series[train + validation :],
        dataset="community@1",
        content_hash="0" * 64,
    )


def settings(**given: Any) -> TrainingSettings:
    """Settings for a tiny run: few steps, a rate that shows at once."""
    return TrainingSettings(**{"rank": 4, "alpha": 8, "epochs": 2, "learning_rate": 0.01, **given})


def load(folder: Path, **given: Any) -> BaseModel:
    """The model in `folder`, on the CPU and in fp32 unless told otherwise."""
    return base_model.load(str(folder), folder.parent, **{"device": "cpu", "precision": "fp32", **given})


async def retrained(
    chronicle: Chronicle,
    data: Path,
    folder: Path,
    *,
    on_plan: Callable[[Forecast], None] = lambda told: None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    **given: Any,
) -> Outcome:
    """A whole run on a few pairs, with the model in `folder` on the CPU."""
    return await retrain(
        chronicle.database,
        data=data,
        model=ModelChoice(str(folder), folder.parent, device="cpu", precision="fp32"),
        settings=settings(**{"min_pairs": 4, "validation_share": 0.2, "examination_questions": 4, **given}),
        default_persona="plain",
        started_by="ada",
        gate_settings=GateSettings(min_questions=1),
        on_plan=on_plan,
        on_progress=on_progress,
    )
