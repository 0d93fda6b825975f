"""Pairs to train on, as many as a test needs; and the tiny model's settings that go with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from training import base_model
from training.base_model import BaseModel
from training.dataset import Splits
from training.pairs import TrainingPair
from training.settings import TrainingSettings


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
