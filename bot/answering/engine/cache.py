"""The KV cache: keys and values of running requests, in slabs of slots, one slot a request.

Attention over a slab costs its longest request times its requests, so requests of very different length live
in different slabs. In a slab the decoding slots come first and without gaps: a step reads them as one view.
A slab starts with as many slots as fit a little memory, doubles when it is full, and gives all its memory
back when it is empty. Only the slab of the shortest requests keeps its first slots: allocating them again for
the next burst would cost that burst a step's time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bot.answering.engine import memory

_SHORTEST_SLAB = 512  # positions
_LENGTH_FACTOR = 4
_INITIAL_BYTES = 2**28  # sixteen short requests of a small model, and never less than two requests


def copy(to: Tensor, source: Tensor) -> None:
    """Copy `source` into `to`, of the same shape.

    In fp32 on a CPU NumPy does it on this thread: torch would wake a team of threads for it, beside the
    engine's own, and on a busy machine wait for the slower of them.
    """
    if to.device.type == "cpu" and to.dtype == torch.float32:
        np.copyto(to.numpy(), source.numpy())
    else:
        to.copy_(source)


@dataclass(frozen=True)
class CacheShape:
    """What one position takes: `layers` (L) times keys and values of `kv_heads` (K) by `head_size` (D)."""

    layers: int
    kv_heads: int
    head_size: int
    dtype: torch.dtype
    device: torch.device


class Slot:
    """One request's place in a slab. `length` of its positions are filled."""

    def __init__(self, slab: Slab, index: int) -> None:
        self.slab = slab
        self.index = index
        self.length = 0

    @property
    def is_decoding(self) -> bool:
        """Whether the prompt is computed, so that every step adds a token."""
        return self.index < self.slab.decoding

    def keys_and_values(self, length: int) -> Tensor:
        """The first `length` positions, a view: (L, 2, K, length, D)."""
        return self.slab.data[:, self.index, :, :, :length]

    def begin_decoding(self) -> None:
        """The prompt is computed: move to the slots that decode."""
        self.slab.swap(self.index, self.slab.decoding)
        self.slab.decoding += 1

    def free(self) -> None:
        """Give the slot back; it must not be used afterwards."""
        self.slab.free(self)


class Slab:
    """Slots of `positions` (P) positions each, in order of `Slot.index`; the first `decoding` of them decode.

    `data` is (L, S, 2, K, P, D); the 2 are keys and values.
    """

    def __init__(self, shape: CacheShape, positions: int, *, keeps_initial: bool) -> None:
        self.positions = positions
        self.slots: list[Slot] = []
        self.decoding = 0
        self._shape = shape
        self._keeps_initial = keeps_initial
        self.data = self._zeros(0)

    def _zeros(self, capacity: int) -> Tensor:
        shape = self._shape
        sizes = (shape.layers, capacity, 2, shape.kv_heads, self.positions, shape.head_size)
        # zeros, because a masked position has weight 0, and 0 times an uninitialised NaN is NaN
        return memory.zeros(math.prod(sizes), shape.dtype, shape.device).view(sizes)

    def _initial_capacity(self) -> int:
        shape = self._shape
        slot_bytes = (
            2 * shape.layers * shape.kv_heads * self.positions * shape.head_size * shape.dtype.itemsize
        )
        return max(2, min(16, _INITIAL_BYTES // slot_bytes))

    def allocate(self) -> Slot:
        """A free slot, not decoding yet. Raises what torch raises when memory is short."""
        capacity = self.data.shape[1]
        if len(self.slots) == capacity:
            grown = self._zeros(2 * capacity or self._initial_capacity())  # (L, S, 2, K, P, D)
            for slot in self.slots:
                copy(grown[:, slot.index, :, :, : slot.length], slot.keys_and_values(slot.length))
            self.data = grown
        slot = Slot(self, len(self.slots))
        self.slots.append(slot)
        return slot

    def swap(self, a: int, b: int) -> None:
        """Exchange the requests in slots `a` and `b`."""
        if a == b:
            return
        first, second = self.slots[a], self.slots[b]
        length = max(first.length, second.length)
        if length:
            view = self.data[:, :, :, :, :length]  # (L, S, 2, K, length, D)
            saved = torch.empty_like(view[:, a])  # (L, 2, K, length, D)
            copy(saved, view[:, a])
            copy(view[:, a], view[:, b])
            copy(view[:, b], saved)
        self.slots[a], self.slots[b] = second, first
        first.index, second.index = b, a

    def free(self, slot: Slot) -> None:
        """Close the gap that `slot` leaves: first among the decoding slots, then among all."""
        if slot.is_decoding:
            self.decoding -= 1
            self._fill(slot, self.decoding)
        self._fill(slot, len(self.slots) - 1)
        self.slots.pop()
        if not self.slots and not (self._keeps_initial and self.data.shape[1] == self._initial_capacity()):
            self.data = self._zeros(0)

    def _fill(self, freed: Slot, last: int) -> None:
        """Move the request in slot `last` to where `freed` is, and `freed` to `last`."""
        moved, hole = self.slots[last], freed.index
        if moved is freed:
            return
        view = self.data[:, :, :, :, : moved.length]  # (L, S, 2, K, length, D)
        copy(view[:, hole], view[:, last])
        self.slots[hole], self.slots[last] = moved, freed
        moved.index, freed.index = hole, last


class Cache:
    """The slabs, shortest first."""

    def __init__(self, shape: CacheShape, context: int) -> None:
        lengths = [min(_SHORTEST_SLAB, context)]
        while lengths[-1] < context:
            lengths.append(min(lengths[-1] * _LENGTH_FACTOR, context))
        self.slabs = [Slab(shape, length, keeps_initial=length == lengths[0]) for length in lengths]

    def allocate(self, positions: int) -> Slot:
        """A slot of the shortest slab that holds a request of so many positions, prompt included."""
        return next(slab for slab in self.slabs if slab.positions >= positions).allocate()
