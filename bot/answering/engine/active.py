"""The adapters that take part in a step, side by side, so that one product serves rows of every adapter.

At each site (a product of the forward pass, maybe several linear layers that read the same input) the
adapters' down matrices stand in one [inputs, ranks] matrix; each row keeps only the columns of its own
adapter, and the up matrices, stacked by rank, bring it back: one for each linear layer, or one for all of the
site where the zeros between them cost less than further calls. Nothing is held twice: while an adapter is
active, its own tensors are views into the stacked ones.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bot.answering.engine.lora import LoadedAdapter

Masks = dict[tuple[int, ...], Tensor | None]
"""By the owners of a site's ranks, [rows, ranks]: 1 where the row speaks with that owner; None: all do."""

_CALL = 2**18
"""Bytes read in the time that one more product takes to call: so many zeros are cheaper (seen on a CPU)."""

_SURPLUS_STEPS = 24
"""Steps in a row that may have too many members: after so many these have cost as much as restacking does."""


@dataclass(frozen=True)
class Site:
    """Linear layers that read the same input: `modules` are their paths, `outputs` their features."""

    modules: tuple[str, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class _Up:
    """Stacked up matrices: `ranks` of the site from `first` on to `outputs` of it from `start` on."""

    first: int
    ranks: int
    start: int
    outputs: int
    matrix: Tensor


@dataclass(frozen=True)
class _Stacked:
    """What a site adds: `down` is [inputs, ranks]; `owners` names the adapter (by place) of every rank."""

    down: Tensor
    ups: tuple[_Up, ...]
    owners: tuple[int, ...]
    whole: bool


class ActiveAdapters:
    """Holds the stacked matrices for the current set of adapters and the masks of the current step."""

    def __init__(self, sites: Sequence[Site], device: torch.device, dtype: torch.dtype) -> None:
        self._sites = sites
        self._device = device
        self._dtype = dtype
        self._members: list[LoadedAdapter] = []
        self._stacked: list[_Stacked | None] = [None] * len(sites)
        self._stackings = 0
        self._surplus_steps = 0
        self.masks: Masks | None = None

    def begin_step(self, rows: Sequence[LoadedAdapter | None]) -> None:
        """Make ready for a step whose row i is spoken by adapter `rows[i]`."""
        needed = list(dict.fromkeys(row for row in rows if row is not None))
        if not needed:
            self.masks = None
            return
        # restacking costs two steps, members without rows a little every step: as many again may stay, and
        # the question that comes alone after a burst doesn't wait until the burst's adapters are put away
        self._surplus_steps = self._surplus_steps + 1 if len(self._members) > 2 * len(needed) else 0
        if not set(needed) <= set(self._members) or self._surplus_steps > _SURPLUS_STEPS:
            self._restack(needed)
        place = {adapter: i for i, adapter in enumerate(self._members)}
        speaks = [-1 if row is None else place[row] for row in rows]
        layouts = {stacked.owners for stacked in self._stacked if stacked is not None}
        if len(set(speaks)) == 1:
            self.masks = {owners: None for owners in layouts if set(owners) == {speaks[0]}}
        else:
            self.masks = {}
        by_row = torch.tensor(speaks, device=self._device).unsqueeze(1)
        for owners in layouts - set(self.masks):
            columns = torch.tensor(owners, device=self._device).unsqueeze(0)
            self.masks[owners] = (by_row == columns).to(self._dtype)

    def state(self) -> Hashable:
        """Equal for steps that differ in what the masks hold at most, not in which products are computed."""
        if self.masks is None:
            return None
        return self._stackings, frozenset((owners, mask is None) for owners, mask in self.masks.items())

    def speak_at(self, site: int) -> bool:
        """Whether `add` would change anything at this site."""
        return self.masks is not None and self._stacked[site] is not None

    def add(self, site: int, x: Tensor, out: Tensor, rows: Tensor | None = None) -> None:
        """Add to `out` [rows, outputs of the site] what the adapters say to `x` [rows, inputs].

        `rows` names the step's rows that `x` holds, where it doesn't hold all of them.
        """
        stacked = self._stacked[site]
        if stacked is None or self.masks is None:
            return
        narrow = torch.mm(x, stacked.down)
        mask = self.masks[stacked.owners]
        if mask is not None:
            narrow.mul_(mask if rows is None else mask.index_select(0, rows))
        if stacked.whole:
            out.addmm_(narrow, stacked.ups[0].matrix)
            return
        for up in stacked.ups:
            out.narrow(1, up.start, up.outputs).addmm_(narrow.narrow(1, up.first, up.ranks), up.matrix)

    def release(self, adapter: LoadedAdapter) -> None:
        """Let go of an adapter that no row of a later step speaks with."""
        if adapter in self._members:
            self._restack([member for member in self._members if member is not adapter])

    def _restack(self, members: list[LoadedAdapter]) -> None:
        leaving = [adapter for adapter in self._members if adapter not in members]
        self._members = []  # until all is done: when memory runs out half-way, the next step stacks anew
        for adapter in leaving:
            adapter.move_out()
        self._stackings += 1
        self._surplus_steps = 0
        self._stacked = [_stack(site, members) for site in self._sites]
        self._members = members


def _stack(site: Site, members: Sequence[LoadedAdapter]) -> _Stacked | None:
    """Copy the members' matrices side by side, and make their own views into that."""
    having = [
        [(place, adapter.pairs[module]) for place, adapter in enumerate(members) if module in adapter.pairs]
        for module in site.modules
    ]
    if not any(having):
        return None
    down = torch.cat([pair.down for part in having for _, pair in part], dim=1)
    parts = [(number, part) for number, part in enumerate(having) if part]
    ranks = [sum(pair.rank for _, pair in part) for _, part in parts]
    outputs = sum(site.outputs)
    held = sum(rank * site.outputs[number] for rank, (number, _) in zip(ranks, parts, strict=True))
    zeros = (sum(ranks) * outputs - held) * down.element_size()
    in_one = down.new_zeros(sum(ranks), outputs) if zeros <= (len(parts) - 1) * _CALL else None
    owners: list[int] = []
    ups: list[_Up] = []
    for rank, (number, part) in zip(ranks, parts, strict=True):
        first, start = len(owners), sum(site.outputs[:number])
        matrix = torch.cat([pair.up for _, pair in part])
        if in_one is None:
            ups.append(_Up(first, rank, start, site.outputs[number], matrix))
        else:
            matrix = in_one[first : first + rank, start : start + site.outputs[number]].copy_(matrix)
        for place, pair in part:
            at = len(owners)
            pair.up = matrix.narrow(0, at - first, pair.rank)
            pair.down = down.narrow(1, at, pair.rank)
            owners += [place] * pair.rank
    if in_one is not None:
        ups = [_Up(0, sum(ranks), 0, outputs, in_one)]
    whole = len(ups) == 1 and ups[0].outputs == outputs
    return _Stacked(down, tuple(ups), tuple(owners), whole)
