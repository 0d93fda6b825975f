"""The contrastive term: what training pays where a question does not tell its own answer from others.

The loss on the pairs alone teaches how a community writes, and answers by heart. Beside it, each step takes a
panel of questions of one language whose answers differ, and scores every answer after every question. Whether
a question belongs to an answer is asked both ways with InfoNCE (van den Oord et al. 2018): of the panel's
questions, which makes this answer likeliest; and of its answers, which gains most from this question, what
the answer has after the panel's other questions being taken off (pointwise mutual information conditioned on
the domain, Holtzman et al. 2021), as the examination ranks them (`examination.contrast`). Phrasings of one
question share their answer, so they are never negatives of each other. Leaves to others: how much it weighs
(`hyperparameters`).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from training.data import similar_texts
from training.data.pairs import TrainingPair
from training.fit import branches
from training.fit.packing import token_losses
from training.model.chat_format import IGNORED, Example

AT_ONCE: Final = 4
"""Questions of a panel, and so answers after each of them."""
ANSWER_TOKENS: Final = 24
"""Tokens by which an answer competes, as in the examination: its beginning says what it is about."""
TEMPERATURE: Final = 4.0
"""Nats of a beginning's log-probability that count as one; a larger one never lets a panel be certain."""
_EPOCHS: Final = 16
"""Times that every pair is dealt into panels before they come again."""


@dataclass(frozen=True)
class Contrast:
    """Panels of indices of `examples`, in the order in which steps take them."""

    examples: Sequence[Example]
    panels: list[list[int]]

    def loss(self, model: Any, step: int) -> Tensor:
        """The InfoNCE loss of that step's panel in nats, the mean of both ways. A scalar with gradient."""
        panel = self.panels[step % len(self.panels)]
        asked = [
            branches.of(self.examples, panel, place, most=ANSWER_TOKENS, whole=False)
            for place in range(len(panel))
        ]
        row = {name: tensor.to(model.device) for name, tensor in branches.row(asked).items()}
        lengths = [len(answer) for branch in asked for answer in branch.answers]
        scores = [-part.sum() for part in torch.split(token_losses(model, row), lengths)]
        return info_nce(torch.stack(scores).view(len(panel), len(panel)) / TEMPERATURE)


def info_nce(scores: Tensor) -> Tensor:
    """InfoNCE of [n, n] scores, of answer j after question i, the own answers on the diagonal.

    The mean of the cross-entropy over the questions of each answer and, each answer's mean after the other
    questions taken off, over the answers of each question.
    """
    own = torch.arange(len(scores), device=scores.device)
    gains = scores - (scores.sum(0) - scores) / (len(scores) - 1)
    cross_entropy = torch.nn.functional.cross_entropy
    return (cross_entropy(scores.t(), own) + cross_entropy(gains, own)) / 2


def prepare(
    examples: Sequence[Example],
    pairs: Sequence[TrainingPair],
    *,
    same_answer: float,
    most_tokens: int,
    seed: int,
) -> Contrast | None:
    """Deal the pairs into panels; `examples` are theirs. None where no two of a language differ.

    Answers at least `same_answer` alike are the same answer, which a panel has once. Panels are smaller than
    `AT_ONCE` where their rows would be longer than `most_tokens`, but of two at least.
    """
    at_once = _fitting(examples, most_tokens)
    answers = similar_texts.groups((pair.output for pair in pairs), same_answer)
    languages: dict[str, list[int]] = {}
    for index, pair in enumerate(pairs):
        languages.setdefault(pair.language, []).append(index)
    choices = random.Random(seed)
    panels: list[list[int]] = []
    for _ in range(_EPOCHS):
        dealt = [
            panel
            for indices in languages.values()
            for panel in _dealt(choices.sample(indices, len(indices)), answers, at_once)
        ]
        panels += choices.sample(dealt, len(dealt))
    return Contrast(examples, panels) if panels else None


def _fitting(examples: Sequence[Example], most_tokens: int) -> int:
    """The most questions of a panel whose row stays within so many tokens."""
    longest = max((sum(label == IGNORED for label in example.labels) for example in examples), default=0)
    sizes = range(AT_ONCE, 1, -1)
    return next((n for n in sizes if n * (longest + n * (1 + ANSWER_TOKENS)) <= most_tokens), 2)


def _dealt(indices: Sequence[int], answers: Sequence[int], at_once: int) -> list[list[int]]:
    """Panels of up to `at_once` questions with different answers, at least two; what is left has no panel."""
    rest = list(indices)
    dealt: list[list[int]] = []
    while True:
        panel: dict[int, int] = {}
        for index in rest:
            if len(panel) < at_once:
                panel.setdefault(answers[index], index)
        if len(panel) < 2:
            return dealt
        dealt.append([*panel.values()])
        taken = set(dealt[-1])
        rest = [index for index in rest if index not in taken]
