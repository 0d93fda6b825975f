"""Attention over a packed row example by example, instead of all tokens by all tokens under a mask.

Of a row of eight examples a mask lets through less than an eighth of what is computed, and on a CPU the usual
kernel's backward pass takes longest where the heads are short. Registered with transformers under `NAME`: a
model that uses it attends as with sdpa, unless its forward pass is given `segments`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Any, Final

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME: Final = "thumbloop_packed"
LONGEST: Final = 256
"""Tokens that an example has after the prefix at most: what it gives to what is kept for the way back."""


@contextmanager
def used_by(model: Any) -> Iterator[None]:
    """Let `model`, with or without an adapter, attend so inside the block: on a CPU, where it can."""
    model = model.get_base_model() if hasattr(model, "get_base_model") else model
    before = model.config._attn_implementation
    if before == NAME or model.device.type != "cpu" or not model._supports_attention_backend:
        yield
        return
    model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def is_used_by(model: Any) -> bool:
    """Whether `model` attends so, and its forward pass takes segments."""
    return bool(model.config._attn_implementation == NAME)


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    segments: Sequence[int] | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """[1, heads, N, size] and [1, key/value heads, N, size] to [1, N, heads, size].

    `segments` are the lengths of the row's prefix and of every rest that follows it, N together.
    """
    if segments is None or options.get("dropout"):
        out, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    else:
        scaling = options.get("scaling") or query.shape[-1] ** -0.5
        out = _ByExample.apply(query, key, value, tuple(segments), scaling)  # type: ignore[no-untyped-call]
    return out, None


class _ByExample(torch.autograd.Function):
    """In fp32, with query heads that share a key head as further queries of it: nothing is repeated."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, segments: tuple[int, ...], scaling: float
    ) -> Tensor:
        """Keeps the weights of every example: LONGEST bounds what they take."""
        heads, kv_heads = query.shape[1], key.shape[1]
        q = _by_key_head(query[0].transpose(0, 1), kv_heads)
        k, v = key[0].float().contiguous(), value[0].float().contiguous()
        out = torch.empty_like(q)
        weights = []
        for rows, seen, mask in _examples(segments, heads // kv_heads, q.device):
            asked = q[:, rows].flatten(1, 2)
            scores = torch.baddbmm(mask, asked, seen(k).transpose(1, 2), alpha=scaling)
            weights.append(torch.softmax(scores, -1))
            out[:, rows] = torch.bmm(weights[-1], seen(v)).view(out[:, rows].shape)
        ctx.save_for_backward(q, k, v, *weights)
        ctx.segments, ctx.scaling, ctx.dtype = segments, scaling, query.dtype
        return _by_token(out).to(query.dtype)[None]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of query, key and value."""
        q, k, v, *weights = ctx.saved_tensors
        of_out = _by_key_head(gradients[0][0], k.shape[0])
        of_q, of_k, of_v = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        prefix = ctx.segments[0]
        for (rows, seen, _), weight in zip(
            _examples(ctx.segments, q.shape[2], q.device), weights, strict=True
        ):
            asked, said = q[:, rows].flatten(1, 2), of_out[:, rows].flatten(1, 2)
            of_weight = torch.bmm(said, seen(v).transpose(1, 2))
            of_scores = torch._softmax_backward_data(of_weight, weight, -1, torch.float32).mul_(ctx.scaling)
            of_q[:, rows] = torch.bmm(of_scores, seen(k)).view(of_q[:, rows].shape)
            for of_seen, total in (
                (torch.bmm(of_scores.transpose(1, 2), asked), of_k),
                (torch.bmm(weight.transpose(1, 2), said), of_v),
            ):
                total[:, rows] += of_seen[:, -(rows.stop - rows.start) :]
                if rows.start:
                    total[:, :prefix] += of_seen[:, :prefix]
        of_q = _by_token(of_q).transpose(0, 1)
        return *(t.to(ctx.dtype)[None] for t in (of_q, of_k, of_v)), None, None


def _examples(
    segments: Sequence[int], groups: int, device: torch.device
) -> Iterator[tuple[slice, Any, Tensor]]:
    """Of the prefix and every rest: its rows, what it sees of keys or values, and the mask over that."""
    prefix = segments[0]
    for start, stop in pairwise(accumulate(segments, initial=0)):
        if start == stop:
            continue
        before = prefix if start else 0

        def seen(t: Tensor, start: int = start, stop: int = stop, before: int = before) -> Tensor:
            return torch.cat((t[:, :before], t[:, start:stop]), dim=1) if before else t[:, start:stop]

        yield slice(start, stop), seen, _mask(before, stop - start, groups, device)


def _by_key_head(t: Tensor, kv_heads: int) -> Tensor:
    """[N, heads, size] to fp32 [key/value heads, N, heads that share one, size]."""
    return t.reshape(t.shape[0], kv_heads, -1, t.shape[2]).transpose(0, 1).float().contiguous()


def _by_token(t: Tensor) -> Tensor:
    """[key/value heads, N, heads that share one, size] to [N, heads, size]."""
    return t.transpose(0, 1).flatten(1, 2)


@lru_cache(maxsize=512)
def _mask(before: int, length: int, groups: int, device: torch.device) -> Tensor:
    """[1, length * groups, before + length], added to the scores: each token sees up to itself."""
    seen = torch.ones(length, before + length, dtype=torch.bool, device=device).tril(before)
    mask = torch.zeros(seen.shape, device=device).masked_fill_(~seen, float("-inf"))
    return mask.repeat_interleave(groups, 0)[None]


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, sdpa_mask)
