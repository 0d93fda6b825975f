"""Whether a projection learnt from a community's own wordings finds its answers surely better.

Every answer that was approved in several wordings is looked for by each of them while the others teach, in
`FOLDS` rounds, so that no wording is looked for by what it taught itself. The projection comes into service
where the share that finds its answer among the first three surely grows (paired bootstrap, the interval that
the gate of adapters takes); otherwise retrieval stays as it is. Leaves to others: searching (a `Ranking` is
given), the mathematics (`projection`), and when this is done (`knowledge`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

from bot.knowledge import projection
from bot.knowledge.embedding import Vectors
from training.examination import bootstrap

FOLDS: Final = 3
FIRST: Final = 3
"""A wording counts as found when its answer is among so many."""
LEAST: Final = 30
"""Fewer wordings of answers that have several teach too little to tell."""
MOST: Final = 600
"""So many wordings are looked for; of a larger community those approved last."""
CONFIDENCE: Final = 0.95
SEED: Final = 17


@dataclass(frozen=True)
class Wording:
    """An approved question: its passage, the answer that it asks for, its vectors, the question's first."""

    passage_id: int
    question: str
    answer: str
    language: str
    vectors: Vectors


@dataclass(frozen=True)
class Lesson:
    """What a community's wordings came to: recall among the first three without the projection and with it.

    `projection` is None where the gain is not sure (`gain_low`, the low end of its interval, is not above 0).
    """

    wordings: int
    before: float
    after: float
    gain_low: float
    projection: Vectors | None


Ranking = Callable[[Wording, Vectors | None], Awaitable[Sequence[str]]]
"""The answers that a wording finds, best first, each once, its own passage left out; by that projection."""


async def lesson(wordings: Sequence[Wording], ranking: Ranking) -> Lesson | None:
    """What the wordings teach, and whether it is kept; None where there are too few."""
    groups = _of_answers(wordings)
    every = [wording for group in groups for wording in group]
    if len(every) < LEAST:
        return None
    before: list[float] = []
    after: list[float] = []
    for fold in range(FOLDS):
        held_out = {
            wording.passage_id
            for number, group in enumerate(groups)
            for place, wording in enumerate(group)
            if (number + place) % FOLDS == fold
        }
        learnt = _learnt(groups, held_out)
        if learnt is None:
            return None
        for wording in every:
            if wording.passage_id in held_out:
                before.append(float(wording.answer in await ranking(wording, None)))
                after.append(float(wording.answer in await ranking(wording, learnt)))
    gain = bootstrap.paired(after, before, confidence=CONFIDENCE, seed=SEED)
    found = Lesson(len(every), sum(before) / len(before), sum(after) / len(after), gain.low, None)
    return replace(found, projection=_learnt(groups, ())) if gain.low > 0 else found


def _of_answers(wordings: Sequence[Wording]) -> list[list[Wording]]:
    """The wordings of each answer that has several, at most `MOST` in all, those approved last."""
    by_answer: dict[str, list[Wording]] = {}
    for wording in wordings:
        by_answer.setdefault(wording.answer, []).append(wording)
    several = [group for group in by_answer.values() if len(group) > 1]
    kept: list[list[Wording]] = []
    room = MOST
    for group in sorted(several, key=lambda group: -group[-1].passage_id):
        if len(group) <= room:
            kept.append(group)
            room -= len(group)
    return kept


def _learnt(groups: Sequence[Sequence[Wording]], without: Collection[int]) -> Vectors | None:
    questions, targets = projection.lessons(
        [[one.vectors for one in group if one.passage_id not in without] for group in groups]
    )
    return projection.learnt(questions, targets) if len(questions) else None
