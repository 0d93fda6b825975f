"""Several examples in one row without padding, their common beginning computed once; and the loss on them.

A row is `[prefix][rest 1][rest 2]…`. The prefix is the longest run of tokens that all examples begin with,
the system text as a rule, and never reaches the last token of a prompt. Positions restart after the prefix in
every rest, and each rest sees the prefix and itself, so loss and gradients are those of the examples one by
one: by a mask, or by attention that knows the row's segments (`packed_attention`). Needs a decoder that takes
a 4-D mask (sdpa attention); where a layer's sliding window is shorter than an example, that layer sees the
whole example.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from training.fit import packed_attention
from training.fit.distributed import ALONE, Ranks
from training.model.chat_format import IGNORED, Example

ROUND_TO: Final = 32
"""Rows are filled up to a multiple of so many tokens: a matrix product of a size not met before is planned
anew by the CPU's library, which takes as long as several of them."""


def pack(examples: Sequence[Example]) -> dict[str, Tensor]:
    """One row of N tokens: input_ids, position_ids, labels [1, N]; attention_mask [1, 1, N, N] of bools;

    segments: the lengths of the prefix and of each rest. Up to `ROUND_TO` - 1 of the last tokens are filling,
    which nothing else sees and has no label; it counts as a rest.
    """
    prefix = _common_prefix(examples)
    token_ids = list(examples[0].token_ids[:prefix])
    labels = [IGNORED] * prefix
    positions = list(range(prefix))
    owners = [0] * prefix
    for owner, example in enumerate(examples, start=1):
        token_ids += example.token_ids[prefix:]
        labels += example.labels[prefix:]
        positions += range(prefix, len(example.token_ids))
        owners += [owner] * (len(example.token_ids) - prefix)
    filling = -len(token_ids) % ROUND_TO
    token_ids += [token_ids[0]] * filling
    labels += [IGNORED] * filling
    positions += [0] * filling
    owners += range(len(examples) + 1, len(examples) + 1 + filling)
    rests = [len(example.token_ids) - prefix for example in examples]
    owner_of = torch.tensor(owners)
    same = (owner_of[:, None] == owner_of[None, :]) | (owner_of[None, :] == 0)
    return {
        "input_ids": torch.tensor([token_ids]),
        "position_ids": torch.tensor([positions]),
        "attention_mask": same.tril()[None, None],
        "labels": torch.tensor([labels]),
        "segments": torch.tensor([prefix, *rests, *([filling] if filling else [])]),
    }


def answer_loss(model: Any, row: dict[str, Tensor], *, fused: bool = False) -> Tensor:
    """The cross-entropy in nats, summed over the labelled tokens of a packed row.

    `fused`: by the head that TRL's trainers give a model. On a GPU it goes over the vocabulary in pieces and
    holds no logits, which for a large vocabulary take as much as a quantised model.
    """
    if not fused:
        return token_losses(model, row).sum()
    inputs = {name: tensor for name, tensor in row.items() if name != "segments"}
    inputs["attention_mask"] = _additive(row["attention_mask"], _inner(model).dtype)
    log_probs: Tensor = model(**inputs, fused_lm_head=True).log_probs
    return -log_probs.sum()


def token_losses(model: Any, row: dict[str, Tensor]) -> Tensor:
    """The cross-entropy in nats of each labelled token of a packed row, in its order: [labelled]."""
    labels = row["labels"][0, 1:]
    return torch.nn.functional.cross_entropy(
        label_logits(model, row).float(), labels[labels != IGNORED], reduction="none"
    )


def label_logits(model: Any, row: dict[str, Tensor]) -> Tensor:
    """What the model says where a labelled token of a packed row is to follow: [labelled, vocabulary].

    Logits are computed there and nowhere else: the vocabulary is much of a small model's work.
    """
    predicting = (row["labels"][0, 1:] != IGNORED).nonzero()[:, 0]
    segments: list[int] = row["segments"].tolist() if packed_attention.is_used_by(_inner(model)) else []
    by_example = (
        {"segments": segments} if len(segments) > 1 and max(segments[1:]) <= packed_attention.LONGEST else {}
    )
    logits: Tensor = model(
        input_ids=row["input_ids"],
        position_ids=row["position_ids"],
        attention_mask=_additive(row["attention_mask"], _inner(model).dtype),  # heeded where segments are not
        logits_to_keep=predicting,
        use_cache=False,
        **by_example,
    ).logits
    return logits[0]


def rows_of(examples: Sequence[Example], most_tokens: int) -> Iterator[list[Example]]:
    """The examples in groups whose packed row has at most `most_tokens`, or that are one example alone."""
    group: list[Example] = []
    for example in examples:
        candidate = [*group, example]
        if group and _packed_tokens(candidate) > most_tokens:
            yield group
            candidate = [example]
        group = candidate
    if group:
        yield group


def mean_loss(model: Any, examples: Sequence[Example], *, most_tokens: int, ranks: Ranks = ALONE) -> float:
    """The loss in nats per labelled token, each token of all examples counting the same; NaN without any.

    Several `ranks` share the rows out; who has one less goes through another's with the rest, because the
    model may be spread over them all.
    """
    rows = list(rows_of(examples, most_tokens))
    if not rows:
        return float("nan")
    loss = 0.0
    for turn in range(math.ceil(len(rows) / ranks.count)):
        place = turn * ranks.count + ranks.own
        losses = example_losses(model, rows[place % len(rows)], most_tokens=most_tokens)
        loss += sum(losses) if place < len(rows) else 0.0
    tokens = sum(label != IGNORED for example in examples for label in example.labels)
    return ranks.total(loss, model.device) / tokens


@torch.no_grad()
def example_losses(
    model: Any,
    examples: Sequence[Example],
    *,
    most_tokens: int,
    on_row: Callable[[int], None] = lambda done: None,
) -> list[float]:
    """The loss of each example in nats, summed over its labelled tokens.

    `on_row` is called after each row with the number of examples done; what it raises stops the work.
    """
    losses: list[float] = []
    with packed_attention.used_by(model):
        for group in rows_of(examples, most_tokens):
            row = {name: tensor.to(model.device) for name, tensor in pack(group).items()}
            labelled = [sum(label != IGNORED for label in example.labels) for example in group]
            losses += [loss.sum().item() for loss in torch.split(token_losses(model, row), labelled)]
            on_row(len(losses))
    return losses


def _inner(model: Any) -> Any:
    """The model itself; what spreads one over several processes keeps it in `module`."""
    return getattr(model, "module", model)


def _additive(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """The mask in the type of the weights: attention would otherwise convert one of bools in every layer."""
    mask = torch.zeros_like(seen, dtype=dtype)
    return mask.masked_fill_(~seen, torch.finfo(dtype).min)


def _common_prefix(examples: Sequence[Example]) -> int:
    """How many tokens all examples begin with, the last token of the shortest prompt left out.

    That token predicts the first one of its answer, so every example needs its own.
    """
    prompts = [next(i for i, label in enumerate(e.labels) if label != IGNORED) for e in examples]
    most = min(prompts) - 1
    first = examples[0].token_ids
    for position in range(most):
        if any(example.token_ids[position] != first[position] for example in examples):
            return position
    return max(most, 0)


def _packed_tokens(examples: Sequence[Example]) -> int:
    prefix = _common_prefix(examples)
    tokens = prefix + sum(len(example.token_ids) - prefix for example in examples)
    return tokens + -tokens % ROUND_TO
