"""The in-process Answerer: the answering engine on a thread of its own, bridged to asyncio and to text.

Takes the model over: its weights are laid out anew, in the precision that this device is best at, and nobody
else can use it from then on.
Leaves to others: which adapter serves whom, and where its folder came from (the registry).
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from bot.answering.answerer import AdapterFiles, AnswerRequest, FinishReason, Message, Piece, Usage
from bot.answering.engine.engine import Engine, Event, Job, Limits
from bot.answering.engine.lora import CannotServe, LoadedAdapter
from bot.answering.engine.prefixes import common_length
from bot.answering.engine.text import Detokenizer, StopStrings
from bot.answering.engine.weights import serving_dtype
from bot.answering.engine.worker import Worker
from bot.answering.own_thread import apart
from bot.answering.reasoning import set_apart
from bot.errors import AdapterRefused, AnsweringFailed, PromptTooLong, Stopping
from training.errors import AdapterError
from training.model import fingerprint
from training.model.base_model import is_out_of_memory
from training.model.chat_format import opens_reasoning, prompt_token_ids

Result = TypeVar("Result")

_SYSTEM_TEXTS = 64


@dataclass(frozen=True)
class _Listener:
    loop: asyncio.AbstractEventLoop
    events: asyncio.Queue[Event]


class LocalAnswerer:
    """Answers many questions at once, each with its own adapter, over one base model in memory."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        name: str,
        revision: str,
        max_running: int = 16,
        max_waiting: int = 64,
    ) -> None:
        self.base_model = name
        self.base_revision = revision
        self._tokenizer = tokenizer
        self._precision = fingerprint.precision_of(model)
        if self._precision != "quantised":
            dtype = serving_dtype(model.device, model.dtype)
            model = model.to(dtype)
            self._precision = fingerprint.precision_of(model)
        engine = Engine(model, _ends(model, tokenizer), Limits(running=max_running, waiting=max_waiting))
        self.context_tokens = engine.context_tokens
        self._engine = engine
        self._worker = Worker(engine, self._deliver)
        self._listeners: dict[Job, _Listener] = {}
        self._loading: dict[str, asyncio.Task[None]] = {}
        self._resident: dict[str, LoadedAdapter] = {}
        self._base_says: dict[tuple[int, ...], Tensor] = {}
        self._beginnings: OrderedDict[tuple[str, ...], list[int]] = OrderedDict()
        self.opens_reasoning = opens_reasoning(tokenizer)

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Tokens that `messages` take as a prompt, the turn opener included."""
        return len(prompt_token_ids(self._tokenizer, messages))

    async def load(self, adapter: AdapterFiles) -> None:
        """Make `adapter` ready before its first question. Raises AdapterRefused with the reason."""
        if adapter.content_hash in self._resident:
            return
        loading = self._loading.get(adapter.content_hash)
        if loading is None:
            loading = asyncio.create_task(self._load(adapter))
            self._loading[adapter.content_hash] = loading
            loading.add_done_callback(partial(self._loaded, adapter.content_hash))
        try:
            await asyncio.shield(loading)
        except CannotServe as error:
            raise AdapterRefused(adapter.version, str(error)) from error

    def _loaded(self, content_hash: str, loading: asyncio.Task[None]) -> None:
        self._loading.pop(content_hash, None)
        if not loading.cancelled():
            loading.exception()  # whoever waited for it may have gone, and asyncio would report it as lost

    async def unload(self, adapter: AdapterFiles) -> None:
        """Give the adapter's memory back once no answer under way uses it."""
        if loading := self._loading.get(adapter.content_hash):
            await asyncio.wait([loading])
        if self._resident.pop(adapter.content_hash, None) is not None:
            await self._on_engine(lambda engine: engine.drop(adapter.content_hash))

    async def check(self) -> None:
        """Raise AnsweringFailed, saying why, when no answer can be given now."""
        await self._on_engine(lambda engine: engine.idle)  # its thread lives and takes calls

    async def close(self) -> None:
        """Cancel what is under way and free the model."""
        await asyncio.to_thread(self._worker.close)
        self._resident.clear()
        self._base_says.clear()

    @set_apart
    async def stream(self, request: AnswerRequest) -> AsyncGenerator[Piece, None]:
        """Answer `request` piece by piece; closing the iterator cancels the work."""
        started = time.perf_counter()
        prompt = prompt_token_ids(self._tokenizer, request.messages)
        if len(prompt) >= self.context_tokens:
            raise PromptTooLong(len(prompt), self.context_tokens - 1)
        adapter: LoadedAdapter | None = None
        if request.adapter is not None:
            await self.load(request.adapter)
            adapter = self._resident.get(request.adapter.content_hash)
            if adapter is None:
                raise AdapterRefused(request.adapter.version, "it was unloaded a moment ago")
        job = Job(
            tuple(prompt),
            adapter,
            request.sampling,
            request.community,
            self._shared(request.messages, prompt),
        )
        events = self._listen(job)
        try:
            await self._on_engine(lambda engine: engine.submit(job))
            async for piece in self._pieces(job, events, started):
                yield piece
        finally:
            if self._listeners.pop(job, None) is not None:
                self._cancel(job)

    async def _pieces(
        self, job: Job, events: asyncio.Queue[Event], started: float
    ) -> AsyncGenerator[Piece, None]:
        text, stops = Detokenizer(self._tokenizer), StopStrings(job.sampling.stop)
        first: float | None = None
        tokens = 0
        while True:
            event = await events.get()
            if event.failure is not None:
                raise _failed(event.failure)
            said = ""
            if event.token is not None:
                tokens += 1
                first = first or time.perf_counter()
                said = stops.add(text.add(event.token))
            finish: FinishReason | None = "stop" if stops.hit else event.finish
            if finish is None:
                if said:
                    yield Piece(said)
                continue
            if not stops.hit:
                said += stops.add(text.rest())
            if stops.hit:
                finish = "stop"
            else:
                said += stops.rest()
            now = time.perf_counter()
            yield Piece(said, Usage(len(job.prompt), tokens, (first or now) - started, now - started, finish))
            return

    def _shared(self, messages: Sequence[Message], prompt: Sequence[int]) -> int:
        """How many leading tokens every question under the same system text has."""
        system = tuple(message["content"] for message in messages if message["role"] == "system")
        beginning = self._beginnings.get(system)
        if beginning is None:
            others: list[Message] = [{"role": "system", "content": text} for text in system]
            beginning = prompt_token_ids(self._tokenizer, [*others, {"role": "user", "content": "?"}])
            self._beginnings[system] = beginning
            if len(self._beginnings) > _SYSTEM_TEXTS:
                self._beginnings.popitem(last=False)
        return min(common_length(beginning, prompt), len(prompt) - 1)

    async def _load(self, files: AdapterFiles) -> None:
        try:
            adapter = await apart(partial(self._engine.read, files.folder, files.content_hash))
            await self._on_engine(lambda engine: engine.keep(adapter))
            await self._prove(adapter, files.folder)
        except BaseException as error:
            self._tell(lambda engine: engine.drop(files.content_hash))
            if is_out_of_memory(error.__cause__ or error):
                raise CannotServe("the memory does not suffice for it") from error
            raise
        self._resident[files.content_hash] = adapter

    async def _prove(self, adapter: LoadedAdapter, folder: Path) -> None:
        """Raises CannotServe unless the engine says with `adapter` what its folder records."""
        try:
            recorded = fingerprint.read(folder)
        except AdapterError as error:
            raise CannotServe("its fingerprint cannot be read") from error
        probes = (
            [probe.token_ids for probe in recorded.probes]
            if recorded
            else fingerprint.probe_prompts(self._tokenizer)
        )
        if any(not 0 <= token < self._engine.vocabulary for probe in probes for token in probe):
            raise CannotServe("it was trained on another base model (its probes have unknown tokens)")
        base = [await self._say_as_base(probe) for probe in probes]
        said = await asyncio.gather(*(self._probe(probe, adapter) for probe in probes))
        reason = await apart(partial(_why_not, recorded, base, said, self._precision))
        if reason is not None:
            raise CannotServe(reason)

    async def _say_as_base(self, probe: tuple[int, ...]) -> Tensor:
        if probe not in self._base_says:
            self._base_says[probe] = await self._probe(probe, None)
        return self._base_says[probe]

    async def _probe(self, tokens: tuple[int, ...], adapter: LoadedAdapter | None) -> Tensor:
        """The logits after `tokens`, computed beside whatever is under way."""
        job = Job(tokens, adapter, probe=True)
        events = self._listen(job)
        try:
            await self._on_engine(lambda engine: engine.submit(job))
            event = await events.get()
        finally:
            if self._listeners.pop(job, None) is not None:
                self._cancel(job)
        if event.logits is None:
            raise _failed(event.failure)
        return event.logits

    def _listen(self, job: Job) -> asyncio.Queue[Event]:
        events: asyncio.Queue[Event] = asyncio.Queue()
        self._listeners[job] = _Listener(asyncio.get_running_loop(), events)
        return events

    def _deliver(self, events: list[Event]) -> None:
        """On the engine's thread: wake each event loop once for all events of a step."""
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Queue[Event], Event]]] = {}
        for event in events:
            if (listener := self._listeners.get(event.job)) is not None:
                by_loop.setdefault(listener.loop, []).append((listener.events, event))
        for loop, theirs in by_loop.items():
            try:
                loop.call_soon_threadsafe(partial(_put_all, theirs))
            except RuntimeError:
                continue  # the loop was closed over its answers: nobody listens any more

    def _cancel(self, job: Job) -> None:
        self._tell(lambda engine: engine.cancel(job))

    def _tell(self, function: Callable[[Engine], object]) -> None:
        try:
            self._worker.call(function)
        except RuntimeError:
            return  # closed: everything has ended already

    async def _on_engine(self, function: Callable[[Engine], Result]) -> Result:
        try:
            called = self._worker.call(function)
        except RuntimeError as error:
            raise Stopping from error
        return await asyncio.wrap_future(called)


def _why_not(
    recorded: fingerprint.Fingerprint | None, base: Sequence[Tensor], said: Sequence[Tensor], precision: str
) -> str | None:
    """Why an adapter with which the probes get these logits cannot be served; None when it can."""
    if recorded is not None:
        return fingerprint.difference(recorded, base, said, precision)
    if not all(map(fingerprint.is_finite, said)):
        return f"with it {fingerprint.NOT_FINITE}"
    if any(fingerprint.changes_anything(b, a, precision) for b, a in zip(base, said, strict=True)):
        return None
    return "it changes nothing that the base model says"


def _put_all(events: list[tuple[asyncio.Queue[Event], Event]]) -> None:
    for queue, event in events:
        queue.put_nowait(event)


def _failed(cause: Exception | None) -> AnsweringFailed:
    if cause is not None and is_out_of_memory(cause):
        error = AnsweringFailed(
            "The memory did not suffice for this question.", "Ask it in fewer words, or later."
        )
    else:
        error = AnsweringFailed("The model broke while answering.", "Ask again.")
    error.__cause__ = cause
    return error


def _ends(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokens that end an answer: those of the generation config and the tokenizer's own."""
    configured = getattr(model.generation_config, "eos_token_id", None)
    ends = configured if isinstance(configured, list) else [configured]
    return [int(end) for end in (*ends, tokenizer.eos_token_id) if end is not None]
