"""The engine: every call of `step` moves every running request on by one token.

Knows token ids, no text, no threads, no clock. A request waits until it gets a slot, has its prompt computed
in chunks (prefill) while others decode, then decodes one token a step; a finished or cancelled request frees
its slot at once. A request keeps the adapter that it started with. When the accelerator's memory runs out,
the newest work gives way: the prefill chunk is halved, then its request fails, and only in a step without
prefill the youngest request fails; the others go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bot.answering.answerer import FinishReason, Sampling
from bot.answering.engine.batch import PrefillChunk, build_batch
from bot.answering.engine.cache import Cache, Slot, copy
from bot.answering.engine.lora import LoadedAdapter, read_adapter
from bot.answering.engine.model import context_tokens, step_model
from bot.answering.engine.prefix_cache import EVERYONE, PrefixCache
from bot.answering.engine.quantised import QuantisedModel
from bot.answering.engine.queue import FairQueue
from bot.answering.engine.sampling import Sampler, sample_all
from training.model.libraries import is_out_of_memory

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_SMALLEST_CHUNK = 16


@dataclass(frozen=True)
class Limits:
    """What the engine may use.

    `running` requests at once and `waiting` in the queue (twice as many when several communities ask).
    The prefill budgets are the prompt tokens that one step computes: `prefill_while_decoding` bounds how
    long running answers pause, and `probes_while_decoding` is the part of it that probes may take, for which
    nobody waits; `prefill_when_idle` applies when no request decodes. `prefix_cache` bounds the prefix cache,
    in tokens.
    """

    running: int = 16
    waiting: int = 64
    prefill_while_decoding: int = 128
    probes_while_decoding: int = 16
    prefill_when_idle: int = 512
    prefix_cache: int = 4096


@dataclass(eq=False)
class Request:
    """One prompt to be continued, and its state.

    The first `shared_prefix` tokens of the prompt are ones that other communities' requests begin with too,
    and nobody's own words; what follows is cached for the same `community` only. A `probe` generates nothing:
    it asks for the logits after the prompt. `slot` and `sampler` are set while it runs.
    """

    prompt: tuple[int, ...]
    adapter: LoadedAdapter | None = None
    sampling: Sampling = field(default_factory=Sampling)
    community: str = ""
    shared_prefix: int = 0
    probe: bool = False
    output: list[int] = field(default_factory=list)
    slot: Slot | None = None
    sampler: Sampler | None = None

    @property
    def content_hash(self) -> str:
        """The adapter's content hash, or "" for the base model alone."""
        return self.adapter.content_hash if self.adapter else ""


@dataclass(frozen=True)
class Event:
    """What a step did for a request: a token, the end, a failure, or a probe's logits (V,)."""

    request: Request
    token: int | None = None
    finish: FinishReason | None = None
    failure: Exception | None = None
    logits: Tensor | None = None


class Engine:
    """Not thread-safe: one thread (`worker`) calls everything but `read_adapter`."""

    def __init__(
        self, model: PreTrainedModel | QuantisedModel, eos_tokens: Sequence[int], limits: Limits | None = None
    ) -> None:
        self.limits = limits or Limits()
        self._model = step_model(model)
        self.context_tokens = context_tokens(model)
        self.vocabulary = int(model.config.get_text_config().vocab_size)
        self._eos_tokens = frozenset(eos_tokens)
        self._cache = Cache(self._model.cache_shape, self.context_tokens)
        self._prefix_cache = PrefixCache(self.limits.prefix_cache)
        self._waiting: FairQueue[Request] = FairQueue(self.limits.running, self.limits.waiting)
        self._by_slot: dict[Slot, Request] = {}
        self._running: list[Request] = []  # oldest first
        self._prefilling: list[Request] = []  # those of them whose prompt isn't computed yet, oldest first
        self._adapters: dict[str, LoadedAdapter] = {}
        self._removed: set[LoadedAdapter] = set()  # to be released when no running request uses them

    @property
    def idle(self) -> bool:
        """Nothing runs or waits."""
        return not self._running and not len(self._waiting)

    def read_adapter(self, folder: Path, content_hash: str) -> LoadedAdapter:
        """Read an adapter for this model; on any thread. Raises CannotServe."""
        model = self._model
        return read_adapter(folder, content_hash, model.layers, model.adapter_dtype, model.cache_shape.device)

    def add_adapter(self, adapter: LoadedAdapter) -> None:
        """Keep `adapter` in memory until `remove_adapter`."""
        self._adapters[adapter.content_hash] = adapter

    @torch.inference_mode()
    def remove_adapter(self, content_hash: str) -> None:
        """Release an adapter and the prefixes computed with it, as soon as no running request uses it."""
        if adapter := self._adapters.pop(content_hash, None):
            self._removed.add(adapter)
            self._release_removed()

    @torch.inference_mode()
    def submit(self, request: Request) -> None:
        """Queue `request`; a probe runs at once. Raises Busy."""
        if request.probe:
            self._start(request)
        else:
            self._waiting.put(request)

    @torch.inference_mode()
    def cancel(self, request: Request) -> Event | None:
        """End `request` now, waiting or running; None when it has ended already."""
        if request in self._running:
            self._keep(request)
            self._finish(request)
        elif not self._waiting.remove(request):
            return None
        return Event(request, finish="cancelled")

    @torch.inference_mode()
    def fail_all(self, failure: Exception) -> list[Event]:
        """End every running request after an error that none of them explains."""
        requests = list(self._running)
        for request in requests:
            self._finish(request)
        self._prefix_cache.clear()
        return [Event(request, failure=failure) for request in requests]

    @torch.inference_mode()
    def end_all(self) -> list[Event]:
        """Cancel everything, waiting and running, and free the memory."""
        waiting = self._waiting.clear()
        running = list(self._running)
        for request in running:
            self._finish(request)
        self._prefix_cache.clear()
        for content_hash in list(self._adapters):
            self.remove_adapter(content_hash)
        return [Event(request, finish="cancelled") for request in (*waiting, *running)]

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """Admit waiting requests, compute one token for every running one, and report what happened.

        1. Admit: waiting requests get free slots.
        2. Schedule: prompts that aren't computed yet get chunks within the prefill budget.
        3. Forward: one pass over the chunks and the decoding requests' last tokens, each with its adapter.
        4. Sample: a token for every decoding request and for every prompt that is now whole.
        5. Fill the slots: what was computed counts, shared prefixes are cached, whole prompts start decoding.
        6. Advance: each token is appended to its request, or ends it, caches it and frees its slot.

        When memory runs out, it starts again from 2 with less.
        """
        # 1. admit
        events = self._admit()
        decoding = len(self._running) > len(self._prefilling)
        budget = self.limits.prefill_while_decoding if decoding else self.limits.prefill_when_idle
        while self._running:
            # 2. schedule
            chunks = self._schedule_prefill(
                budget, min(budget, self.limits.probes_while_decoding) if decoding else budget
            )
            try:
                return events + self._execute(chunks)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if chunks and budget > _SMALLEST_CHUNK:
                    budget = max(_SMALLEST_CHUNK, min(budget, sum(len(c.tokens) for c in chunks)) // 2)
                else:
                    victim = self._by_slot[chunks[0].slot] if chunks else self._running[-1]
                    self._finish(victim)
                    events.append(Event(victim, failure=error))
                self._free_memory()
        return events

    def _admit(self) -> list[Event]:
        events: list[Event] = []
        while (request := self._waiting.take()) is not None:
            try:
                self._start(request)
            except (RuntimeError, MemoryError) as error:
                self._waiting.done(request)
                events.append(Event(request, failure=error))
                if is_out_of_memory(error):
                    self._free_memory()
        return events

    def _start(self, request: Request) -> None:
        length = min(len(request.prompt) + request.sampling.max_new_tokens, self.context_tokens)
        request.sampler = Sampler(request.sampling, request.prompt)
        request.slot = self._cache.allocate(length)
        self._by_slot[request.slot] = request
        self._prefilling.append(request)
        self._running.append(request)

    def _schedule_prefill(self, budget: int, probe_budget: int) -> list[PrefillChunk]:
        """This step's prefill chunks, oldest request first: `budget` tokens, of probes `probe_budget`."""
        chunks: list[PrefillChunk] = []
        prefixes_in_progress: list[tuple[str, tuple[int, ...]]] = []
        for request in self._prefilling:
            assert request.slot is not None
            prefix = (request.content_hash, request.prompt[: request.shared_prefix])
            if request.slot.length == 0 and request.shared_prefix:
                if prefix in prefixes_in_progress:
                    continue  # an older request is computing this very prefix: copy it when it is there
                self._copy_cached_prefix(request)
            elif request.slot.length == 0:
                self._copy_cached_prefix(request)
            if request.slot.length < request.shared_prefix:
                prefixes_in_progress.append(prefix)
            room = min(budget, probe_budget) if request.probe else budget
            tokens = request.prompt[request.slot.length : request.slot.length + room]
            if tokens:
                is_last = request.slot.length + len(tokens) == len(request.prompt)
                chunks.append(PrefillChunk(request.slot, tokens, wants_logits=is_last))
                budget -= len(tokens)
                probe_budget -= len(tokens) if request.probe else 0
        return chunks

    def _copy_cached_prefix(self, request: Request) -> None:
        assert request.slot is not None
        prefix, length = self._prefix_cache.longest(request.content_hash, request.community, request.prompt)
        if prefix is not None:
            copy(request.slot.keys_and_values(length), prefix.keys_values[:, :, :, :length])
            request.slot.length = length

    def _execute(self, chunks: Sequence[PrefillChunk]) -> list[Event]:
        """Parts 3 to 6 of `step`."""
        # 3. forward: rows in the order of `build_batch`
        row_adapters: list[LoadedAdapter | None] = []
        next_token: dict[Slot, int] = {}
        sampled: list[Request] = []  # in the order of the logits
        for slab in self._cache.slabs:
            for slot in slab.slots[: slab.decoding]:
                request = self._by_slot[slot]
                next_token[slot] = request.output[-1]
                sampled.append(request)
                row_adapters.append(request.adapter)
        decoding = list(sampled)
        for chunk in chunks:
            request = self._by_slot[chunk.slot]
            row_adapters += [request.adapter] * len(chunk.tokens)
            if chunk.wants_logits:
                sampled.append(request)
        self._model.adapters.begin_step(row_adapters)
        batch = build_batch(self._cache.slabs, next_token, chunks, self._model.cache_shape.device)
        logits = self._model.forward(batch)  # (N, V)
        # 4. sample
        tokens = sample_all([_sampler(request) for request in sampled], logits)
        # 5. fill the slots
        for request in decoding:
            assert request.slot is not None
            request.slot.length += 1
        # all lengths before any slot moves: moving copies as much as is filled
        before = [chunk.slot.length for chunk in chunks]
        for chunk in chunks:
            chunk.slot.length += len(chunk.tokens)
        for chunk, length in zip(chunks, before, strict=True):
            self._chunk_computed(self._by_slot[chunk.slot], length)
        # 6. advance
        return [
            self._advance(request, token, row)
            for request, token, row in zip(sampled, tokens, logits, strict=True)
        ]

    def _chunk_computed(self, request: Request, before: int) -> None:
        """A chunk from `before` on is computed: cache the shared prefix; decode after the last chunk."""
        assert request.slot is not None
        if before < request.shared_prefix <= request.slot.length:
            self._prefix_cache.add(
                request.content_hash,
                EVERYONE,
                request.prompt[: request.shared_prefix],
                request.slot.keys_and_values(request.shared_prefix),
            )
        if request.slot.length == len(request.prompt):
            self._prefilling.remove(request)
            if not request.probe:
                request.slot.begin_decoding()

    def _advance(self, request: Request, token: int, logits: Tensor) -> Event:
        """Append `token` to the request's output, and finish the request where it ends."""
        if request.probe:
            self._finish(request)
            return Event(request, finish="stop", logits=logits.float().cpu())
        is_end = token in self._eos_tokens
        if not is_end:
            request.output.append(token)
        full = len(request.prompt) + len(request.output) >= self.context_tokens
        if not is_end and not full and len(request.output) < request.sampling.max_new_tokens:
            return Event(request, token)
        self._keep(request)
        self._finish(request)
        return Event(request, finish="stop") if is_end else Event(request, token, "length")

    def _keep(self, request: Request) -> None:
        """Cache what an answer computed: the next question of its conversation begins with it."""
        if not request.probe and request.slot is not None and request.slot.is_decoding:
            length = request.slot.length
            self._prefix_cache.add(
                request.content_hash,
                request.community,
                (*request.prompt, *request.output)[:length],
                request.slot.keys_and_values(length),
            )

    def _finish(self, request: Request) -> None:
        """Free what a running request holds."""
        assert request.slot is not None
        request.slot.free()
        del self._by_slot[request.slot]
        request.slot = None
        self._running.remove(request)
        if request in self._prefilling:
            self._prefilling.remove(request)
        if not request.probe:
            self._waiting.done(request)
        if request.adapter is not None and self._adapters.get(request.content_hash) is not request.adapter:
            self._removed.add(request.adapter)
        self._release_removed()

    def _release_removed(self) -> None:
        if self._removed:
            for adapter in self._removed - {request.adapter for request in self._running}:
                self._removed.remove(adapter)
                self._prefix_cache.remove(adapter.content_hash)
                self._model.adapters.release(adapter)

    def _free_memory(self) -> None:
        self._prefix_cache.clear()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _sampler(request: Request) -> Sampler:
    assert request.sampler is not None
    return request.sampler
