"""Keys and values of the answers under way: slabs of slots, one slot an answer, grouped by length.

Attention over a slab costs as much as its longest answer times its answers, so answers of very different
length live in different slabs. In a slab the slots that decode come first and without gaps: a step reads
them as one view. A slab begins with as many slots as a little memory holds, grows by doubling and gives
memory back when it is empty: all of it, but the slab of short answers keeps what it begins with, because
taking it anew for the next burst would cost that as much time as a step.
Tensors are [layers, slots, 2 (key, value), key/value heads, positions, head size].
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bot.answering.engine import memory

_SMALLEST = 512
_STEP_UP = 4
_AT_FIRST = 2**28  # bytes: sixteen short answers of a small model, and never less than two answers


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

    def __init__(self, shape: CacheShape, positions: int, *, stays: bool) -> None:
        self.positions = positions
        self.seats: list[Seat] = []
        self.decoding = 0
        self._shape = shape
        self._stays = stays
        self.data = self._allocate(0)

    def _allocate(self, slots: int) -> Tensor:
        shape = self._shape
        sizes = (shape.layers, slots, 2, shape.heads, self.positions, shape.head_size)
        # zeros: a masked position weighs nothing, but nothing times garbage may be NaN
        return memory.zeros(math.prod(sizes), shape.dtype, shape.device).view(sizes)

    def _first_slots(self) -> int:
        shape = self._shape
        slot = 2 * shape.layers * shape.heads * self.positions * shape.head_size * shape.dtype.itemsize
        return max(2, min(16, _AT_FIRST // slot))

    def take(self) -> Seat:
        """A free slot, not decoding yet. Raises what torch raises when memory is short."""
        slots = self.data.shape[1]
        if len(self.seats) == slots:
            grown = self._allocate(2 * slots or self._first_slots())
            for seat in self.seats:
                grown[:, seat.slot, :, :, : seat.length] = seat.keys_and_values(seat.length)
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
        if not self.seats and not (self._stays and self.data.shape[1] == self._first_slots()):
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
        self.slabs = [Slab(shape, length, stays=length == lengths[0]) for length in lengths]

    def seat(self, positions: int) -> Seat:
        """A seat for an answer that takes at most `positions` positions, prompt included."""
        return next(slab for slab in self.slabs if slab.positions >= positions).take()
