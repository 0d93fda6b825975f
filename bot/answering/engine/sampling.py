"""One step's logits to one token a row, each row with its own sampling parameters.

What a row draws depends on its own logits and its own generator only, so an answer with a seed is the same
whatever is batched with it. In transformers' order: repetition penalty, temperature, top-p.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bot.answering.answerer import Sampling

_TOP_P_CANDIDATES = 256  # top-p rarely needs more; sorting a whole vocabulary costs milliseconds


class Sampler:
    """Samples one request's tokens; `prompt` counts for the repetition penalty too."""

    def __init__(self, sampling: Sampling, prompt: Sequence[int]) -> None:
        self.sampling = sampling
        self.is_argmax = sampling.temperature <= 0 and sampling.repetition_penalty == 1.0
        self._penalised = dict.fromkeys(prompt) if sampling.repetition_penalty != 1.0 else {}
        self._generator = torch.Generator()  # on the CPU, so that a seed means the same on every device
        if sampling.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(sampling.seed)

    def sample(self, logits: Tensor) -> int:
        """The next token, from logits (V,)."""
        scores = self._penalise(logits.float())  # (V,)
        token = int(scores.argmax()) if self.sampling.temperature <= 0 else self._draw(scores)
        if self.sampling.repetition_penalty != 1.0:
            self._penalised[token] = None
        return token

    def _penalise(self, scores: Tensor) -> Tensor:
        if not self._penalised:
            return scores
        tokens = torch.tensor(list(self._penalised), device=scores.device)
        penalty = self.sampling.repetition_penalty
        former = scores[tokens]  # (penalised tokens,)
        # in place: nothing reads a step's logits after its tokens are drawn
        return scores.index_copy_(0, tokens, torch.where(former < 0, former * penalty, former / penalty))

    def _draw(self, scores: Tensor) -> int:
        scores = scores / self.sampling.temperature
        log_normaliser = torch.logsumexp(scores, 0)
        candidates = min(_TOP_P_CANDIDATES, scores.shape[0]) if self.sampling.top_p < 1.0 else scores.shape[0]
        best, ids = torch.topk(scores, candidates)  # (candidates,) each, most likely first
        cumulative = torch.exp(best - log_normaliser).cumsum(0)
        if candidates < scores.shape[0] and float(cumulative[-1]) < self.sampling.top_p:
            best, ids = torch.sort(scores, descending=True)  # (V,) each
            cumulative = torch.exp(best - log_normaliser).cumsum(0)
        # the nucleus: the fewest most likely tokens whose probabilities add up to top_p
        nucleus = min(int((cumulative < self.sampling.top_p).sum()) + 1, cumulative.shape[0])
        drawn = torch.rand((), generator=self._generator, dtype=torch.float64) * float(
            cumulative[nucleus - 1]
        )
        return int(ids[min(int((cumulative[:nucleus] <= float(drawn)).sum()), nucleus - 1)])


def sample_all(samplers: Sequence[Sampler], logits: Tensor) -> list[int]:
    """The next token of every row of logits (N, V)."""
    argmax: list[int]
    if logits.device.type == "cpu" and logits.dtype == torch.float32:
        # NumPy does it on this thread; torch would wake a team of threads for it, beside the engine's own
        argmax = logits.numpy().argmax(-1).tolist()  # (N, V) -> N
    else:
        # on a CPU `max` finds where four times faster than `argmax` does, in a vocabulary of bf16
        argmax = logits.max(-1).indices.tolist()  # (N, V) -> N
    return [
        best if sampler.is_argmax else sampler.sample(row)
        for sampler, best, row in zip(samplers, argmax, logits, strict=True)
    ]
