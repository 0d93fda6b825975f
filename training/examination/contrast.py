"""Rightness by contrast: does a model find a question's own answer likelier than other questions' answers?

Questions whose answers differ are gathered in panels, and within a panel every answer is scored after every
question: `likelihoods`[i][j] is the log-probability, in nats, of answer j after question i. What question i
adds to answer j is that less the mean of the answer's log-probability after the panel's other questions, the
pointwise mutual information conditioned on the domain (Holtzman et al. 2021, equation 2, with the other
questions as the domain's premise). Whatever makes an answer likely after any question (its style, its length,
the community's phrases, that it was trained on) falls out. A question is answered rightly when nothing gains
more from it than its own answer. Leaves to others: which questions there are, and what follows.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch

from training.fit import branches
from training.fit.packing import token_losses
from training.model.chat_format import Example

PANEL: Final = 8
"""Most questions whose answers compete; by luck alone one of eight is right."""
ANSWER_TOKENS: Final = 24
"""Tokens by which an answer competes: its beginning says what it is about."""
LEAST: Final = 4
"""Fewest questions of a panel while the competitors can be of one community and one examination."""


@dataclass(frozen=True)
class Competitor:
    """A question in a panel: what must agree (`alike`, the most important last), and what may not.

    `alike` are the language first, then what is given up in turn, from the last on, where too few agree.
    `order` puts those of like kind and length side by side. Of one `answer` a panel has only one question.
    """

    alike: tuple[Hashable, ...]
    order: tuple[str, int]
    answer: Hashable


def panels(competitors: Sequence[Competitor]) -> list[list[int]]:
    """The questions' indices in panels of 2 to `PANEL`; a question that finds no competitor is in none.

    The same competitors give the same panels, however they are ordered but for equal ones.
    """
    left = sorted(range(len(competitors)), key=lambda i: (competitors[i].order, _digest(competitors[i]), i))
    made: list[list[int]] = []
    deepest = max((len(one.alike) for one in competitors), default=0)
    for depth in range(deepest, 0, -1):
        least = LEAST if depth > 1 else 2
        pools: dict[tuple[Hashable, ...], list[int]] = {}
        for index in left:
            pools.setdefault(competitors[index].alike[:depth], []).append(index)
        left = []
        for pool in pools.values():
            for panel in _of_one_pool(pool, competitors):
                if len(panel) >= least:
                    made.append(panel)
                else:
                    left += panel
        left.sort(key=lambda i: (competitors[i].order, _digest(competitors[i]), i))
    return made


def _of_one_pool(pool: Sequence[int], competitors: Sequence[Competitor]) -> Iterator[list[int]]:
    """Neighbours together, about as many in each panel, and no answer twice in one."""
    rest = list(pool)
    size = math.ceil(len(rest) / math.ceil(len(rest) / PANEL))
    while rest:
        panel: list[int] = []
        taken: set[Hashable] = set()
        for index in rest:
            if len(panel) < size and competitors[index].answer not in taken:
                panel.append(index)
                taken.add(competitors[index].answer)
        rest = [index for index in rest if index not in panel]
        yield panel


def _digest(competitor: Competitor) -> bytes:
    return hashlib.sha256(repr((competitor.alike, competitor.answer)).encode()).digest()


def gains(likelihoods: Sequence[Sequence[float]]) -> list[list[float]]:
    """[n, n] what each question adds to each answer, in nats, of [n, n] log-probabilities; n at least 2."""
    n = len(likelihoods)
    totals = [sum(row[j] for row in likelihoods) for j in range(n)]
    return [[row[j] - (totals[j] - row[j]) / (n - 1) for j in range(n)] for row in likelihoods]


def ranks(likelihoods: Sequence[Sequence[float]]) -> list[float]:
    """The place of each question's own answer among all by `gains`, from 1; NaN where one is no number.

    Of those that gain as much it has the last place: a model that says nothing is not right by a tie.
    """
    found = []
    for own, row in enumerate(gains(likelihoods)):
        known = all(map(math.isfinite, row))
        found.append(float(sum(gain >= row[own] for gain in row)) if known else math.nan)
    return found


def ranks_of_questions(likelihoods: Sequence[Sequence[float]]) -> list[float]:
    """The place of each answer's own question among all, by how likely the answer is after it; as `ranks`."""
    found = []
    for own, column in enumerate(zip(*likelihoods, strict=True)):
        known = all(map(math.isfinite, column))
        found.append(float(sum(said >= column[own] for said in column)) if known else math.nan)
    return found


@torch.no_grad()
def scored(
    model: Any,
    examples: Sequence[Example],
    made: Sequence[Sequence[int]],
    *,
    most_tokens: int,
    on_row: Callable[[int], None] = lambda done: None,
) -> tuple[list[float], list[list[list[float]]]]:
    """The loss of each example of the panels, in nats over its whole answer, and the panels' likelihoods.

    Losses are in the panels' order. An answer competes by its first `ANSWER_TOKENS` tokens. What all prompts
    of a row begin with is computed once in it, and each prompt once for all its answers. `on_row` hears how
    many examples are done; what it raises stops the work.
    """
    asked = [
        branches.of(examples, panel, place, most=ANSWER_TOKENS, whole=True)
        for panel in made
        for place in range(len(panel))
    ]
    losses: list[float] = []
    likelihoods: list[list[float]] = []
    for group in branches.grouped(asked, most_tokens):
        row = {name: tensor.to(model.device) for name, tensor in branches.row(group).items()}
        lengths = [len(answer) for branch in group for answer in branch.answers]
        parts = iter(torch.split(token_losses(model, row), lengths))
        for branch in group:
            said = [next(parts) for _ in branch.answers]
            losses.append(said[branch.place].sum().item())
            likelihoods.append([-part[:ANSWER_TOKENS].sum().item() for part in said])
        on_row(len(losses))
    following = iter(likelihoods)
    return losses, [[next(following) for _ in panel] for panel in made]
