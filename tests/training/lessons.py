"""Pairs to train on, as many as a test needs; and the tiny model's settings that go with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.chronicle import Chronicle
from training.data.dataset import Splits
from training.data.pairs import PreferencePair, Thumb, TrainingPair
from training.data.preferences import Preferences
from training.fit.forecast import Forecast
from training.model.base_model import BaseModel, ModelChoice
from training.progress import Progress
from training.run.conclusion import Outcome
from training.run.retrain import retrain
from training.settings import GateSettings, Quantisation, TrainingSettings

LENIENT = GateSettings(min_questions=1, min_gain=-1, max_worse_general_loss=5, max_worse_nearest_own=1)
"""A tiny record holds back one or two questions, and a tiny model learns nothing that is right."""


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
    """Settings for a tiny run: few steps, a rate that shows at once, nothing beside the pairs."""
    nothing = {"replay_weight": 0, "contrast_weight": 0}
    tiny = {"rank": 4, "alpha": 8, "epochs": 2, "learning_rate": 0.01, **nothing}
    return TrainingSettings(**{**tiny, **given})


def choice(folder: Path, **given: Any) -> ModelChoice:
    """The model in `folder`, on the CPU and in fp32 unless the test says otherwise."""
    return ModelChoice(str(folder), folder.parent, **{"device": "cpu", "precision": "fp32", **given})


def load(folder: Path, quantisation: Quantisation = "none", **given: Any) -> BaseModel:
    """That model in memory."""
    return choice(folder, **given).load(quantisation)


async def retrained(
    chronicle: Chronicle,
    data: Path,
    folder: Path,
    *,
    on_plan: Callable[[Forecast], None] = lambda forecast: None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    **given: Any,
) -> Outcome:
    """A whole run on a few pairs, with the model in `folder` on the CPU."""
    return await retrain(
        chronicle.database,
        data=data,
        model=choice(folder),
        settings=settings(**{"min_pairs": 4, "validation_share": 0.2, "examination_questions": 4, **given}),
        default_persona="plain",
        started_by="ada",
        gate_settings=LENIENT,
        on_plan=on_plan,
        on_progress=on_progress,
    )


def preferences(pairs: int = 0, up: int = 0, down: int = 0) -> Preferences:
    """So many preference pairs and thumbs to train on."""
    found = Preferences()
    found.pairs["train"] += [PreferencePair("A?", chosen="b", rejected="c")] * pairs
    for desirable, count in ((True, up), (False, down)):
        found.thumbs["train"] += [
            Thumb("A?", output="b", desirable=desirable, lineage={"origin": "votes"})
        ] * count
    return found
