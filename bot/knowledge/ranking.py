"""Ranked lists into one, and one into a choice that says different things.

Reciprocal rank fusion (Cormack et al. 2009): score(d) = Σ over lists of 1 / (60 + rank of d), rank from 1.
Maximal marginal relevance (Carbonell and Goldstein 1998): next comes the d that has the most of
λ · relevance(d) − (1 − λ) · the greatest similarity of d to what was chosen before.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Final, TypeVar

RANK_CONSTANT: Final = 60
"""Cormack et al.'s k: how little the first places count above those after them."""

Item = TypeVar("Item", bound=Hashable)


def fuse(*lists: Sequence[Item], weights: Sequence[float] | None = None) -> dict[Item, float]:
    """The fused score of everything in any of the ranked `lists`, best first; `weights` are 1."""
    scores: dict[Item, float] = {}
    for ranked, weight in zip(lists, weights or [1.0] * len(lists), strict=True):
        for rank, item in enumerate(ranked, 1):
            scores[item] = scores.get(item, 0.0) + weight / (RANK_CONSTANT + rank)
    return dict(sorted(scores.items(), key=lambda scored: -scored[1]))


def diversify(
    relevance: Mapping[Item, float],
    similarity: Callable[[Item, Item], float],
    *,
    limit: int,
    trade_off: float,
) -> list[Item]:
    """At most `limit` of the items, by maximal marginal relevance with λ = `trade_off` (1: relevance alone).

    Relevance is scaled so that the best item has 1; `similarity` is in [0, 1].
    """
    left = dict(relevance)
    best = max(left.values(), default=1.0) or 1.0
    chosen: list[Item] = []
    while left and len(chosen) < limit:

        def marginal(item: Item) -> float:
            repeats = max((similarity(item, other) for other in chosen), default=0.0)
            return trade_off * left[item] / best - (1 - trade_off) * repeats

        following = max(left, key=marginal)
        chosen.append(following)
        del left[following]
    return chosen
