"""What one step computes, and attention over it.

A step is a flat row of tokens: first one token of every decoding answer, slab by slab and slot by slot,
then chunks of prompts. `Batch` says which answer and position each row belongs to; `attend` writes the
rows' keys and values to their slots and lets every row look back at its own answer only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from bot.answering.engine.cache import Seat, Slab

_MASK_GRAIN = 16  # lengths under a mask are rounded up: CUDA's fused kernels ask for aligned masks


@dataclass(frozen=True)
class Attention:
    """How a model attends: `window` is how far it looks back (None: all the way), `softcap` bounds scores."""

    scale: float
    window: int | None = None
    softcap: float | None = None


@dataclass
class Decoding:
    """Rows `first` to `first + count` are the next tokens of a slab's first `count` slots."""

    slab: Slab
    first: int
    count: int
    slots: Tensor
    positions: Tensor
    length: int
    even: bool
    masks: dict[int | None, Tensor | None] = field(default_factory=dict)

    def mask(self, window: int | None, dtype: torch.dtype) -> Tensor | None:
        """[count, 1, 1, length], added to the scores; None when every row sees all of it."""
        if window not in self.masks:
            if self.even and (window is None or window >= self.length):
                self.masks[window] = None
            else:
                there = torch.arange(self.length, device=self.positions.device)
                self.masks[window] = _mask(self.positions, there, window, dtype)[:, None, None]
        return self.masks[window]


@dataclass
class Chunk:
    """Rows `first` to `first + count` are the prompt of one answer from position `past` on."""

    seat: Seat
    first: int
    count: int
    past: int
    masks: dict[int | None, Tensor | None] = field(default_factory=dict)

    def mask(self, window: int | None, like: Tensor) -> Tensor | None:
        """[count, past + count], added to the scores; None for a prompt's start, which is plainly causal."""
        if window not in self.masks:
            if self.past == 0 and (window is None or window >= self.count):
                self.masks[window] = None
            else:
                there = torch.arange(self.past + self.count, device=like.device)
                self.masks[window] = _mask(there[self.past :], there, window, like.dtype)
        return self.masks[window]


@dataclass
class Batch:
    """One step: `tokens` and `positions` are [rows]; logits are wanted of `wanted` rows only."""

    tokens: Tensor
    positions: Tensor
    wanted: Tensor
    decoding: Sequence[Decoding]
    chunks: Sequence[Chunk]

    def attend(self, layer: int, queries: Tensor, keys_values: Tensor, how: Attention) -> Tensor:
        """[rows, heads, size] and [rows, 2, key/value heads, size] to [rows, heads * size]."""
        _, heads, size = queries.shape
        kv_heads = keys_values.shape[2]
        shared = heads // kv_heads
        said: list[Tensor] = []
        for group in self.decoding:
            end = group.first + group.count
            data = group.slab.data[layer]
            data[group.slots, :, :, group.positions] = keys_values[group.first : end]
            seen = data[: group.count, :, :, : group.length]
            # query heads that share a key head stand where query positions do: nothing is repeated
            asked = queries[group.first : end].view(group.count, kv_heads, shared, size)
            mask = group.mask(how.window, queries.dtype)
            said.append(
                _weigh(asked, seen[:, 0], seen[:, 1], mask, False, how).reshape(group.count, heads * size)
            )
        for chunk in self.chunks:
            end = chunk.first + chunk.count
            own = chunk.seat.slab.data[layer, chunk.seat.slot]
            own[:, :, chunk.past : chunk.past + chunk.count] = keys_values[chunk.first : end].permute(
                1, 2, 0, 3
            )
            seen = own[:, :, None, : chunk.past + chunk.count].expand(-1, -1, shared, -1, -1)
            asked = queries[chunk.first : end].view(chunk.count, kv_heads, shared, size).permute(1, 2, 0, 3)
            mask = chunk.mask(how.window, queries)
            out = _weigh(asked, seen[0], seen[1], mask, mask is None, how)
            said.append(out.permute(2, 0, 1, 3).reshape(chunk.count, heads * size))
        return said[0] if len(said) == 1 else torch.cat(said)


def _mask(rows: Tensor, there: Tensor, window: int | None, dtype: torch.dtype) -> Tensor:
    seen = there <= rows[:, None]
    if window is not None:
        seen &= there > rows[:, None] - window
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, float("-inf"))


def _weigh(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, how: Attention) -> Tensor:
    if how.softcap is None:
        return scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, scale=how.scale)
    scores = torch.matmul(q, k.transpose(-1, -2)) * how.scale
    scores = torch.tanh(scores / how.softcap) * how.softcap
    if causal:
        there = torch.arange(k.shape[-2], device=k.device)
        mask = _mask(there, there, None, q.dtype)
    if mask is not None:
        scores = scores + mask
    return torch.matmul(scores.softmax(-1, dtype=torch.float32).to(q.dtype), v)


@dataclass
class Planned:
    """A chunk to be computed: these tokens of the answer on `seat`, from its `length` on."""

    seat: Seat
    tokens: Sequence[int]
    wants_logits: bool


def lay_out(
    slabs: Sequence[Slab], next_token: dict[Seat, int], chunks: Sequence[Planned], device: torch.device
) -> Batch:
    """The batch of a step: `next_token` of every decoding seat, then `chunks`.

    The logits come in the same order: decoding seats slab by slab, then the chunks that want them.
    """
    tokens: list[int] = []
    positions: list[int] = []
    wanted: list[int] = []
    groups: list[tuple[Slab, int, int]] = []
    pieces: list[Chunk] = []
    for slab in slabs:
        if slab.decoding:
            groups.append((slab, len(tokens), slab.decoding))
            for seat in slab.seats[: slab.decoding]:
                wanted.append(len(tokens))
                tokens.append(next_token[seat])
                positions.append(seat.length)
    for planned in chunks:
        seat = planned.seat
        pieces.append(Chunk(seat, len(tokens), len(planned.tokens), seat.length))
        tokens.extend(planned.tokens)
        positions.extend(range(seat.length, seat.length + len(planned.tokens)))
        if planned.wants_logits:
            wanted.append(len(tokens) - 1)
    at = torch.tensor(positions, device=device)
    decoding = []
    for slab, first, count in groups:
        mine = positions[first : first + count]
        even = min(mine) == max(mine)
        length = max(mine) + 1
        if not even:
            length = min(-(-length // _MASK_GRAIN) * _MASK_GRAIN, slab.positions)
        slots = torch.arange(count, device=device)
        decoding.append(Decoding(slab, first, count, slots, at[first : first + count], length, even))
    return Batch(
        torch.tensor(tokens, device=device),
        at,
        torch.tensor(wanted, device=device, dtype=torch.long),
        decoding,
        pieces,
    )
