"""Keys and values of the answers under way: slabs of slots, one slot an answer, grouped by length.

Attention over a slab costs as much as its longest answer times its answers, so answers of very different
length live in different slabs. In a slab the slots that decode come first and without gaps: a step reads
them as one view. A slab grows by doubling and gives its memory back when it is empty.
Tensors are [layers, slots, 2 (key, value), key/value heads, positions, head size].
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_SMALLEST = 512
_STEP_UP = 4


@dataclass(frozen=True)
class CacheShape:
    """What one position of one layer takes."""

    layers: int
    heads: int
    head_size: int
    dtype: torch.dtype
    device: torch.device


class Seat:
    """One answer's place: a slot of a slab. `length` positions of it are filled."""

    def __init__(self, slab: Slab, slot: int) -> None:
        self.slab = slab
        self.slot = slot
        self.length = 0

    @property
    def decodes(self) -> bool:
        """Whether the prompt is computed, so that every step adds a token."""
        return self.slot < self.slab.decoding

    def keys_and_values(self, length: int) -> Tensor:
        """The first `length` positions, a view: [layers, 2, heads, length, head size]."""
        return self.slab.data[:, self.slot, :, :, :length]

    def begin_decoding(self) -> None:
        """The prompt is computed: take part in the slab's decoding group from now on."""
        self.slab.swap(self.slot, self.slab.decoding)
        self.slab.decoding += 1

    def leave(self) -> None:
        """Free the slot."""
        self.slab.leave(self)


class Slab:
    """Slots of `positions` positions each; `seats[i]` sits on slot i, the first `decoding` of them decode."""

    def __init__(self, shape: CacheShape, positions: int) -> None:
        self.positions = positions
        self.seats: list[Seat] = []
        self.decoding = 0
        self._shape = shape
        self.data = self._allocate(0)

    def _allocate(self, slots: int) -> Tensor:
        shape = self._shape
        # zeros: a masked position weighs nothing, but nothing times garbage may be NaN
        return torch.zeros(
            (shape.layers, slots, 2, shape.heads, self.positions, shape.head_size),
            dtype=shape.dtype,
            device=shape.device,
        )

    def take(self) -> Seat:
        """A free slot, not decoding yet. Raises what torch raises when memory is short."""
        if len(self.seats) == self.data.shape[1]:
            grown = self._allocate(max(2, 2 * self.data.shape[1]))
            grown[:, : self.data.shape[1]] = self.data
            self.data = grown
        seat = Seat(self, len(self.seats))
        self.seats.append(seat)
        return seat

    def swap(self, a: int, b: int) -> None:
        """Let the answers on slots `a` and `b` change places."""
        if a == b:
            return
        first, second = self.seats[a], self.seats[b]
        length = max(first.length, second.length)
        if length:
            view = self.data[:, :, :, :, :length]
            kept = view[:, a].clone()
            view[:, a] = view[:, b]
            view[:, b] = kept
        self.seats[a], self.seats[b] = second, first
        first.slot, second.slot = b, a

    def leave(self, seat: Seat) -> None:
        """Close the gap that `seat` leaves: first among the decoding slots, then among all."""
        if seat.decodes:
            self.decoding -= 1
            self._move_over(seat, self.decoding)
        self._move_over(seat, len(self.seats) - 1)
        self.seats.pop()
        if not self.seats:
            self.data = self._allocate(0)

    def _move_over(self, leaving: Seat, last: int) -> None:
        moved, hole = self.seats[last], leaving.slot
        if moved is leaving:
            return
        self.data[:, hole, :, :, : moved.length] = self.data[:, last, :, :, : moved.length]
        self.seats[hole], self.seats[last] = moved, leaving
        moved.slot, leaving.slot = hole, last


class Cache:
    """The slabs by length; `seat` finds the one where an answer of so many positions fits."""

    def __init__(self, shape: CacheShape, context: int) -> None:
        self.shape = shape
        lengths = [min(_SMALLEST, context)]
        while lengths[-1] < context:
            lengths.append(min(lengths[-1] * _STEP_UP, context))
        self.slabs = [Slab(shape, length) for length in lengths]

    def seat(self, positions: int) -> Seat:
        """A seat for an answer that takes at most `positions` positions, prompt included."""
        return next(slab for slab in self.slabs if slab.positions >= positions).take()
