"""The LoRA adapters of a step, stacked, so that one product serves rows of every adapter.

At each site (a product of the forward pass: one linear layer, or several with the same input) the adapters'
down matrices (LoRA's A) are concatenated to one (I, R). Each row keeps only the columns of its own adapter,
and the up matrices (LoRA's B), stacked along the rank, map it to the outputs: one for each linear layer, or a
single one for the whole site where the zeros between them cost less than further calls. Nothing is stored
twice: while an adapter is active, its own tensors are views into the stacked ones.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bot.answering.engine.lora import LoadedAdapter

Masks = dict[tuple[int, ...], Tensor | None]
"""For each tuple of rank owners, (T, R): 1 where the rank belongs to the row's adapter; None: everywhere."""

_CALL_BYTES = 2**18
"""Bytes read in the time that calling one more product takes (measured on a CPU): fewer zeros are cheaper."""

_SURPLUS_STEPS = 24
"""After so many steps in a row with too many stacked adapters, they have cost as much as restacking does."""


@dataclass(frozen=True)
class Site:
    """Linear layers with the same input: `modules` are their paths, `outputs` their output features."""

    modules: tuple[str, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class _Up:
    """A stacked up matrix (ranks, outputs), and where these begin among all ranks and outputs of the site."""

    first_rank: int
    ranks: int
    first_output: int
    outputs: int
    matrix: Tensor


@dataclass(frozen=True)
class _Stacked:
    """A site's matrices: `down` is (I, R); `owners` (R,) are the ranks' adapters, as places in the stack.

    `covers_site`: the only up matrix has all outputs of the site.
    """

    down: Tensor
    ups: tuple[_Up, ...]
    owners: tuple[int, ...]
    covers_site: bool


class ActiveAdapters:
    """The stacked matrices of the current set of adapters, and the masks of the current step."""

    def __init__(self, sites: Sequence[Site], device: torch.device, dtype: torch.dtype) -> None:
        self._sites = sites
        self._device = device
        self._dtype = dtype
        self._adapters: list[LoadedAdapter] = []
        self._stacked: list[_Stacked | None] = [None] * len(sites)
        self._restacks = 0
        self._surplus_steps = 0
        self.masks: Masks | None = None

    def begin_step(self, rows: Sequence[LoadedAdapter | None]) -> None:
        """Prepare a step whose row i uses the adapter `rows[i]`, or none."""
        needed = list(dict.fromkeys(row for row in rows if row is not None))
        if not needed:
            self.masks = None
            return
        # restacking costs two steps, an unused adapter in the stack a little every step: as many unused as
        # used ones may stay, so that a request alone after a burst doesn't wait for restacking
        self._surplus_steps = self._surplus_steps + 1 if len(self._adapters) > 2 * len(needed) else 0
        if not set(needed) <= set(self._adapters) or self._surplus_steps > _SURPLUS_STEPS:
            self._restack(needed)
        place = {adapter: i for i, adapter in enumerate(self._adapters)}
        owner_of_row = [-1 if row is None else place[row] for row in rows]
        layouts = {stacked.owners for stacked in self._stacked if stacked is not None}
        if len(set(owner_of_row)) == 1:
            self.masks = {owners: None for owners in layouts if set(owners) == {owner_of_row[0]}}
        else:
            self.masks = {}
        row_owners = torch.tensor(owner_of_row, device=self._device).unsqueeze(1)  # (T, 1)
        for owners in layouts - set(self.masks):
            rank_owners = torch.tensor(owners, device=self._device).unsqueeze(0)  # (1, R)
            self.masks[owners] = (row_owners == rank_owners).to(self._dtype)  # (T, R)

    def state(self) -> Hashable:
        """Equal for steps that compute the same products on the same matrices, whatever their masks hold."""
        if self.masks is None:
            return None
        return self._restacks, frozenset((owners, mask is None) for owners, mask in self.masks.items())

    def active_at(self, site: int) -> bool:
        """Whether `add` would change anything at this site."""
        return self.masks is not None and self._stacked[site] is not None

    def add(self, site: int, x: Tensor, out: Tensor, rows: Tensor | None = None) -> None:
        """Add each row's own LoRA update of `x` (T, I) to `out` (T, O), in place.

        `rows` (N,) are the step's rows that `x` and `out` hold, where they don't hold all T.
        """
        stacked = self._stacked[site]
        if stacked is None or self.masks is None:
            return
        h = torch.mm(x, stacked.down)  # (T, I) @ (I, R) -> (T, R)
        mask = self.masks[stacked.owners]
        if mask is not None:
            h.mul_(mask if rows is None else mask.index_select(0, rows))
        if stacked.covers_site:
            out.addmm_(h, stacked.ups[0].matrix)  # (T, R) @ (R, O) -> (T, O)
            return
        for up in stacked.ups:
            out.narrow(1, up.first_output, up.outputs).addmm_(h.narrow(1, up.first_rank, up.ranks), up.matrix)

    def release(self, adapter: LoadedAdapter) -> None:
        """Unstack an adapter that no later step uses."""
        if adapter in self._adapters:
            self._restack([other for other in self._adapters if other is not adapter])

    def _restack(self, adapters: list[LoadedAdapter]) -> None:
        removed = [adapter for adapter in self._adapters if adapter not in adapters]
        self._adapters = []  # until all is done: when memory runs out half-way, the next step stacks again
        for adapter in removed:
            adapter.unstack()
        self._restacks += 1
        self._surplus_steps = 0
        self._stacked = [_stack(site, adapters) for site in self._sites]
        self._adapters = adapters


def _stack(site: Site, adapters: Sequence[LoadedAdapter]) -> _Stacked | None:
    """Copy the adapters' matrices of a site side by side, and make their tensors views into the copies."""
    by_module = [
        [
            (place, adapter.layers[module])
            for place, adapter in enumerate(adapters)
            if module in adapter.layers
        ]
        for module in site.modules
    ]
    if not any(by_module):
        return None
    down = torch.cat([lora.down for layers in by_module for _, lora in layers], dim=1)  # (I, R)
    changed = [(number, layers) for number, layers in enumerate(by_module) if layers]
    ranks = [sum(lora.rank for _, lora in layers) for _, layers in changed]
    outputs = sum(site.outputs)
    filled = sum(rank * site.outputs[number] for rank, (number, _) in zip(ranks, changed, strict=True))
    zero_bytes = (sum(ranks) * outputs - filled) * down.element_size()
    single_up = (
        down.new_zeros(sum(ranks), outputs) if zero_bytes <= (len(changed) - 1) * _CALL_BYTES else None
    )
    owners: list[int] = []
    ups: list[_Up] = []
    for rank, (number, layers) in zip(ranks, changed, strict=True):
        first, start = len(owners), sum(site.outputs[:number])
        matrix = torch.cat([lora.up for _, lora in layers])  # (rank, outputs)
        if single_up is None:
            ups.append(_Up(first, rank, start, site.outputs[number], matrix))
        else:
            matrix = single_up[first : first + rank, start : start + site.outputs[number]].copy_(matrix)
        for place, lora in layers:
            at = len(owners)
            lora.up = matrix.narrow(0, at - first, lora.rank)  # (lora.rank, outputs)
            lora.down = down.narrow(1, at, lora.rank)  # (I, lora.rank)
            owners += [place] * lora.rank
    if single_up is not None:
        ups = [_Up(0, sum(ranks), 0, outputs, single_up)]
    covers_site = len(ups) == 1 and ups[0].outputs == outputs
    return _Stacked(down, tuple(ups), tuple(owners), covers_site)
