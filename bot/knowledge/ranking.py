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
from typing import Final, TypeVar

MEANING: Final = 2.0
"""How much nearness of meaning counts beside words. Chosen on the demo community's own wordings, each looked
for by means of the others: the right answer is among three for 0.75 with 1, 0.77 with 1.5, 0.79 with 2."""

Item = TypeVar("Item", bound=Hashable)


def fuse(by_words: Mapping[Item, float], by_meaning: Mapping[Item, float]) -> dict[Item, float]:
    """The fused score of everything in either list of scores, best first."""
    fused = dict.fromkeys((*by_words, *by_meaning), 0.0)
    for scores, weight in ((by_words, 1.0), (by_meaning, MEANING)):
        if not scores:
            continue
        mean, deviation = fmean(scores.values()), pstdev(scores.values()) or 1.0
        worst = min(scores.values())
        for item in fused:
            fused[item] += weight * (scores.get(item, worst) - mean) / deviation
    return dict(sorted(fused.items(), key=lambda scored: -scored[1]))


def diversify(
    relevance: Mapping[Item, float],
    similarity: Callable[[Item, Item], float],
    *,
    limit: int,
    trade_off: float,
    worst: float,
) -> list[Item]:
    """At most `limit` of the items, by maximal marginal relevance with λ = `trade_off` (1: relevance alone).

    Relevance comes best first and is scaled so that the best item has 1 and `worst` is 0; `similarity` is in
    [0, 1], and asked for only where it may decide.
    """
    best = next(iter(relevance.values()), 0.0)
    left = {item: (score - worst) / ((best - worst) or 1.0) for item, score in relevance.items()}
    chosen: list[Item] = []
    while left and len(chosen) < limit:
        following, highest = next(iter(left)), float("-inf")
        for item, relevant in left.items():
            if trade_off * relevant <= highest:
                break  # and so are those behind it, however different they are
            repeats = max((similarity(item, other) for other in chosen), default=0.0)
            marginal = trade_off * relevant - (1 - trade_off) * repeats
            if marginal > highest:
                following, highest = item, marginal
        chosen.append(following)
        del left[following]
    return chosen
