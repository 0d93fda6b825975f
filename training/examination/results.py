"""What an examination found of a subject: its answers, each with its values, and the figures over them.

As it is kept in the record and shown; how it is measured is for `evaluation.py`. What could not be measured
is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from training.examination.comparisons import (
    DECIDING,
    LIKE_OWN,
    LOSS,
    OWN_SHARE,
    TOLD_APART,
    Examination,
    Figures,
)

Subject = Literal["base", "current", "candidate"]
Kind = Literal["held-out", "unanswerable", "general", "without notes"]

ABSTAINS: Final = "admits"
"""The value of an answer that says whether it abstains; the record has it under this name."""
LEAST_OF_A_GROUP: Final = 5
"""Questions that a language or community must have for figures of its own."""


@dataclass(frozen=True)
class Answer:
    """What a subject said to one question, and its loss on the reference in nats per token.

    A question of kind "unanswerable" is packaged and has no reference, so its loss is NaN; of one of kind
    "general" only the loss is taken. One of kind "without notes" is a held-out one asked once more, without
    what retrieval gives it. `rank` is the place, from 1, of the reference among itself and the answers to
    `competitors` other questions, `question_rank` that of the question among these for the reference
    (`contrast`); with 0 of them it could not be judged so. `turn` and `community` are ids of the record.
    `values` are the figures of this answer alone; `reasons` say why one of them could not be had.
    """

    question: str
    reference: str
    answer: str
    loss: float
    tokens: int = 0
    kind: Kind = "held-out"
    examination: Examination = "generalisation"
    competitors: int = 0
    rank: float = math.nan
    question_rank: float = math.nan
    language: str = "en"
    task_type: str = "qa"
    turn: int | None = None
    community: int | None = None
    values: dict[str, float] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Examined:
    """How one subject did: its figures by the names of `metrics.METRICS`, and its answers in their order.

    `packaged` are the questions that every examination asks beside the held-out ones; `without_notes` are
    those of the held-out ones that have notes, asked without them. They count for nothing, and show what
    the notes do.
    """

    subject: Subject
    metrics: dict[str, float]
    answers: list[Answer] = field(default_factory=list)
    packaged: list[Answer] = field(default_factory=list)
    without_notes: list[Answer] = field(default_factory=list)

    @property
    def every_answer(self) -> list[Answer]:
        """All that is kept of it in the record."""
        return [*self.answers, *self.packaged, *self.without_notes]

    @property
    def figures(self) -> Figures:
        """What the gate compares: figures, and the values they are means of."""
        values: dict[str, list[float]] = {LOSS: [answer.loss for answer in self.answers]}
        for name in dict.fromkeys(name for answer in self.answers for name in answer.values):
            if name != ABSTAINS:
                values[name] = [answer.values[name] for answer in self.answers if name in answer.values]
        everything = [*self.answers, *self.packaged]
        values["not_knowing"] = [_abstains(answer) for answer in everything if _is_unanswerable(answer)]
        values["false_not_knowing"] = [
            _abstains(answer) for answer in self.answers if not _is_unanswerable(answer)
        ]
        general = [answer for answer in self.packaged if answer.kind == "general"]
        values["general_loss"] = [answer.loss for answer in general]
        for examination, metric in DECIDING.items():
            values[metric] = [1 / answer.rank for answer in self.answers if _competes(answer, examination)]
        competing = [answer for answer in self.answers if answer.competitors]
        values[TOLD_APART] = [(1 / one.rank + 1 / one.question_rank) / 2 for one in competing]
        values[LIKE_OWN] = [one.values.get(OWN_SHARE, math.nan) for one in competing]
        weights = {
            name: [float(answer.tokens) for answer in of]
            for name, of in ((LOSS, self.answers), ("general_loss", general))
            if all(answer.tokens for answer in of)  # the first version did not keep them
        }
        return Figures(self.metrics, values, weights)


def stored(answers: Iterable[Answer]) -> list[dict[str, Any]]:
    """The answers as the record keeps them."""
    return [asdict(answer) for answer in answers]


def restored(subject: Subject, metrics: Mapping[str, Any], answers: Sequence[Mapping[str, Any]]) -> Examined:
    """What the record kept of a subject; what it kept as null is NaN again."""
    every = [
        Answer(
            **{
                **answer,
                "loss": _number(answer["loss"]),
                "rank": _number(answer.get("rank")),
                "question_rank": _number(answer.get("question_rank")),
                "values": {name: _number(value) for name, value in answer.get("values", {}).items()},
            }
        )
        for answer in answers
    ]
    return Examined(
        subject,
        {name: _number(value) for name, value in metrics.items()},
        [answer for answer in every if answer.kind == "held-out"],
        [answer for answer in every if answer.kind in ("unanswerable", "general")],
        [answer for answer in every if answer.kind == "without notes"],
    )


def by_group(examined: Examined) -> dict[str, dict[str, float]]:
    """The figures of each language and community with at least `LEAST_OF_A_GROUP` questions.

    Keys are such as "language pl" and "community 3"; only what is a mean over questions has figures here.
    """
    groups: dict[str, list[Answer]] = {}
    for answer in examined.answers:
        groups.setdefault(f"language {answer.language}", []).append(answer)
        if answer.community is not None:
            groups.setdefault(f"community {answer.community}", []).append(answer)
    return {
        name: {"questions": float(len(answers)), **means(answers)}
        for name, answers in sorted(groups.items())
        if len(answers) >= LEAST_OF_A_GROUP
    }


def means(answers: Sequence[Answer]) -> dict[str, float]:
    """The figures that are means over questions, of some answers."""
    tokens = sum(answer.tokens for answer in answers)
    counted = [answer.tokens if tokens else 1 for answer in answers]  # the first version did not keep them
    total = sum(answer.loss * count for answer, count in zip(answers, counted, strict=True))
    found = {LOSS: total / sum(counted)}
    for name in dict.fromkeys(name for answer in answers for name in answer.values):
        if name != ABSTAINS:
            known = [answer.values[name] for answer in answers if name in answer.values]
            found[name] = sum(known) / len(known)
    for examination, metric in DECIDING.items():
        ranks = [1 / answer.rank for answer in answers if _competes(answer, examination)]
        if ranks:
            found[metric] = sum(ranks) / len(ranks)
    return found


def _competes(answer: Answer, examination: Examination) -> bool:
    return bool(answer.competitors) and answer.examination == examination


def _is_unanswerable(answer: Answer) -> bool:
    return answer.kind == "unanswerable" or answer.task_type == "not-knowing"


def _abstains(answer: Answer) -> float:
    return answer.values.get(ABSTAINS, math.nan)


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
