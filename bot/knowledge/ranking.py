"""Scored lists into one, and one into a choice that says different things.

Fusion by the distribution of scores: each list's scores are set to mean 0 and standard deviation 1, so that
BM25 and cosines can be added; what a list lacks counts as its worst. On the demo community's paraphrases
that finds more than reciprocal rank fusion (Cormack et al. 2009), which throws away by how much the first
is better than the second (`python -m tests.benchmarks.knowledge` shows both). Maximal marginal relevance
(Carbonell and Goldstein 1998): next comes the d that has the most of λ · relevance(d) − (1 − λ) · the
greatest similarity of d to what was chosen before.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from statistics import fmean, pstdev
from typing import TypeVar

Item = TypeVar("Item", bound=Hashable)


def fuse(*lists: Mapping[Item, float]) -> dict[Item, float]:
    """The fused score of everything in any of the `lists` of scores, best first."""
    fused = dict.fromkeys((item for scores in lists for item in scores), 0.0)
    for scores in lists:
        if not scores:
            continue
        mean, deviation = fmean(scores.values()), pstdev(scores.values()) or 1.0
        worst = min(scores.values())
        for item in fused:
            fused[item] += (scores.get(item, worst) - mean) / deviation
    return dict(sorted(fused.items(), key=lambda scored: -scored[1]))


def diversify(
    relevance: Mapping[Item, float],
    similarity: Callable[[Item, Item], float],
    *,
    limit: int,
    trade_off: float,
) -> list[Item]:
    """At most `limit` of the items, by maximal marginal relevance with λ = `trade_off` (1: relevance alone).

    Relevance is scaled so that the best item has 1 and the worst 0; `similarity` is in [0, 1].
    """
    best, worst = max(relevance.values(), default=0.0), min(relevance.values(), default=0.0)
    left = {item: (score - worst) / ((best - worst) or 1.0) for item, score in relevance.items()}
    chosen: list[Item] = []
    while left and len(chosen) < limit:

        def marginal(item: Item) -> float:
            repeats = max((similarity(item, other) for other in chosen), default=0.0)
            return trade_off * left[item] - (1 - trade_off) * repeats

        following = max(left, key=marginal)
        chosen.append(following)
        del left[following]
    return chosen
