"""A projection that turns questions towards the wordings in which a community asks for the same answer.

Ridge regression, shrunk towards leaving questions as they are: W = argmin ‖Q W − T‖² + λ ‖W − I‖², where a
row of Q is the vector of a wording and its row of T the mean direction of the other wordings of the same
answer, with the answer. In closed form, so the same vectors give the same projection. Only questions are
turned; what passages are searched by stays. Leaves to others: whether it helps (`learning`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from bot.knowledge.embedding import Vectors

SHRINKAGE: Final = 0.3
"""λ. Chosen on the demo community's own wordings, each looked for by means of the others; between 0.3 and 3
it makes little difference."""


def learnt(questions: Vectors, targets: Vectors) -> Vectors:
    """W of shape (d, d), of questions and targets of shape (n, d), rows of length 1."""
    unit = np.eye(questions.shape[1], dtype=np.float64)
    asked, meant = questions.astype(np.float64), targets.astype(np.float64)
    solved = np.linalg.solve(asked.T @ asked + SHRINKAGE * unit, asked.T @ meant + SHRINKAGE * unit)
    return np.asarray(solved, dtype=np.float32)


def turned(question: Vectors, projection: Vectors) -> Vectors:
    """A question's vector, of shape (d,), turned and of length 1 again."""
    moved = question @ projection
    return np.asarray(moved / max(float(np.linalg.norm(moved)), 1e-12), dtype=np.float32)


def lessons(wordings: Sequence[Sequence[Vectors]]) -> tuple[Vectors, Vectors]:
    """Questions and targets, each of shape (n, d), of the `wordings` of one answer after the other.

    Of a wording there are its vectors, of shape (1 or more, d), the question's own first. An answer with one
    wording teaches nothing.
    """
    questions: list[Vectors] = []
    targets: list[Vectors] = []
    for of_answer in wordings:
        sums = np.stack([vectors.sum(axis=0) for vectors in of_answer])
        for place, vectors in enumerate(of_answer) if len(of_answer) > 1 else ():
            target = sums.sum(axis=0) - sums[place]
            questions.append(vectors[0])
            targets.append(target / max(float(np.linalg.norm(target)), 1e-12))
    return np.asarray(questions, np.float32), np.asarray(targets, np.float32)
