"""How sure a difference is between two subjects that answered the same questions: the paired bootstrap.

Knows numbers only. Efron (1979) for the method and its percentile interval, Koehn (2004) for drawing the test
set anew to compare two systems on it. The same numbers and seed give the same interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

RESAMPLES: Final = 2000
"""Draws of the question set: enough that the ends of a 95 % interval hardly move with the seed."""
_NO_SPREAD: Final = 1e-9
MOST_AT_ONCE: Final = 4_000_000
"""Draws times questions that are in memory at once."""


@dataclass(frozen=True)
class Interval:
    """A difference of two means and the range in which it lies with the confidence asked for."""

    difference: float
    low: float
    high: float


def paired(
    ours: Sequence[float],
    theirs: Sequence[float],
    weights: Sequence[float] | None = None,
    *,
    confidence: float,
    seed: int,
) -> Interval:
    """The mean of `ours` less that of `theirs`, question by question; both and `weights` are [questions].

    Weighted by `weights`, or each question alike. Without a question, or where a value is no number or a
    weight nothing, all three are NaN. Raises ValueError when the lengths differ.
    """
    if len(ours) != len(theirs) or (weights is not None and len(weights) != len(ours)):
        raise ValueError(f"{len(ours)} values against {len(theirs)}: they are not of the same questions")
    differences = np.asarray(ours, dtype=float) - np.asarray(theirs, dtype=float)
    weight = np.ones_like(differences) if weights is None else np.asarray(weights, dtype=float)
    if not len(differences) or not np.isfinite(differences).all() or not (weight > 0).all():
        return Interval(math.nan, math.nan, math.nan)
    generator = np.random.default_rng(seed)
    questions = len(differences)
    means: list[np.ndarray] = []
    left = RESAMPLES
    while left:
        draws = min(left, max(1, MOST_AT_ONCE // questions))
        drawn = generator.integers(questions, size=(draws, questions))
        means.append((differences * weight)[drawn].sum(axis=1) / weight[drawn].sum(axis=1))
        left -= draws
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return Interval(float((differences * weight).sum() / weight.sum()), float(low), float(high))


def by_spread(differences: np.ndarray) -> np.ndarray:
    """[signs] weights that sum to 1, as the inverse standard deviations of [signs, questions].

    A sign that differs alike everywhere has no weight where another spreads; where none does, all weigh
    alike.
    """
    spread = differences.std(axis=1)
    inverse = np.divide(1, spread, out=np.zeros_like(spread), where=spread > _NO_SPREAD)
    return inverse / inverse.sum() if inverse.any() else np.full_like(spread, 1 / len(spread))


def sign_test(wins: int, losses: int) -> float:
    """The two-sided probability that a fair coin falls so unevenly or more; ties are left out before.

    On right and wrong answers this is McNemar's test in its exact form (McNemar 1947).
    """
    tosses = wins + losses
    tail = sum(math.comb(tosses, heads) for heads in range(max(wins, losses), tosses + 1))
    return min(1.0, float(2 * tail / 2**tosses))
