"""Decoding steps as CUDA graphs: recorded once, then replayed in one call.

On a GPU a step of a small model is hundreds of kernels that each take less time than Python needs to call
them; a graph launches all of them at once (Nguyen et al. 2021, "Accelerating PyTorch with CUDA Graphs").
A step can be replayed where all that changes are the tokens, their positions and whose adapter speaks: one
token of each of the same number of answers, attending over the same slots up to the same rounded length.
Others, such as steps with prompts, are computed call by call.
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
from bot.answering.engine.batch import Batch, Together
from training.model.libraries import is_out_of_memory

_SHORTEST = 128  # tokens: lengths are rounded up to powers of two from here on, so that few graphs serve all
_KEPT = 48

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Graph:
    """A recorded step: what it reads, where that lay when it was recorded, and the logits that it leaves."""

    recorded: torch.cuda.CUDAGraph
    batch: Batch
    masks: dict[tuple[int, ...], Tensor]
    logits: Tensor


class Graphs:
    """Runs `compute` for steps of `adapters`, from a graph where the same kind of step came before."""

    def __init__(self, compute: Callable[[Batch], Tensor], adapters: ActiveAdapters) -> None:
        self._compute = compute
        self._adapters = adapters
        self._memory = torch.cuda.graph_pool_handle()
        self._graphs: OrderedDict[Hashable, _Graph | None] = OrderedDict()
        self._logits: Tensor | None = None
        self._possible = True

    def __call__(self, batch: Batch) -> Tensor:
        """Logits of the wanted rows; valid until the next call."""
        steady = steady_groups(batch) if self._possible else None
        if steady is None:
            return self._compute(batch)
        key = (self._adapters.state(), *(_place(group) for group in steady))
        if key not in self._graphs:
            # computed once call by call: libraries make ready what can't be made while recording
            self._graphs[key] = None
            if len(self._graphs) > _KEPT:
                self._graphs.popitem(last=False)
            logits = self._compute(batch)
            if self._logits is None or len(self._logits) < len(logits):
                # where all graphs leave them: with a large vocabulary they are much of what a step takes
                self._logits = torch.empty_like(logits)
            return logits
        self._graphs.move_to_end(key)
        graph = self._graphs[key]
        if graph is None:
            try:
                graph = self._graphs[key] = self._record(batch, steady)
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

    def _record(self, batch: Batch, steady: Sequence[Together]) -> _Graph:
        assert self._logits is not None
        logits = self._logits[: batch.wanted.numel()]
        still = refillable(batch, steady)
        now = self._adapters.masks
        masks = {owners: mask.clone() for owners, mask in (now or {}).items() if mask is not None}
        graph = torch.cuda.CUDAGraph()
        beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        beside.wait_stream(torch.cuda.current_stream())
        self._adapters.masks = None if now is None else {**now, **masks}
        try:
            # not torch.cuda.graph, which first collects garbage and empties the cache: tens of milliseconds.
            # Other threads may copy adapters to the GPU meanwhile
            with torch.cuda.stream(beside):
                graph.capture_begin(pool=self._memory, capture_error_mode="thread_local")
                try:
                    logits.copy_(self._compute(still))
                except BaseException:
                    with suppress(RuntimeError):
                        graph.capture_end()
                    raise
                graph.capture_end()
        finally:
            self._adapters.masks = now
        torch.cuda.current_stream().wait_stream(beside)
        return _Graph(graph, still, masks, logits)


def steady_groups(batch: Batch) -> list[Together] | None:
    """The groups of a step of one wanted token of each answer, on slots next to one another; else None."""
    groups = [
        group
        for group in batch.groups
        if isinstance(group, Together) and group.each == 1 and isinstance(group.answers, slice)
    ]
    if len(groups) < len(batch.groups) or batch.wanted.numel() < batch.tokens.numel():
        return None
    return groups


def refillable(batch: Batch, steady: Sequence[Together]) -> Batch:
    """A copy of a steady step that stays right when other tokens and positions are copied into its own.

    Every answer attends as far as is rounded up, under a mask that is made of the positions in each pass.
    """
    tokens, positions = batch.tokens.clone(), batch.positions.clone()
    groups = [
        replace(
            group,
            slots=group.slots.clone(),
            positions=positions[group.first : group.first + group.count],
            length=_reach(group),
            even=False,
            masks={},
        )
        for group in steady
    ]
    return Batch(tokens, positions, batch.wanted.clone(), groups)


def _reach(group: Together) -> int:
    """How far a recorded step attends: `length` rounded up."""
    return min(max(_SHORTEST, 1 << (group.length - 1).bit_length()), group.slab.positions)


def _place(group: Together) -> Hashable:
    """Where the group's keys and values lie, and how much of them is read."""
    assert isinstance(group.answers, slice)
    data = group.slab.data
    return data.data_ptr(), data.shape[1], group.answers.start, group.count, _reach(group)
