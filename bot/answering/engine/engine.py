"""The engine: every call of `step` moves every answer under way on by one token.

Knows token ids, no text, no threads, no clock. A new question joins at the next step, its prompt in chunks
beside the others' tokens; a finished or cancelled answer leaves at once. An answer keeps the adapter that it
began with. When the accelerator's memory runs out, the newest work gives way: first the prompt's chunk is
halved, then its question fails, and only without any prompt the youngest answer; the others go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

from bot.answering.answerer import FinishReason, Sampling
from bot.answering.engine.batch import Planned, lay_out
from bot.answering.engine.cache import Cache, Seat
from bot.answering.engine.lora import LoadedAdapter, read_adapter
from bot.answering.engine.model import context_tokens, step_model
from bot.answering.engine.prefixes import Prefixes
from bot.answering.engine.queue import FairQueue
from bot.answering.engine.sampling import Chooser, choose_all
from training.model.libraries import is_out_of_memory

_SMALLEST_CHUNK = 16


@dataclass(frozen=True)
class Limits:
    """What the engine may take.

    `running` answers at once and `waiting` in the queue (twice as many when several communities ask).
    `prompt_tokens_beside` is how much prompt a step computes while answers are being generated, which
    bounds how long they pause, `probe_tokens_beside` is what of it probes may take, which nobody waits for;
    `prompt_tokens_alone` applies when no answer is. `prefix_tokens` bounds the store.
    """

    running: int = 16
    waiting: int = 64
    prompt_tokens_beside: int = 128
    probe_tokens_beside: int = 16
    prompt_tokens_alone: int = 512
    prefix_tokens: int = 4096


@dataclass(eq=False)
class Job:
    """One answer to be made, and how far it is.

    `shared`: how many leading tokens of the prompt other questions share. A `probe` makes no answer: it
    wants the logits after the prompt.
    """

    prompt: tuple[int, ...]
    adapter: LoadedAdapter | None = None
    sampling: Sampling = field(default_factory=Sampling)
    community: str = ""
    shared: int = 0
    probe: bool = False
    answer: list[int] = field(default_factory=list)
    seat: Seat | None = None
    chooser: Chooser | None = None

    @property
    def content_hash(self) -> str:
        """The adapter's content hash, or "" for the base model alone."""
        return self.adapter.content_hash if self.adapter else ""


@dataclass(frozen=True)
class Event:
    """What a step did for a job: a token, the end, a failure, or a probe's logits."""

    job: Job
    token: int | None = None
    finish: FinishReason | None = None
    failure: Exception | None = None
    logits: Tensor | None = None


class Engine:
    """Not thread-safe: one thread (`worker`) calls everything but `read`."""

    def __init__(self, model: PreTrainedModel, ends: Sequence[int], limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._model = step_model(model.eval())
        self.context_tokens = context_tokens(model)
        self.vocabulary = int(model.config.get_text_config().vocab_size)
        self._ends = frozenset(ends)
        self._cache = Cache(self._model.cache_shape, self.context_tokens)
        self._prefixes = Prefixes(self.limits.prefix_tokens)
        self._queue: FairQueue[Job] = FairQueue(self.limits.running, self.limits.waiting)
        self._jobs: dict[Seat, Job] = {}
        self._prompts: list[Job] = []  # seated jobs whose prompt isn't computed yet, oldest first
        self._order: list[Job] = []  # all seated jobs, oldest first
        self._adapters: dict[str, LoadedAdapter] = {}
        self._dropped: set[LoadedAdapter] = set()  # to be forgotten when no answer uses them any more

    @property
    def idle(self) -> bool:
        """Nothing is under way or waiting."""
        return not self._order and not len(self._queue)

    def read(self, folder: Path, content_hash: str) -> LoadedAdapter:
        """Read an adapter for this model; on any thread. Raises CannotServe."""
        shape = self._model.cache_shape
        return read_adapter(folder, content_hash, self._model.layers, shape.dtype, shape.device)

    def keep(self, adapter: LoadedAdapter) -> None:
        """Let `adapter` stay in memory until `drop`."""
        self._adapters[adapter.content_hash] = adapter

    def adapter(self, content_hash: str) -> LoadedAdapter | None:
        """The resident adapter of that content."""
        return self._adapters.get(content_hash)

    @torch.inference_mode()
    def drop(self, content_hash: str) -> None:
        """Let go of an adapter and of what it computed; answers under way keep it until they end."""
        if adapter := self._adapters.pop(content_hash, None):
            self._dropped.add(adapter)
            self._release_dropped()

    @torch.inference_mode()
    def submit(self, job: Job) -> None:
        """Let `job` wait for its turn; a probe has its turn at once. Raises Busy."""
        if job.probe:
            self._seat(job)
        else:
            self._queue.put(job)

    @torch.inference_mode()
    def cancel(self, job: Job) -> Event | None:
        """End `job` now, waiting or under way; None when it has ended already."""
        if job in self._order:
            self._leave(job)
        elif not self._queue.remove(job):
            return None
        return Event(job, finish="cancelled")

    @torch.inference_mode()
    def fail_all(self, failure: Exception) -> list[Event]:
        """End everything under way after an error that nobody's request explains."""
        jobs = list(self._order)
        for job in jobs:
            self._leave(job)
        self._prefixes.clear()
        return [Event(job, failure=failure) for job in jobs]

    @torch.inference_mode()
    def end_all(self) -> list[Event]:
        """Cancel everything, waiting and under way, and give memory back."""
        waiting = self._queue.clear()
        under_way = list(self._order)
        for job in under_way:
            self._leave(job)
        self._prefixes.clear()
        for content_hash in list(self._adapters):
            self.drop(content_hash)
        return [Event(job, finish="cancelled") for job in (*waiting, *under_way)]

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """Admit who may come, compute one token for everybody, and say what happened."""
        events = self._admit()
        beside = len(self._order) > len(self._prompts)
        most = self.limits.prompt_tokens_beside if beside else self.limits.prompt_tokens_alone
        while self._order:
            chunks = self._plan(most, min(most, self.limits.probe_tokens_beside) if beside else most)
            try:
                return events + self._compute(chunks)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if chunks and most > _SMALLEST_CHUNK:
                    most = max(_SMALLEST_CHUNK, min(most, sum(len(c.tokens) for c in chunks)) // 2)
                else:
                    victim = self._jobs[chunks[0].seat] if chunks else self._order[-1]
                    self._leave(victim)
                    events.append(Event(victim, failure=error))
                self._give_memory_back()
        return events

    def _admit(self) -> list[Event]:
        events: list[Event] = []
        while (job := self._queue.take()) is not None:
            try:
                self._seat(job)
            except (RuntimeError, MemoryError) as error:
                self._queue.done(job)
                events.append(Event(job, failure=error))
                if is_out_of_memory(error):
                    self._give_memory_back()
        return events

    def _seat(self, job: Job) -> None:
        length = min(len(job.prompt) + job.sampling.max_new_tokens, self.context_tokens)
        job.chooser = Chooser(job.sampling, job.prompt)
        job.seat = self._cache.seat(length)
        self._jobs[job.seat] = job
        self._prompts.append(job)
        self._order.append(job)

    def _plan(self, most: int, of_probes: int) -> list[Planned]:
        """Chunks of prompts for this step, oldest first: `most` tokens at most, of probes `of_probes`."""
        chunks: list[Planned] = []
        being_shared: list[tuple[str, tuple[int, ...]]] = []
        for job in self._prompts:
            assert job.seat is not None
            beginning = (job.content_hash, job.prompt[: job.shared])
            if job.seat.length == 0 and job.shared:
                if beginning in being_shared:
                    continue  # an older question computes this very text now: take it when it is there
                self._take_prefix(job)
            elif job.seat.length == 0:
                self._take_prefix(job)
            if job.seat.length < job.shared:
                being_shared.append(beginning)
            room = min(most, of_probes) if job.probe else most
            tokens = job.prompt[job.seat.length : job.seat.length + room]
            if tokens:
                chunks.append(Planned(job.seat, tokens, job.seat.length + len(tokens) == len(job.prompt)))
                most -= len(tokens)
                of_probes -= len(tokens) if job.probe else 0
        return chunks

    def _take_prefix(self, job: Job) -> None:
        assert job.seat is not None
        prefix, length = self._prefixes.longest(job.content_hash, job.prompt)
        if prefix is not None:
            job.seat.keys_and_values(length).copy_(prefix.kept[:, :, :, :length])
            job.seat.length = length

    def _compute(self, chunks: Sequence[Planned]) -> list[Event]:
        rows: list[LoadedAdapter | None] = []
        next_token: dict[Seat, int] = {}
        speaking: list[Job] = []
        for slab in self._cache.slabs:
            for seat in slab.seats[: slab.decoding]:
                job = self._jobs[seat]
                next_token[seat] = job.answer[-1]
                speaking.append(job)
                rows.append(job.adapter)
        decoding = list(speaking)
        for chunk in chunks:
            job = self._jobs[chunk.seat]
            rows += [job.adapter] * len(chunk.tokens)
            if chunk.wants_logits:
                speaking.append(job)
        self._model.adapters.begin_step(rows)
        logits = self._model.forward(
            lay_out(self._cache.slabs, next_token, chunks, self._model.cache_shape.device)
        )
        chosen = choose_all([_chooser(job) for job in speaking], logits)
        for job in decoding:
            assert job.seat is not None
            job.seat.length += 1
        # all lengths before any seat moves: moving copies as much as is filled
        before = [chunk.seat.length for chunk in chunks]
        for chunk in chunks:
            chunk.seat.length += len(chunk.tokens)
        for chunk, length in zip(chunks, before, strict=True):
            self._prompt_computed(self._jobs[chunk.seat], length)
        return [self._said(job, token, row) for job, token, row in zip(speaking, chosen, logits, strict=True)]

    def _prompt_computed(self, job: Job, before: int) -> None:
        """The prompt is computed from `before` on: keep what others share, and decode when it is whole."""
        assert job.seat is not None
        if before < job.shared <= job.seat.length:
            self._prefixes.keep(
                job.content_hash, job.prompt[: job.shared], job.seat.keys_and_values(job.shared)
            )
        if job.seat.length == len(job.prompt):
            self._prompts.remove(job)
            if not job.probe:
                job.seat.begin_decoding()

    def _said(self, job: Job, token: int, logits: Tensor) -> Event:
        if job.probe:
            self._leave(job)
            return Event(job, finish="stop", logits=logits.float().cpu())
        if token in self._ends:
            self._leave(job)
            return Event(job, finish="stop")
        job.answer.append(token)
        full = len(job.prompt) + len(job.answer) >= self.context_tokens
        if full or len(job.answer) >= job.sampling.max_new_tokens:
            self._leave(job)
            return Event(job, token, "length")
        return Event(job, token)

    def _leave(self, job: Job) -> None:
        assert job.seat is not None
        job.seat.leave()
        del self._jobs[job.seat]
        job.seat = None
        self._order.remove(job)
        if job in self._prompts:
            self._prompts.remove(job)
        if not job.probe:
            self._queue.done(job)
        if job.adapter is not None and self._adapters.get(job.content_hash) is not job.adapter:
            self._dropped.add(job.adapter)
        self._release_dropped()

    def _release_dropped(self) -> None:
        if self._dropped:
            for adapter in self._dropped - {job.adapter for job in self._order}:
                self._dropped.remove(adapter)
                self._prefixes.forget(adapter.content_hash)
                self._model.adapters.release(adapter)

    def _give_memory_back(self) -> None:
        self._prefixes.clear()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _chooser(job: Job) -> Chooser:
    assert job.chooser is not None
    return job.chooser
