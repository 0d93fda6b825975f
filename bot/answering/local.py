"""The in-process Answerer: the answering engine on its own thread, bridged to asyncio and to text.

It takes the model over: the weights are rearranged, in the precision that this device computes fastest, and
nothing else can use the model from then on.
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
from typing import TYPE_CHECKING, TypeVar

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from bot.answering.answerer import AdapterFiles, AnswerRequest, FinishReason, Message, Piece, Usage
from bot.answering.engine.engine import Engine, Event, Limits, Request
from bot.answering.engine.lora import CannotServe, LoadedAdapter
from bot.answering.engine.prefix_cache import common_length
from bot.answering.engine.quantised import QuantisedModel
from bot.answering.engine.text import Detokenizer, StopStrings
from bot.answering.engine.weights import serving_dtype
from bot.answering.engine.worker import Worker
from bot.answering.lookups import Lookups
from bot.answering.own_thread import run_in_own_thread
from bot.answering.reasoning import set_apart
from bot.answering.token_budget import cannot_fit, characters_of, off_loop_if_long
from bot.errors import AdapterRefused, AnsweringFailed, PromptTooLong, Stopping
from training.errors import AdapterError
from training.making_way import Answering
from training.model import fingerprint
from training.model.chat_format import opens_reasoning, prompt_token_ids
from training.model.libraries import is_out_of_memory

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Result = TypeVar("Result")

_CACHED_SYSTEM_TEXTS = 64


@dataclass(frozen=True)
class _Listener:
    loop: asyncio.AbstractEventLoop
    events: asyncio.Queue[Event]


class LocalAnswerer:
    """Answers many questions at once, each with its own adapter, over one base model in memory."""

    def __init__(
        self,
        model: PreTrainedModel | QuantisedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        name: str,
        revision: str,
        max_running: int = 16,
        max_waiting: int = 64,
        answering: Answering | None = None,
        lookups: Lookups | None = None,
    ) -> None:
        """`answering` is told when there is work, so that training on this machine makes way.

        Answers make way for `lookups`.
        """
        self.base_model = name
        self.base_revision = revision
        self._tokenizer = tokenizer
        self._precision = fingerprint.precision_of(model)
        if not isinstance(model, QuantisedModel) and self._precision != "quantised":
            dtype = serving_dtype(model.device, model.dtype)
            model = model.to(dtype)
            self._precision = fingerprint.precision_of(model)
        engine = Engine(
            model, _eos_tokens(model, tokenizer), Limits(running=max_running, waiting=max_waiting)
        )
        self.context_tokens = engine.context_tokens
        self._engine = engine
        self._worker = Worker(engine, self._deliver, answering, lookups)
        self._listeners: dict[Request, _Listener] = {}
        self._loading: dict[str, asyncio.Task[None]] = {}
        self._resident: dict[str, LoadedAdapter] = {}
        self._base_logits: dict[tuple[int, ...], Tensor] = {}
        self._system_prompts: OrderedDict[tuple[str, ...], list[int]] = OrderedDict()
        self.opens_reasoning = opens_reasoning(tokenizer)

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of the prompt that `messages` make, the generation prompt included."""
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
            loading.exception()  # retrieved, or asyncio would report it as lost when no caller waits any more

    async def unload(self, adapter: AdapterFiles) -> None:
        """Give the adapter's memory back once no answer under way uses it."""
        if loading := self._loading.get(adapter.content_hash):
            await asyncio.wait([loading])
        if self._resident.pop(adapter.content_hash, None) is not None:
            await self._on_engine(lambda engine: engine.remove_adapter(adapter.content_hash))

    async def check(self) -> None:
        """Raise AnsweringFailed, saying why, when no answer can be given now."""
        await self._on_engine(lambda engine: engine.idle)  # answered by its thread, so that is alive

    async def close(self) -> None:
        """Cancel what is under way and free the model."""
        await asyncio.to_thread(self._worker.close)
        self._resident.clear()
        self._base_logits.clear()

    @set_apart
    async def stream(self, request: AnswerRequest) -> AsyncGenerator[Piece, None]:
        """Answer `request` piece by piece; closing the iterator cancels the work."""
        started = time.perf_counter()
        if cannot_fit(request.messages, self.context_tokens):
            raise PromptTooLong(None, self.context_tokens - 1)
        prompt = await self._tokenise(request.messages)
        if len(prompt) >= self.context_tokens:
            raise PromptTooLong(len(prompt), self.context_tokens - 1)
        adapter: LoadedAdapter | None = None
        if request.adapter is not None:
            await self.load(request.adapter)
            adapter = self._resident.get(request.adapter.content_hash)
            if adapter is None:
                raise AdapterRefused(request.adapter.version, "it was unloaded a moment ago")
        engine_request = Request(
            tuple(prompt),
            adapter,
            request.sampling,
            request.community,
            await self._shared_prefix(request.messages, prompt),
        )
        events = self._listen(engine_request)
        try:
            await self._on_engine(lambda engine: engine.submit(engine_request))
            async for piece in self._pieces(engine_request, events, started):
                yield piece
        finally:
            if self._listeners.pop(engine_request, None) is not None:
                self._cancel(engine_request)

    async def _pieces(
        self, request: Request, events: asyncio.Queue[Event], started: float
    ) -> AsyncGenerator[Piece, None]:
        detokenizer, stops = Detokenizer(self._tokenizer), StopStrings(request.sampling.stop)
        first: float | None = None
        tokens = 0
        while True:
            event = await events.get()
            if event.failure is not None:
                raise _answering_failed(event.failure)
            text = ""
            if event.token is not None:
                tokens += 1
                first = first or time.perf_counter()
                text = stops.add(detokenizer.add(event.token))
            finish: FinishReason | None = "stop" if stops.hit else event.finish
            if finish is None:
                if text:
                    yield Piece(text)
                continue
            if not stops.hit:
                text += stops.add(detokenizer.flush())
            if stops.hit:
                finish = "stop"
            else:
                text += stops.flush()
            now = time.perf_counter()
            yield Piece(
                text, Usage(len(request.prompt), tokens, (first or now) - started, now - started, finish)
            )
            return

    async def _tokenise(self, messages: Sequence[Message]) -> list[int]:
        tokenise = partial(prompt_token_ids, self._tokenizer, messages)
        return await off_loop_if_long(characters_of(messages), tokenise)

    async def _shared_prefix(self, messages: Sequence[Message], prompt: Sequence[int]) -> int:
        """How many leading tokens every prompt with the same system text has."""
        system = tuple(message["content"] for message in messages if message["role"] == "system")
        system_prompt = self._system_prompts.get(system)
        if system_prompt is None:
            with_system: list[Message] = [{"role": "system", "content": text} for text in system]
            system_prompt = await self._tokenise([*with_system, {"role": "user", "content": "?"}])
            self._system_prompts[system] = system_prompt
            if len(self._system_prompts) > _CACHED_SYSTEM_TEXTS:
                self._system_prompts.popitem(last=False)
        return min(common_length(system_prompt, prompt), len(prompt) - 1)

    async def _load(self, files: AdapterFiles) -> None:
        try:
            adapter = await run_in_own_thread(
                partial(self._engine.read_adapter, files.folder, files.content_hash)
            )
            await self._on_engine(lambda engine: engine.add_adapter(adapter))
            await self._verify(adapter, files.folder)
        except BaseException as error:  # a cancelled load must give its memory back too
            self._call_soon(lambda engine: engine.remove_adapter(files.content_hash))
            if is_out_of_memory(error.__cause__ or error):
                raise CannotServe("the memory does not suffice for it") from error
            raise
        self._resident[files.content_hash] = adapter

    async def _verify(self, adapter: LoadedAdapter, folder: Path) -> None:
        """Raises CannotServe unless `adapter` has the logits that its folder's fingerprint records."""
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
        base = [await self._base_logits_after(probe) for probe in probes]
        adapted = await asyncio.gather(*(self._probe(probe, adapter) for probe in probes))
        reason = await run_in_own_thread(partial(_reason_to_refuse, recorded, base, adapted, self._precision))
        if reason is not None:
            raise CannotServe(reason)

    async def _base_logits_after(self, probe: tuple[int, ...]) -> Tensor:
        if probe not in self._base_logits:
            self._base_logits[probe] = await self._probe(probe, None)
        return self._base_logits[probe]

    async def _probe(self, tokens: tuple[int, ...], adapter: LoadedAdapter | None) -> Tensor:
        """The logits (V,) after `tokens`, computed in the steps of the running requests."""
        request = Request(tokens, adapter, probe=True)
        events = self._listen(request)
        try:
            await self._on_engine(lambda engine: engine.submit(request))
            event = await events.get()
        finally:
            if self._listeners.pop(request, None) is not None:
                self._cancel(request)
        if event.logits is None:
            raise _answering_failed(event.failure)
        return event.logits

    def _listen(self, request: Request) -> asyncio.Queue[Event]:
        events: asyncio.Queue[Event] = asyncio.Queue()
        self._listeners[request] = _Listener(asyncio.get_running_loop(), events)
        return events

    def _deliver(self, events: list[Event]) -> None:
        """On the engine's thread: wake each event loop once for all events of a step."""
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Queue[Event], Event]]] = {}
        for event in events:
            if (listener := self._listeners.get(event.request)) is not None:
                by_loop.setdefault(listener.loop, []).append((listener.events, event))
        for loop, deliveries in by_loop.items():
            try:
                loop.call_soon_threadsafe(partial(_put_all, deliveries))
            except RuntimeError:
                continue  # the loop was closed: nobody listens any more

    def _cancel(self, request: Request) -> None:
        self._call_soon(lambda engine: engine.cancel(request))

    def _call_soon(self, function: Callable[[Engine], object]) -> None:
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


def _reason_to_refuse(
    recorded: fingerprint.Fingerprint | None,
    base: Sequence[Tensor],
    adapted: Sequence[Tensor],
    precision: str,
) -> str | None:
    """Why an adapter with these logits (V,) after each probe cannot be served; None when it can."""
    if recorded is not None:
        return fingerprint.difference(recorded, base, adapted, precision)
    if not all(map(fingerprint.is_finite, adapted)):
        return f"with it {fingerprint.NOT_FINITE}"
    if any(fingerprint.changes_anything(b, a, precision) for b, a in zip(base, adapted, strict=True)):
        return None
    return "it changes nothing that the base model says"


def _put_all(events: list[tuple[asyncio.Queue[Event], Event]]) -> None:
    for queue, event in events:
        queue.put_nowait(event)


def _answering_failed(cause: Exception | None) -> AnsweringFailed:
    if cause is not None and is_out_of_memory(cause):
        error = AnsweringFailed(
            "The memory did not suffice for this question.", "Ask it in fewer words, or later."
        )
    else:
        error = AnsweringFailed("The model broke while answering.", "Ask again.")
    error.__cause__ = cause
    return error


def _eos_tokens(model: PreTrainedModel | QuantisedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokens that end an answer: those of the generation config and the tokenizer's own."""
    configured = getattr(model.generation_config, "eos_token_id", None)
    tokens = configured if isinstance(configured, list) else [configured]
    return [int(token) for token in (*tokens, tokenizer.eos_token_id) if token is not None]
