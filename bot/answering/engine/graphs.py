"""Decoding steps as CUDA graphs: recorded once, then replayed in one call.

On a GPU a step of a small model is hundreds of kernels that each take less time than Python needs to call
them; a graph launches all of them at once (Nguyen et al. 2021, "Accelerating PyTorch with CUDA Graphs").
A step can be replayed where only its tokens, their positions and its rows' adapters change: one token of each
of the same number of requests, attending over the same slots up to the same rounded length.
Other steps, such as those with prefill, are computed kernel by kernel.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bot.answering.engine.active import ActiveAdapters
from bot.answering.engine.batch import Batch, BatchedRows
from training.model.libraries import is_out_of_memory

_SHORTEST = 128  # tokens: lengths are rounded up to powers of two from here on, so that few graphs serve all
_MAX_GRAPHS = 48

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Graph:
    """A recorded step: its static inputs (`batch`, `masks`) and its static output `logits` (N, V)."""

    recorded: torch.cuda.CUDAGraph
    batch: Batch
    masks: dict[tuple[int, ...], Tensor]
    logits: Tensor


class Graphs:
    """Runs `compute` for steps of `adapters`, from a graph where the same kind of step came before."""

    def __init__(self, compute: Callable[[Batch], Tensor], adapters: ActiveAdapters) -> None:
        self._compute = compute
        self._adapters = adapters
        self._pool = torch.cuda.graph_pool_handle()
        self._graphs: OrderedDict[Hashable, _Graph | None] = OrderedDict()
        self._logits: Tensor | None = None
        self._possible = True

    def __call__(self, batch: Batch) -> Tensor:
        """Logits (N, V) of the batch's `logits_rows`; valid until the next call."""
        groups = decode_groups(batch) if self._possible else None
        if groups is None:
            return self._compute(batch)
        key = (self._adapters.state(), *(_memory_read(group) for group in groups))
        if key not in self._graphs:
            # warm-up without a graph: libraries initialise what can't be initialised while recording
            self._graphs[key] = None
            if len(self._graphs) > _MAX_GRAPHS:
                self._graphs.popitem(last=False)
            logits = self._compute(batch)
            if self._logits is None or len(self._logits) < len(logits):
                # one output for all graphs: with a large vocabulary it is much of what a step takes
                self._logits = torch.empty_like(logits)  # (N, V)
            return logits
        self._graphs.move_to_end(key)
        graph = self._graphs[key]
        if graph is None:
            try:
                graph = self._graphs[key] = self._record(batch, groups)
            except RuntimeError as error:
                self._graphs.clear()
                if not is_out_of_memory(error):
                    self._possible = False
                    _log.warning("steps are computed without CUDA graphs, slower: %s", error)
                return self._compute(batch)
        graph.batch.tokens.copy_(batch.tokens)
        graph.batch.positions.copy_(batch.positions)
        for owners, mask in (self._adapters.masks or {}).items():
            if mask is not None:
                graph.masks[owners].copy_(mask)
        graph.recorded.replay()
        return graph.logits

    def _record(self, batch: Batch, groups: Sequence[BatchedRows]) -> _Graph:
        assert self._logits is not None
        logits = self._logits[: batch.logits_rows.numel()]  # (N, V), a view
        static = static_copy(batch, groups)
        current = self._adapters.masks
        masks = {owners: mask.clone() for owners, mask in (current or {}).items() if mask is not None}
        graph = torch.cuda.CUDAGraph()
        side_stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side_stream.wait_stream(torch.cuda.current_stream())
        self._adapters.masks = None if current is None else {**current, **masks}
        try:
            # not torch.cuda.graph, which first collects garbage and empties the cache: tens of milliseconds.
            # Other threads may copy adapters to the GPU meanwhile
            with torch.cuda.stream(side_stream):
                graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
                try:
                    logits.copy_(self._compute(static))
                except BaseException:  # whatever it is: a stream left recording can never be used again
                    with suppress(RuntimeError):
                        graph.capture_end()
                    raise
                graph.capture_end()
        finally:
            self._adapters.masks = current
        torch.cuda.current_stream().wait_stream(side_stream)
        return _Graph(graph, static, masks, logits)


def decode_groups(batch: Batch) -> list[BatchedRows] | None:
    """The groups of a step that only decodes, each on contiguous slots; None for any other step."""
    groups = [
        group
        for group in batch.groups
        if isinstance(group, BatchedRows) and group.width == 1 and isinstance(group.slots, slice)
    ]
    if len(groups) < len(batch.groups) or batch.logits_rows.numel() < batch.tokens.numel():
        return None
    return groups


def static_copy(batch: Batch, groups: Sequence[BatchedRows]) -> Batch:
    """A copy of a decoding step that stays right when other tokens and positions are copied into its own.

    Every request attends to the rounded-up length, under a mask that each pass makes from the positions.
    """
    tokens, positions = batch.tokens.clone(), batch.positions.clone()
    copies = [
        replace(
            group,
            row_slots=group.row_slots.clone(),
            positions=positions[group.first : group.first + group.count],
            length=_rounded_length(group),
            same_length=False,
            masks={},
        )
        for group in groups
    ]
    return Batch(tokens, positions, batch.logits_rows.clone(), copies, batch.slots)


def _rounded_length(group: BatchedRows) -> int:
    """How far a recorded step attends: `length` rounded up."""
    return min(max(_SHORTEST, 1 << (group.length - 1).bit_length()), group.slab.positions)


def _memory_read(group: BatchedRows) -> Hashable:
    """Which part of the cache the group reads."""
    assert isinstance(group.slots, slice)
    data = group.slab.data
    return data.data_ptr(), data.shape[1], group.slots.start, group.count, _rounded_length(group)
