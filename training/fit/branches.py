"""Packed rows in which each question is followed by several answers, as when answers compete.

What all questions of a row begin with is computed once, and each question once for all its answers. Leaves to
others: which answers compete, and what their likelihoods are used for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from training.fit.packing import ROUND_TO
from training.model.chat_format import IGNORED, Example


@dataclass(frozen=True)
class Branch:
    """A question's `prompt` and the `answers` that compete after it; the one at `place` is its own."""

    prompt: list[int]
    answers: list[list[int]]
    place: int


def of(examples: Sequence[Example], panel: Sequence[int], place: int, *, most: int, whole: bool) -> Branch:
    """The question at that place of the panel, with the first `most` tokens of each answer of the panel.

    `panel` are indices of `examples`. With `whole` the question's own answer is not cut.
    """
    own = panel[place]
    prompt = [
        t for t, label in zip(examples[own].token_ids, examples[own].labels, strict=True) if label == IGNORED
    ]
    answers = [[label for label in examples[other].labels if label != IGNORED] for other in panel]
    return Branch(
        prompt, [answer if whole and i == place else answer[:most] for i, answer in enumerate(answers)], place
    )


def grouped(branches: Sequence[Branch], most_tokens: int) -> Iterator[list[Branch]]:
    """Neighbours whose row has at most `most_tokens`, or one branch alone."""
    group: list[Branch] = []
    for branch in branches:
        if group and _tokens([*group, branch]) > most_tokens:
            yield group
            group = []
        group = [*group, branch]
    if group:
        yield group


def row(group: Sequence[Branch]) -> dict[str, Tensor]:
    """One row `[common][question 1][answer 1.1]…[answer 1.m][question 2]…` as `packing.pack` lays one out.

    An answer sees itself, its question and what is common; before it stands the prompt's last token, which
    predicts its first one.
    """
    common = _common(group)
    token_ids = group[0].prompt[:common]
    labels = [IGNORED] * common
    positions = list(range(common))
    questions, answers = [0] * common, [0] * common
    number = 0
    for question, branch in enumerate(group, start=1):
        stem = branch.prompt[common:-1]
        parts = [(0, stem, [IGNORED] * len(stem), common)]
        for answer in branch.answers:
            number += 1
            parts.append((number, [branch.prompt[-1], *answer], [IGNORED, *answer], len(branch.prompt) - 1))
        for owner, ids, targets, start in parts:
            token_ids += ids
            labels += targets
            positions += range(start, start + len(ids))
            questions += [question] * len(ids)
            answers += [owner] * len(ids)
    filling = -len(token_ids) % ROUND_TO
    token_ids += [token_ids[0]] * filling
    labels += [IGNORED] * filling
    positions += [0] * filling
    questions += [-1] * filling
    answers += range(number + 1, number + 1 + filling)
    question_of, answer_of = torch.tensor(questions), torch.tensor(answers)
    same_question = (question_of[:, None] == question_of[None, :]) | (question_of[None, :] == 0)
    same_answer = (answer_of[:, None] == answer_of[None, :]) | (answer_of[None, :] == 0)
    return {
        "input_ids": torch.tensor([token_ids]),
        "position_ids": torch.tensor([positions]),
        "attention_mask": (same_question & same_answer).tril()[None, None],
        "labels": torch.tensor([labels]),
        "segments": torch.tensor([len(token_ids)]),
    }


def _tokens(group: Sequence[Branch]) -> int:
    common = _common(group)
    return common + sum(
        len(branch.prompt) - 1 - common + sum(1 + len(answer) for answer in branch.answers)
        for branch in group
    )


def _common(group: Sequence[Branch]) -> int:
    """How many tokens all prompts begin with, the last of the shortest left out: it predicts an answer."""
    most = min(len(branch.prompt) for branch in group) - 1
    first = group[0].prompt
    return next(
        (i for i in range(most) if any(branch.prompt[i] != first[i] for branch in group)), max(most, 0)
    )
