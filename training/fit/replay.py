"""Replay: what keeps an adapter from unlearning what the base model can do.

Beside the pairs, training looks at packaged general questions with answers (`replay.jsonl`, English and
Polish) and pays for what the adapter says there otherwise than the base model: the Kullback-Leibler
divergence KL(base || adapter), averaged over the answers' tokens. That is learning without
forgetting (Li and Hoiem 2017) on replayed text (Robins 1995; Scialom et al. 2022 for instructions): the base
model is its own teacher, so the answers need not be good ones. They are other questions than the
examination's general knowledge. Leaves to others: how much it weighs (`hyperparameters`).
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from training.data.dataset import messages
from training.data.pairs import TrainingPair
from training.fit import packed_attention
from training.fit.packing import label_logits, pack
from training.model.chat_format import training_example

AT_ONCE: Final = 4
"""Replayed examples in each optimiser step."""
LIKELIEST: Final = 64
"""Tokens of a position whose probabilities are kept; the others count as one. The divergence of so coarse a
distribution is never more than the whole one's (the data processing inequality)."""
_PACKAGED: Final = Path(__file__).with_name("replay.jsonl")


class Expected(NamedTuple):
    """What the base model says at n labelled positions: log-probabilities in nats.

    `tokens` and `log_probs` [n, LIKELIEST], `rest` [n] of all other tokens together.
    """

    tokens: Tensor
    log_probs: Tensor
    rest: Tensor


@dataclass(frozen=True)
class Replay:
    """Packed rows of general text, each with what the base model says to it, in a shuffled order."""

    rows: list[tuple[dict[str, Tensor], Expected]]

    def divergence(self, model: Any, step: int) -> Tensor:
        """KL(base || model) in nats per answer token on the row of that step. A scalar with gradient."""
        row, expected = self.rows[step % len(self.rows)]
        logits = label_logits(model, _moved(row, model.device)).float()
        here = Expected(*(tensor.to(logits.device) for tensor in expected))
        return divergence(here, torch.log_softmax(logits, dim=-1))


def pairs() -> list[TrainingPair]:
    """The packaged questions with their answers."""
    lines = map(json.loads, _PACKAGED.read_text(encoding="utf-8").splitlines())
    return [
        TrainingPair(line["question"], output=line["answer"], language=line["language"]) for line in lines
    ]


def prepare(
    peft_model: Any, tokenizer: Any, trained_on: Sequence[TrainingPair], *, at_once: int, seed: int
) -> Replay:
    """The packaged examples in rows of `at_once`, under the personas of the pairs that are trained on.

    The base model is asked here, once for all of the training: the model with its adapter switched off.
    """
    personas = sorted({(pair.lineage or {}).get("persona") or "plain" for pair in trained_on})
    shuffled = pairs()
    random.Random(seed).shuffle(shuffled)
    rows = []
    for number, start in enumerate(range(0, len(shuffled), at_once)):
        lineage = {"persona": personas[number % len(personas)]}
        together = [replace(pair, lineage=lineage) for pair in shuffled[start : start + at_once]]
        rows.append(pack([training_example(tokenizer, messages(pair)) for pair in together]))
    with torch.no_grad(), peft_model.disable_adapter(), packed_attention.used_by(peft_model):
        expected = [
            expectation(label_logits(peft_model, _moved(row, peft_model.device)).float()) for row in rows
        ]
    return Replay([*zip(rows, expected, strict=True)])


def expectation(logits: Tensor) -> Expected:
    """Logits [n, vocabulary] as the distribution over the likeliest tokens and all others together."""
    log_probs = torch.log_softmax(logits, dim=-1)
    kept = log_probs.topk(min(LIKELIEST, logits.shape[-1] - 1), dim=-1)
    return Expected(kept.indices, kept.values, _log_of_rest(kept.values))


def divergence(expected: Expected, log_probs: Tensor) -> Tensor:
    """The mean over positions of KL(expected || log_probs [n, vocabulary]), in nats."""
    own = log_probs.gather(-1, expected.tokens)
    likeliest = (expected.log_probs.exp() * (expected.log_probs - own)).sum(-1)
    return (likeliest + expected.rest.exp() * (expected.rest - _log_of_rest(own))).mean()


def _log_of_rest(log_probs: Tensor) -> Tensor:
    """log(1 - Σ p), kept from -∞ where the likeliest tokens hold all of the mass."""
    return torch.log((1 - log_probs.exp().sum(-1)).clamp_min(1e-6))


def _moved(row: dict[str, Tensor], device: Any) -> dict[str, Tensor]:
    return {name: tensor.to(device) for name, tensor in row.items()}
