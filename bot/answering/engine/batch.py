"""What one step computes, and attention over it.

A step is a flat row of tokens: first one token of every decoding request, slab by slab and slot by slot,
then prefill chunks. `Batch` says which request and position each row belongs to; `attend` writes the rows'
keys and values to their slots and lets every row attend to its own request only. Decoding rows of a slab are
attended in one call, and so are short prefill chunks, of which a burst of questions brings many.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, groupby

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from bot.answering.engine.cache import Slab, Slot

_SHORT_CHUNK = 32  # tokens: prefill chunks of at most so many are padded and attended in one call
_MASK_ALIGNMENT = 16  # masked lengths are rounded up: CUDA's fused kernels ask for aligned masks


@dataclass(frozen=True)
class AttentionConfig:
    """A layer's attention: `window` is how far it looks back (None: all the way), `softcap` bounds scores."""

    scale: float
    window: int | None = None
    softcap: float | None = None


@dataclass
class BatchedRows:
    """Rows of several requests in one slab, attended in one call: `width` (W) rows a request, or fewer.

    The rows are `first` to `first + count` of the step, request after request. `row_slots` and `positions`
    are those of each row, `slots` are the requests'. They attend to the first `length` (E) positions;
    `same_length` says that all requests are that long, so that no mask is needed.
    Where requests have different numbers of rows they are padded to W: `pad_index` (B * W,) gives the row for
    every place (the request's last one where it has no more), and `unpad_index` (t,) the place of every row.
    """

    slab: Slab
    first: int
    count: int
    row_slots: Tensor
    positions: Tensor
    slots: slice | Tensor
    width: int
    length: int
    same_length: bool
    pad_index: Tensor | None = None
    unpad_index: Tensor | None = None
    masks: dict[int | None, Tensor | None] = field(default_factory=dict)

    def mask(self, window: int | None, kv_groups: int, dtype: torch.dtype) -> Tensor | None:
        """(B, 1, W * G, E), added to the scores; None when every row attends to all of E."""
        if window not in self.masks:
            if self.same_length and (window is None or window >= self.length):
                self.masks[window] = None
            else:
                keys = torch.arange(self.length, device=self.positions.device)  # (E,)
                queries = (
                    self.positions if self.pad_index is None else self.positions[self.pad_index]
                )  # (B * W,)
                mask = _causal_mask(queries, keys, window, dtype).view(
                    -1, self.width, 1, self.length
                )  # (B, W, 1, E)
                # with one row a request the mask is the same for all query heads: broadcast, not written out
                heads = 1 if self.width == 1 else kv_groups
                self.masks[window] = mask.expand(-1, -1, heads, -1).reshape(
                    -1, 1, self.width * heads, self.length
                )
        return self.masks[window]

    def attend(self, layer: int, queries: Tensor, keys_values: Tensor, config: AttentionConfig) -> Tensor:
        """The step's queries (T, H, D) and keys and values (T, 2, K, D) to this group's output (t, H * D)."""
        end = self.first + self.count
        _, heads, size = queries.shape
        kv_heads = keys_values.shape[2]
        data = self.slab.data[layer]  # (S, 2, K, P, D)
        data[self.row_slots, :, :, self.positions] = keys_values[self.first : end]  # (t, 2, K, D)
        cached = data[self.slots, :, :, : self.length]  # (B, 2, K, E, D)
        q = queries[self.first : end]  # (t, H, D)
        if self.pad_index is not None:
            q = q.index_select(0, self.pad_index)  # (B * W, H, D)
        # the G query heads that share a key/value head stand as further query positions: no key is repeated
        by_request = (-1, self.width, kv_heads, heads // kv_heads, size)
        q = q.view(by_request).transpose(1, 2).flatten(2, 3)  # (B, K, W * G, D)
        mask = self.mask(config.window, heads // kv_heads, queries.dtype)  # (B, 1, W * G, E)
        out = _attention(q, cached[:, 0], cached[:, 1], mask, False, config)  # (B, K, W * G, D)
        out = out.view(-1, kv_heads, self.width, heads // kv_heads, size).transpose(1, 2)  # (B, W, K, G, D)
        out = out.reshape(-1, heads * size)  # (B * W, H * D)
        return out if self.unpad_index is None else out.index_select(0, self.unpad_index)  # (t, H * D)


@dataclass
class ChunkRows:
    """Rows `first` to `first + count` are one request's prefill chunk, after `past` computed positions."""

    slot: Slot
    first: int
    count: int
    past: int
    masks: dict[int | None, Tensor | None] = field(default_factory=dict)

    def mask(self, window: int | None, like: Tensor) -> Tensor | None:
        """(t, past + t), added to the scores; None for a prompt's first chunk, which is plainly causal."""
        if window not in self.masks:
            if self.past == 0 and (window is None or window >= self.count):
                self.masks[window] = None
            else:
                keys = torch.arange(self.past + self.count, device=like.device)  # (E,)
                self.masks[window] = _causal_mask(keys[self.past :], keys, window, like.dtype)
        return self.masks[window]

    def attend(self, layer: int, queries: Tensor, keys_values: Tensor, config: AttentionConfig) -> Tensor:
        """The step's queries (T, H, D) and keys and values (T, 2, K, D) to this chunk's output (t, H * D)."""
        end = self.first + self.count
        _, heads, size = queries.shape
        kv_heads = keys_values.shape[2]
        kv_groups = heads // kv_heads
        own = self.slot.slab.data[layer, self.slot.index]  # (2, K, P, D)
        own[:, :, self.past : self.past + self.count] = keys_values[self.first : end].permute(1, 2, 0, 3)
        cached = own[:, :, None, : self.past + self.count].expand(
            -1, -1, kv_groups, -1, -1
        )  # (2, K, G, E, D)
        q = queries[self.first : end].view(self.count, kv_heads, kv_groups, size).permute(1, 2, 0, 3)
        mask = self.mask(config.window, queries)  # (t, E)
        out = _attention(q, cached[0], cached[1], mask, mask is None, config)  # (K, G, t, D)
        return out.permute(2, 0, 1, 3).reshape(self.count, heads * size)  # (t, H * D)


@dataclass
class Batch:
    """One step: `tokens` and `positions` are (T,), `logits_rows` (N,) the rows whose logits are wanted.

    `slots` are the rows' slots in order, each with how many rows it has.
    """

    tokens: Tensor
    positions: Tensor
    logits_rows: Tensor
    groups: Sequence[BatchedRows | ChunkRows]
    slots: Sequence[tuple[Slot, int]]

    def attend(self, layer: int, queries: Tensor, keys_values: Tensor, config: AttentionConfig) -> Tensor:
        """Queries (T, H, D) and keys and values (T, 2, K, D) to the layer's output (T, H * D)."""
        out = [group.attend(layer, queries, keys_values, config) for group in self.groups]  # (t, H * D) each
        return out[0] if len(out) == 1 else torch.cat(out)  # (T, H * D)


def _causal_mask(queries: Tensor, keys: Tensor, window: int | None, dtype: torch.dtype) -> Tensor:
    visible = keys <= queries[:, None]  # (queries, keys)
    if window is not None:
        visible &= keys > queries[:, None] - window
    return torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill_(
        ~visible, float("-inf")
    )


def _attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, config: AttentionConfig
) -> Tensor:
    if config.softcap is None:
        return scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, scale=config.scale)
    scores = torch.matmul(q, k.transpose(-1, -2)) * config.scale  # (..., queries, keys)
    scores = torch.tanh(scores / config.softcap) * config.softcap
    if causal:
        keys = torch.arange(k.shape[-2], device=k.device)
        mask = _causal_mask(keys, keys, None, q.dtype)
    if mask is not None:
        scores = scores + mask
    return torch.matmul(scores.softmax(-1, dtype=torch.float32).to(q.dtype), v)


@dataclass
class PrefillChunk:
    """Prompt tokens to compute in this step: `tokens` of the request in `slot`, from its `length` on."""

    slot: Slot
    tokens: Sequence[int]
    wants_logits: bool


def build_batch(
    slabs: Sequence[Slab], next_token: dict[Slot, int], chunks: Sequence[PrefillChunk], device: torch.device
) -> Batch:
    """The batch of a step: `next_token` of every decoding slot, then `chunks`.

    The logits come in the same order: decoding slots slab by slab, then the chunks that want them.
    """
    decoding = [slot for slab in slabs for slot in slab.slots[: slab.decoding]]
    # to attention, decoding is a chunk of one token
    scheduled = [*(PrefillChunk(slot, [next_token[slot]], True) for slot in decoding), *chunks]
    tokens: list[int] = []
    positions: list[int] = []
    logits_rows: list[int] = []
    for chunk in scheduled:
        tokens.extend(chunk.tokens)
        positions.extend(range(chunk.slot.length, chunk.slot.length + len(chunk.tokens)))
        if chunk.wants_logits:
            logits_rows.append(len(tokens) - 1)
    position_tensor = torch.tensor(positions, device=device)  # (T,)
    groups: list[BatchedRows | ChunkRows] = []
    first = 0
    for (_, _, short), neighbours in groupby(scheduled, _group_key):
        members = list(neighbours)
        if short and (len(members) > 1 or members[0].slot.is_decoding):
            groups.append(_batched_rows(members, first, positions, position_tensor))
        else:
            starts = accumulate((len(chunk.tokens) for chunk in members), initial=first)
            groups += [
                ChunkRows(chunk.slot, start, len(chunk.tokens), chunk.slot.length)
                for chunk, start in zip(members, starts, strict=False)
            ]
        first += sum(len(chunk.tokens) for chunk in members)
    return Batch(
        torch.tensor(tokens, device=device),
        position_tensor,
        torch.tensor(logits_rows, device=device, dtype=torch.long),
        groups,
        [(chunk.slot, len(chunk.tokens)) for chunk in scheduled],
    )


def _group_key(chunk: PrefillChunk) -> tuple[int, bool, bool]:
    """Neighbours with the same key may be attended in one call; the last part says whether they are short."""
    return chunk.slot.slab.positions, chunk.slot.is_decoding, len(chunk.tokens) <= _SHORT_CHUNK


def _batched_rows(
    chunks: Sequence[PrefillChunk], first: int, positions: Sequence[int], position_tensor: Tensor
) -> BatchedRows:
    """The group of `chunks`, all in one slab, whose rows begin at `first` of the step."""
    slab = chunks[0].slot.slab
    counts = [len(chunk.tokens) for chunk in chunks]
    slots = [chunk.slot.index for chunk in chunks]
    count, width = sum(counts), max(counts)
    own_positions = positions[first : first + count]
    same_length = min(own_positions) == max(own_positions)
    length = max(own_positions) + 1
    if not same_length:
        length = min(-(-length // _MASK_ALIGNMENT) * _MASK_ALIGNMENT, slab.positions)

    def index(numbers: Sequence[int]) -> Tensor:
        return torch.tensor(numbers, device=position_tensor.device)

    contiguous = slots == list(range(slots[0], slots[0] + len(slots)))
    group = BatchedRows(
        slab,
        first,
        count,
        index([slot for slot, rows in zip(slots, counts, strict=True) for _ in range(rows)]),
        position_tensor[first : first + count],
        slice(slots[0], slots[0] + len(slots)) if contiguous else index(slots),
        width,
        length,
        same_length,
    )
    if min(counts) < width:
        starts = list(accumulate(counts, initial=0))[:-1]
        spans = list(zip(starts, counts, strict=True))
        group.pad_index = index([start + min(i, rows - 1) for start, rows in spans for i in range(width)])
        group.unpad_index = index(
            [place * width + i for place, rows in enumerate(counts) for i in range(rows)]
        )
    return group
