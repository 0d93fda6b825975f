"""One step's logits to one token a row, each row by its own rules.

What a row draws depends on its own logits, its own generator and nothing else, so an answer with a seed is
the same whoever is answered beside it. Order as in transformers: penalty, temperature, top-p.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bot.answering.answerer import Sampling

_LIKELY = 256  # top-p rarely needs more tokens than this; sorting a whole vocabulary costs milliseconds


class Chooser:
    """Chooses the tokens of one answer; `tokens` are its prompt, which the repetition penalty counts too."""

    def __init__(self, sampling: Sampling, tokens: Sequence[int]) -> None:
        self.sampling = sampling
        self.plain = sampling.temperature <= 0 and sampling.repetition_penalty == 1.0
        self._said = dict.fromkeys(tokens) if sampling.repetition_penalty != 1.0 else {}
        self._generator = torch.Generator()  # on the CPU, so that a seed means the same on every device
        if sampling.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(sampling.seed)

    def choose(self, logits: Tensor) -> int:
        """The next token, from [vocabulary] logits."""
        scores = self._penalised(logits.float())
        token = int(scores.argmax()) if self.sampling.temperature <= 0 else self._draw(scores)
        if self.sampling.repetition_penalty != 1.0:
            self._said[token] = None
        return token

    def _penalised(self, scores: Tensor) -> Tensor:
        if not self._said:
            return scores
        said = torch.tensor(list(self._said), device=scores.device)
        penalty = self.sampling.repetition_penalty
        theirs = scores[said]
        return scores.index_copy(0, said, torch.where(theirs < 0, theirs * penalty, theirs / penalty))

    def _draw(self, scores: Tensor) -> int:
        scores = scores / self.sampling.temperature
        every = torch.logsumexp(scores, 0)
        candidates = min(_LIKELY, scores.shape[0]) if self.sampling.top_p < 1.0 else scores.shape[0]
        best, ids = torch.topk(scores, candidates)
        mass = torch.exp(best - every).cumsum(0)
        if candidates < scores.shape[0] and float(mass[-1]) < self.sampling.top_p:
            best, ids = torch.sort(scores, descending=True)
            mass = torch.exp(best - every).cumsum(0)
        # the smallest set of most likely tokens whose mass reaches top_p
        kept = min(int((mass < self.sampling.top_p).sum()) + 1, mass.shape[0])
        drawn = torch.rand((), generator=self._generator, dtype=torch.float64) * float(mass[kept - 1])
        return int(ids[min(int((mass[:kept] <= float(drawn)).sum()), kept - 1)])


def choose_all(choosers: Sequence[Chooser], logits: Tensor) -> list[int]:
    """The next token of every row of [rows, vocabulary] logits."""
    # on a CPU `max` finds where four times faster than `argmax` does, in a vocabulary of bf16
    plain: list[int] = logits.max(-1).indices.tolist()
    return [
        greedy if chooser.plain else chooser.choose(row)
        for chooser, greedy, row in zip(choosers, plain, logits, strict=True)
    ]
