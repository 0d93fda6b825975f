"""Ways to decide on a canary: ours, by the real functions; and what it is held against.

Each says what it decided and in which week, or that it did not within the weeks that there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tests.simulation.communities import Community, Judgements
from training.adapters import sequential
from training.settings import RolloutSettings

SETTINGS: Final = RolloutSettings(share=0.5)
FIXED: Final = 1471
"""Judged answers of each arm that a test of fixed size needs, to see 5 points at 65 % approval with 80 %
power at 5 % on two sides: 2 (1.96 + 0.84)² 0.65 · 0.35 / 0.05², which is 1427, and 3 % more for drift."""
SURE: Final = 1.959964


@dataclass(frozen=True)
class Decided:
    """What became of a canary: "promoted", "rolled back" or "" and in which week, counted from 1."""

    outcome: str
    week: int = 0
    judged: int = 0


Method = Callable[[Community, np.random.Generator], Decided]


def ours(community: Community, draw: np.random.Generator) -> Decided:
    """The product's rule, looked at after every judged answer."""
    return by_our_rule(community.judge(draw, SETTINGS.share))


def by_our_rule(judged: Judgements) -> Decided:
    """What the product's rule makes of these judgements: as `rollout.rule`, at each of them at once."""
    canary, before = judged.is_canary, ~judged.is_canary
    differences = sequential.blocks(judged.approved[canary], judged.approved[before], SETTINGS.share)
    surely = math.log(1 / (1 - SETTINGS.confidence))
    better = sequential.log_capital(differences, -SETTINGS.max_worse_approval, "more") >= surely
    worse = sequential.log_capital(differences, 0.0, "less") >= surely
    first = {
        "rolled back": _first(worse),
        "promoted": _first(better),
    }
    outcome = min(first, key=lambda name: first[name])
    if first[outcome] == _NEVER:
        return Decided("")
    # a block is whole when the later of its two answers has been judged
    both = np.minimum(np.cumsum(canary), np.cumsum(before))
    at = int(np.searchsorted(both, first[outcome] + 1))
    return Decided(outcome, int(judged.week[at]) + 1, at + 1)


def peeking(community: Community, draw: np.random.Generator) -> Decided:
    """A two-sided z-test at 5 % as if its size were fixed, looked at each week until it says something."""
    return _by_test(community.judge(draw, SETTINGS.share), looks=None)


def fixed(community: Community, draw: np.random.Generator) -> Decided:
    """The same test once, when `FIXED` answers of each arm are judged."""
    return _by_test(community.judge(draw, SETTINGS.share), looks=FIXED)


def bandit(community: Community, draw: np.random.Generator) -> Decided:
    """Thompson sampling, its share drawn anew each week; decided when one arm is better with 97.5 %."""
    wins, losses = np.ones(2), np.ones(2)
    share, judged = 0.5, 0
    whole = community.judge(draw, 0.5)
    for week in range(int(whole.week[-1]) + 1 if len(whole.week) else 0):
        here = whole.week == week
        # drawn with half each; as many of either arm are kept as its share gives
        kept = here & (draw.random(len(here)) < np.where(whole.is_canary, share, 1 - share))
        for arm, chosen in enumerate((kept & ~whole.is_canary, kept & whole.is_canary)):
            wins[arm] += whole.approved[chosen].sum()
            losses[arm] += (1 - whole.approved[chosen]).sum()
        judged += int(kept.sum())
        samples = draw.beta(wins[:, np.newaxis], losses[:, np.newaxis], (2, 2000))
        share = float((samples[1] > samples[0]).mean())
        if share > 0.975:
            return Decided("promoted", week + 1, judged)
        if share < 0.025:
            return Decided("rolled back", week + 1, judged)
        share = min(max(share, 0.05), 0.95)
    return Decided("")


METHODS: Final[dict[str, Method]] = {
    "ours": ours,
    "fixed size, looked at weekly": peeking,
    "fixed size, looked at once": fixed,
    "bandit (Thompson)": bandit,
}
_NEVER: Final = 2**62


def _first(sure: NDArray[np.bool_]) -> int:
    return int(np.argmax(sure)) if sure.any() else _NEVER


def _by_test(judged: Judgements, looks: int | None) -> Decided:
    for week in range(int(judged.week[-1]) + 1 if len(judged.week) else 0):
        until = judged.week <= week
        ours = judged.approved[until & judged.is_canary]
        theirs = judged.approved[until & ~judged.is_canary]
        if looks is not None:
            if min(len(ours), len(theirs)) < looks:
                continue
            ours, theirs = ours[:looks], theirs[:looks]
        if min(len(ours), len(theirs)) < 5:
            continue
        pooled = (ours.sum() + theirs.sum()) / (len(ours) + len(theirs))
        error = math.sqrt(max(pooled * (1 - pooled), 1e-9) * (1 / len(ours) + 1 / len(theirs)))
        z = (ours.mean() - theirs.mean()) / error
        if z > SURE:
            return Decided("promoted", week + 1, int(until.sum()))
        if z < -SURE:
            return Decided("rolled back", week + 1, int(until.sum()))
        if looks is not None:
            return Decided("")
    return Decided("")
