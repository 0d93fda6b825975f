"""What one step computes, and attention over it.

A step is a flat row of tokens: first one token of every decoding answer, slab by slab and slot by slot,
then chunks of prompts. `Batch` says which answer and position each row belongs to; `attend` writes the
rows' keys and values to their slots and lets every row look back at its own answer only. A burst of short
questions is many short chunks: those are attended in one call as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, groupby

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from bot.answering.engine.cache import Seat, Slab

_SHORT = 32  # tokens: prompts that go on by so few are attended in one call, filled up to the longest
_MASK_GRAIN = 16  # lengths under a mask are rounded up: CUDA's fused kernels ask for aligned masks


@dataclass(frozen=True)
class Attention:
    """How a model attends: `window` is how far it looks back (None: all the way), `softcap` bounds scores."""

    scale: float
    window: int | None = None
    softcap: float | None = None


@dataclass
class Together:
    """Rows of several answers in one slab, attended in one call: `each` rows an answer, or fewer.

    The rows are `first` to `first + count` of the step, answer after answer. `slots` and `positions` are of
    each row, `answers` are the slots of the answers. Where answers have different numbers of rows, `padded`
    [answers * each] names the row for every place (the answer's last one where it has no more), and `rows`
    [count] the place of every row.
    """

    slab: Slab
    first: int
    count: int
    slots: Tensor
    positions: Tensor
    answers: slice | Tensor
    each: int
    length: int
    even: bool
    padded: Tensor | None = None
    rows: Tensor | None = None
    masks: dict[int | None, Tensor | None] = field(default_factory=dict)

    def mask(self, window: int | None, shared: int, dtype: torch.dtype) -> Tensor | None:
        """[answers, 1, each * shared, length], added to the scores; None when every row sees all of it."""
        if window not in self.masks:
            if self.even and (window is None or window >= self.length):
                self.masks[window] = None
            else:
                there = torch.arange(self.length, device=self.positions.device)
                at = self.positions if self.padded is None else self.positions[self.padded]
                mask = _mask(at, there, window, dtype).view(-1, self.each, 1, self.length)
                # a single row an answer is the same for all query heads: it need not be written out
                heads = 1 if self.each == 1 else shared
                self.masks[window] = mask.expand(-1, -1, heads, -1).reshape(
                    -1, 1, self.each * heads, self.length
                )
        return self.masks[window]

    def attend(self, layer: int, queries: Tensor, keys_values: Tensor, how: Attention) -> Tensor:
        """The step's [rows, heads, size] and [rows, 2, key/value heads, size] to [count, heads * size]."""
        end = self.first + self.count
        _, heads, size = queries.shape
        kv_heads = keys_values.shape[2]
        data = self.slab.data[layer]
        data[self.slots, :, :, self.positions] = keys_values[self.first : end]
        seen = data[self.answers, :, :, : self.length]
        asked = queries[self.first : end]
        if self.padded is not None:
            asked = asked.index_select(0, self.padded)
        # query heads that share a key head stand where query positions do: nothing is repeated
        by_answer = (-1, self.each, kv_heads, heads // kv_heads, size)
        asked = asked.view(by_answer).transpose(1, 2).flatten(2, 3)
        mask = self.mask(how.window, heads // kv_heads, queries.dtype)
        said = _weigh(asked, seen[:, 0], seen[:, 1], mask, False, how)
        said = said.view(-1, kv_heads, self.each, heads // kv_heads, size).transpose(1, 2)
        said = said.reshape(-1, heads * size)
        return said if self.rows is None else said.index_select(0, self.rows)


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

    def attend(self, layer: int, queries: Tensor, keys_values: Tensor, how: Attention) -> Tensor:
        """The step's [rows, heads, size] and [rows, 2, key/value heads, size] to [count, heads * size]."""
        end = self.first + self.count
        _, heads, size = queries.shape
        kv_heads = keys_values.shape[2]
        shared = heads // kv_heads
        own = self.seat.slab.data[layer, self.seat.slot]
        own[:, :, self.past : self.past + self.count] = keys_values[self.first : end].permute(1, 2, 0, 3)
        seen = own[:, :, None, : self.past + self.count].expand(-1, -1, shared, -1, -1)
        asked = queries[self.first : end].view(self.count, kv_heads, shared, size).permute(1, 2, 0, 3)
        mask = self.mask(how.window, queries)
        out = _weigh(asked, seen[0], seen[1], mask, mask is None, how)
        return out.permute(2, 0, 1, 3).reshape(self.count, heads * size)


@dataclass
class Batch:
    """One step: `tokens` and `positions` are [rows]; logits are wanted of `wanted` rows only."""

    tokens: Tensor
    positions: Tensor
    wanted: Tensor
    groups: Sequence[Together | Chunk]

    def attend(self, layer: int, queries: Tensor, keys_values: Tensor, how: Attention) -> Tensor:
        """[rows, heads, size] and [rows, 2, key/value heads, size] to [rows, heads * size]."""
        said = [group.attend(layer, queries, keys_values, how) for group in self.groups]
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
    planned = [
        *(Planned(seat, [next_token[seat]], True) for slab in slabs for seat in slab.seats[: slab.decoding]),
        *chunks,
    ]
    tokens: list[int] = []
    positions: list[int] = []
    wanted: list[int] = []
    for piece in planned:
        tokens.extend(piece.tokens)
        positions.extend(range(piece.seat.length, piece.seat.length + len(piece.tokens)))
        if piece.wants_logits:
            wanted.append(len(tokens) - 1)
    at = torch.tensor(positions, device=device)
    groups: list[Together | Chunk] = []
    first = 0
    for (_, _, short), run in groupby(planned, _attended_with):
        pieces = list(run)
        if short and (len(pieces) > 1 or pieces[0].seat.decodes):
            groups.append(_together(pieces, first, positions, at))
        else:
            starts = accumulate((len(piece.tokens) for piece in pieces), initial=first)
            groups += [
                Chunk(piece.seat, start, len(piece.tokens), piece.seat.length)
                for piece, start in zip(pieces, starts, strict=False)
            ]
        first += sum(len(piece.tokens) for piece in pieces)
    return Batch(
        torch.tensor(tokens, device=device),
        at,
        torch.tensor(wanted, device=device, dtype=torch.long),
        groups,
    )


def _attended_with(piece: Planned) -> tuple[int, bool, bool]:
    """Pieces that follow one another with the same key are attended in one call, if the last says so."""
    return piece.seat.slab.positions, piece.seat.decodes, len(piece.tokens) <= _SHORT


def _together(pieces: Sequence[Planned], first: int, positions: Sequence[int], at: Tensor) -> Together:
    slab = pieces[0].seat.slab
    counts = [len(piece.tokens) for piece in pieces]
    slots = [piece.seat.slot for piece in pieces]
    count, each = sum(counts), max(counts)
    mine = positions[first : first + count]
    even = min(mine) == max(mine)
    length = max(mine) + 1
    if not even:
        length = min(-(-length // _MASK_GRAIN) * _MASK_GRAIN, slab.positions)

    def index(numbers: Sequence[int]) -> Tensor:
        return torch.tensor(numbers, device=at.device)

    keyed_lock = slots == list(range(slots[0], slots[0] + len(slots)))
    together = Together(
        slab,
        first,
        count,
        index([slot for slot, rows in zip(slots, counts, strict=True) for _ in range(rows)]),
        at[first : first + count],
        slice(slots[0], slots[0] + len(slots)) if keyed_lock else index(slots),
        each,
        length,
        even,
    )
    if min(counts) < each:
        starts = list(accumulate(counts, initial=0))[:-1]
        both = list(zip(starts, counts, strict=True))
        together.padded = index([start + min(i, rows - 1) for start, rows in both for i in range(each)])
        together.rows = index([place * each + i for place, rows in enumerate(counts) for i in range(rows)])
    return together
