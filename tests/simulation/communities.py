"""A community with a true approval of two adapters, and the judgements that reach the record week by week.

Beside chance there is what real communities have: votes of one conversation that resemble one another, moods
that drift and seasons that both adapters share, quiet and busy places, and brigades that vote everything down
for some days.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

WEEKS: Final = 26
CONVERSATION: Final = 3
"""Judged answers of one conversation, which one adapter gives."""
ALIKE: Final = 0.05
"""Correlation of the votes within a conversation."""
DRIFT: Final = 0.01
"""Standard deviation of the weekly step of a community's mood."""
SEASON: Final = 0.04
BRIGADED: Final = 0.2
"""Share of communities that a brigade visits once."""
BRIGADE: Final = 0.3
"""Share of a week's judged answers that a brigade votes down, whoever gave them."""


@dataclass(frozen=True)
class Judgements:
    """What reached the record, in the order in which it came: of which arm, how judged, in which week."""

    is_canary: NDArray[np.bool_]
    approved: NDArray[np.float64]
    week: NDArray[np.int64]


@dataclass(frozen=True)
class Community:
    """A community: its true approval of the predecessor, the canary's difference, judged answers a week."""

    approval: float
    difference: float
    weekly: float

    def judge(self, draw: np.random.Generator, share: float, weeks: int = WEEKS) -> Judgements:
        """So many weeks of judged answers, of which the canary gives that share of the conversations."""
        mood = np.cumsum(draw.normal(0, DRIFT, weeks)) + SEASON * np.sin(
            2 * np.pi * (np.arange(weeks) / 52 + draw.random())
        )
        visited = int(draw.integers(weeks)) if draw.random() < BRIGADED else -1
        arms, approved, when = [], [], []
        for week in range(weeks):
            conversations = int(draw.poisson(self.weekly / CONVERSATION))
            arm = draw.random(conversations) < share
            truth = np.clip(self.approval + mood[week] + self.difference * arm, 0.02, 0.98)
            # beta-binomial: conversations differ, so that votes within one resemble one another
            spread = 1 / ALIKE - 1
            of_each = draw.beta(truth * spread, (1 - truth) * spread)
            votes = draw.random((conversations, CONVERSATION)) < of_each[:, np.newaxis]
            if week == visited:
                votes &= draw.random(votes.shape) >= BRIGADE
            arms.append(np.repeat(arm, CONVERSATION))
            approved.append(votes.ravel().astype(float))
            when.append(np.full(conversations * CONVERSATION, week))
        return Judgements(np.concatenate(arms), np.concatenate(approved), np.concatenate(when))


def drawn(number: int, difference: float, draw: np.random.Generator) -> list[Community]:
    """So many communities, large and small, of which half judge more than 150 answers a week."""
    return [
        Community(float(draw.uniform(0.5, 0.8)), difference, float(np.exp(draw.normal(np.log(150), 0.6))))
        for _ in range(number)
    ]
