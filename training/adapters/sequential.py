"""Is one adapter better liked than another? A test that may be looked at after every vote.

A test of fixed size errs far more often than it says when somebody looks every day and stops at a good
moment; this one does not. Each block of observations is bet on: capital multiplies by 1 + λ(d - Δ₀), where d
is the block's difference in approval and Δ₀ the difference that is bet against. If Δ₀ were true nobody would
be expected to win, whatever λ, and the chance of ever reaching 1/α times the capital is at most α (Ville's
inequality). The differences that have not been bet out of the game are a confidence sequence: it holds at
all times at once. Bets and their mixture over several λ follow Waudby-Smith & Ramdas, "Estimating means of
bounded random variables by betting" (J. R. Stat. Soc. B 86(1), 2024, https://doi.org/10.1093/jrsssb/qkad009);
confidence sequences are those of Howard et al., "Time-uniform, nonparametric, nonasymptotic confidence
sequences" (Ann. Statist. 49(2), 2021). Assumed: within an arm, observations are alike and do not depend on
one another. Pure functions; leaves to others: what an observation is, and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Direction = Literal["more", "less"]

BETS: Final = np.geomspace(0.02, 0.5, 8)
"""The λ that capital is divided over equally. The best λ is about (Δ - Δ₀) by the variance of d, which is at
most 1: 0.1 for a gap of 5 points, 0.4 for one of 20. Half the capital at most is risked on a block, so none
ruins it: |d - Δ₀| < 2."""
GRID: Final = np.linspace(-1.0, 1.0, 401).round(3)
"""The differences that are tried, half a point apart."""


@dataclass(frozen=True)
class Difference:
    """The approval rate of one adapter minus another's, from -1 to 1, and where it surely lies.

    It is surely above `lower` and below `upper`; each errs with probability α at most, over all looks
    together. `blocks` were compared.
    """

    estimate: float
    lower: float
    upper: float
    blocks: int


def blocks(canary: Sequence[float], predecessor: Sequence[float], share: float) -> Floats:
    """The differences in approval of successive blocks, each in [-1, 1].

    Observations are in [0, 1], in the order in which they came. The arm with the smaller share gives one to a
    block and the other arm as many as it gets meanwhile: of one canary in five, each is held against the mean
    of four. That ratio is fixed by the share, so what is observed cannot steer it.
    """
    few = min(share, 1 - share)
    ratio = max(1, round((1 - few) / few)) if few > 0 else 1
    of_canary, of_predecessor = (1, ratio) if share <= 0.5 else (ratio, 1)
    number = min(len(canary) // of_canary, len(predecessor) // of_predecessor)
    means = [
        np.asarray(values[: number * size], dtype=np.float64).reshape(number, size).mean(axis=1)
        for values, size in ((canary, of_canary), (predecessor, of_predecessor))
    ]
    return np.asarray(means[0] - means[1], dtype=np.float64)


def log_capital(differences: Floats, against: float, direction: Direction) -> Floats:
    """The logarithm of the capital after each block of a bet that the mean difference is not `against`.

    It is bet that there is "more", or "less". (blocks,) in, (blocks,) out. Any number of series may be played
    at once: (..., blocks) in, (..., blocks) out.
    """
    gain = (differences - against) * (1.0 if direction == "more" else -1.0)
    each = np.cumsum(np.log1p(gain[..., np.newaxis, :] * BETS[:, np.newaxis]), axis=-1)
    most = each.max(axis=-2, keepdims=True)
    mixed: Floats = (most + np.log(np.exp(each - most).mean(axis=-2, keepdims=True)))[..., 0, :]
    return mixed


def difference(differences: Floats, alpha: float) -> Difference:
    """What the blocks so far say of the difference; each bound is wrong with probability `alpha` at most."""
    if not len(differences):
        return Difference(0.0, -1.0, 1.0, 0)
    threshold = np.log(1 / alpha)
    lower, upper = -1.0, 1.0
    # at (lower, upper) itself nothing can be bet, and what was ever bet out of the game stays out
    for against in GRID[1:-1]:
        if log_capital(differences, float(against), "more").max() < threshold:
            break
        lower = float(against)
    for against in GRID[-2:0:-1]:
        if log_capital(differences, float(against), "less").max() < threshold:
            break
        upper = float(against)
    return Difference(float(differences.mean()), lower, upper, len(differences))
