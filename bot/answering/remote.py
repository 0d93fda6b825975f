"""The Answerer on the other side of HTTP: any OpenAI-compatible server, and what vLLM adds for adapters.

An adapter travels as `name@version-hash` (`served_name`): what a server caches under a name can then never
be another adapter's (vLLM issues 30931 and 42125). The server's model list says which adapters it has; the
others are loaded through vLLM's `load_lora_adapter` where the settings allow it.
Tokens are counted with the base model's own tokenizer when its files are on this machine, as they are
wherever adapters are trained. Otherwise a prompt counts one token for every `BYTES_A_TOKEN` bytes, which
is rather too many than too few; the last word is the server's. No weights are ever loaded here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import httpx
import structlog
from httpx_sse import EventSource

from bot.answering.answerer import (
    AdapterFiles,
    AnswerRequest,
    FinishReason,
    Message,
    Piece,
    Usage,
    served_name,
)
from bot.answering.circuit import Circuit
from bot.answering.reasoning import set_apart
from bot.answering.token_budget import cannot_fit, characters_of, off_loop_if_long
from bot.errors import AdapterRefused, AnsweringError, AnsweringFailed, Busy, PromptTooLong, Stopping
from bot.settings import RemoteSettings, Settings
from feedback.errors import SettingsError
from training.settings import Thinking

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

BYTES_A_TOKEN: Final = 2
TOKENS_A_MESSAGE: Final = 8
"""What a chat template writes around a message, about; only where no tokenizer is at hand."""
LONGEST_WAIT_S: Final = 60.0
"""A server that asks for more patience than this is not waited for: the person hears at once."""

_TOO_LONG = re.compile(r"context[ _]length", re.IGNORECASE)
_PROMPT_TOKENS = re.compile(
    r"(?:contains (?:at least )?|resulted in |\()(\d+)(?: input)? (?:tokens|in the messages)"
)
_ASK_AGAIN = "Ask again in a minute."
_TELL = "Tell the operator; the log says why."

log = structlog.get_logger(__name__)

Result = TypeVar("Result")


async def open_remote(settings: Settings) -> RemoteAnswerer:
    """The server that `settings.remote` names.

    Raises SettingsError when it cannot serve as set, AnsweringFailed when it cannot be reached.
    """
    # turns and adapters know a model folder by its own name, as training does
    folder = Path(settings.model).expanduser()
    name = folder.resolve().name if folder.is_dir() else settings.model
    answerer = RemoteAnswerer(
        settings.remote,
        name=name,
        revision="" if folder.is_dir() else settings.model_revision,
        tokenizer=await asyncio.to_thread(_tokenizer_at_hand, settings),
        thinking=settings.thinking,
    )
    try:
        await answerer.connect()
    except BaseException:  # also when cancelled: nobody else closes its connections
        await answerer.close()
        raise
    return answerer


@dataclass
class _Served:
    """An adapter as the server has it: whether it is ready there, and how many answers under way use it."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    ready: bool = False
    users: int = 0


@dataclass(frozen=True)
class _Chunk:
    """What one event of the stream brings; `usage` is the server's own count.

    `reasoning` is what the server has set apart from the answer, by a reasoning parser of its own.
    """

    text: str
    reasoning: str
    finish: FinishReason | None
    usage: dict[str, Any] | None


class RemoteAnswerer:
    """Streams answers from a server; `connect` before the first question.

    `name` and `revision` are what turns record of the base model. `tokenizer` None counts by estimate.
    `thinking` is what the server's chat template is told of reasoning; "template" tells it nothing.
    """

    def __init__(
        self,
        settings: RemoteSettings,
        *,
        name: str,
        revision: str = "",
        tokenizer: PreTrainedTokenizerBase | None = None,
        thinking: Thinking = "template",
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.base_model = name
        self.base_revision = revision
        self.context_tokens = settings.context_tokens
        self._settings = settings
        self._served_base = settings.model
        self._tokenizer = tokenizer
        self._thinking = thinking
        self.opens_reasoning = False
        if tokenizer is not None:
            from training.model.chat_format import opens_reasoning

            self.opens_reasoning = opens_reasoning(tokenizer)
        self._sleep = sleep
        self._circuit = Circuit(settings.failures, settings.pause_s, clock=clock)
        self._adapters: defaultdict[str, _Served] = defaultdict(_Served)
        self._under_way = 0
        self._closed = False
        key = settings.api_key.get_secret_value()
        self._client = httpx.AsyncClient(
            base_url=settings.url.rstrip("/") + "/",
            headers={"Authorization": f"Bearer {key}"} if key else {},
            # how long an answer may take is watched per token, below; how many at once is the server's to say
            timeout=httpx.Timeout(None, connect=settings.connect_s),
            limits=httpx.Limits(max_connections=None),
        )

    async def connect(self) -> None:
        """Ask the server what it serves. Raises SettingsError when it isn't as set; AnsweringFailed."""
        cards = await self._models()
        bases = {card["id"]: card for card in cards if not card.get("parent")}
        wanted = self._settings.model or (self.base_model if self.base_model in bases else "")
        if not wanted and len(bases) == 1:
            wanted = next(iter(bases))
        if wanted not in bases:
            raise SettingsError(
                f"The model server lists {', '.join(bases) or 'no model'}, "
                + (f"and not {wanted}." if wanted else f"and none is called {self.base_model}."),
                "Set THUMBLOOP_REMOTE__MODEL to the one that is the base model.",
            )
        self._served_base = wanted
        self.context_tokens = self._settings.context_tokens or bases[wanted].get("max_model_len") or 0
        if not self.context_tokens:
            raise SettingsError(
                f"The model server does not say how many tokens {wanted} takes.",
                "Set THUMBLOOP_REMOTE__CONTEXT_TOKENS.",
            )

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of the prompt that `messages` make, as `Answerer`; an estimate without a tokenizer."""
        if self._tokenizer is not None:
            from training.model.chat_format import prompt_token_ids

            return len(prompt_token_ids(self._tokenizer, messages))
        said = sum(len(message["content"].encode()) // BYTES_A_TOKEN + 1 for message in messages)
        return said + TOKENS_A_MESSAGE * (len(messages) + 1)

    @set_apart
    async def stream(self, request: AnswerRequest) -> AsyncGenerator[Piece, None]:
        """Answer `request` piece by piece; closing the iterator closes the stream, and so ends the work."""
        started = time.perf_counter()
        if cannot_fit(request.messages, self.context_tokens):
            raise PromptTooLong(None, self.context_tokens - 1)
        characters = characters_of(request.messages)
        body = await off_loop_if_long(characters, partial(self._body, request))
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(self._counted(request.adapter))
            chunk, chunks = await self._begin(request, body, stack)
            first, pieces = time.perf_counter(), 0
            finish: FinishReason | None = None
            usage: dict[str, Any] | None = None
            said: list[str] = []
            while chunk is not None:
                finish, usage = chunk.finish or finish, chunk.usage or usage
                if chunk.text or chunk.reasoning:
                    pieces += 1
                    said.append(chunk.reasoning + chunk.text)
                if chunk.reasoning:
                    yield Piece("", reasoning=chunk.reasoning)
                if chunk.text:
                    yield Piece(chunk.text)
                chunk = await self._next(chunks)
            if self._closed:
                finish = "cancelled"
            if finish is None:
                self._circuit.failed()
                raise AnsweringFailed("The model server broke the answer off.", _ASK_AGAIN)
            counted = usage or {}
            prompt_tokens: int = counted.get("prompt_tokens") or 0
            if not prompt_tokens:
                count = partial(self.count_tokens, request.messages)
                prompt_tokens = await off_loop_if_long(characters, count)
            yield Piece(
                "",
                Usage(
                    prompt_tokens,
                    counted.get("completion_tokens") or self._answer_tokens(said, pieces),
                    first - started,
                    time.perf_counter() - started,
                    finish,
                ),
            )

    async def load(self, adapter: AdapterFiles) -> None:
        """Make `adapter` ready before its first question. Raises AdapterRefused with the reason."""
        name = _name(adapter)
        served = self._adapters[name]
        async with served.lock:
            if served.ready:
                return
            if not any(name in (card["id"], card.get("root")) for card in await self._models()):
                if self._settings.adapters == "at-start":
                    raise AdapterRefused(
                        adapter.version,
                        f"the model server does not list it; start it with --lora-modules "
                        f"{name}={self._path_on_server(adapter)}, or set THUMBLOOP_REMOTE__ADAPTERS=runtime",
                    )
                await self._load_at_run_time(adapter, name)
            served.ready = True

    async def unload(self, adapter: AdapterFiles) -> None:
        """Give the adapter's memory back once no answer under way uses it."""
        name = _name(adapter)
        served = self._adapters.get(name)
        if served is None or not served.ready:
            return
        served.ready = False
        if self._settings.adapters == "at-start":
            return
        if served.users:
            await served.idle.wait()
        async with served.lock:
            if served.ready or served.users:
                return  # somebody asked for it again meanwhile
            try:
                await self._retried(lambda: self._call("POST", "unload_lora_adapter", {"lora_name": name}))
            except _Refused as refused:
                if refused.status != httpx.codes.NOT_FOUND:  # gone already, as after a restart
                    raise self._answering_error(refused) from refused

    async def check(self) -> None:
        """Raise AnsweringFailed, saying why, when no answer can be given now."""
        await self._models()

    async def close(self) -> None:
        """Cancel what is under way and let the server go."""
        self._closed = True
        await self._client.aclose()

    def _body(self, request: AnswerRequest) -> dict[str, Any]:
        sampling = request.sampling
        messages, room = list(request.messages), sampling.max_new_tokens
        if self._tokenizer is not None:
            from training.model.chat_format import escape_special_tokens

            tokens = self.count_tokens(messages)
            room = min(room, self.context_tokens - tokens)
            if room < 1:
                raise PromptTooLong(tokens, self.context_tokens - 1)
            messages = [
                {"role": m["role"], "content": escape_special_tokens(self._tokenizer, m["content"])}
                for m in messages
            ]
        body: dict[str, Any] = {
            "model": _name(request.adapter) if request.adapter else self._served_base,
            "messages": messages,
            "max_tokens": room,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if self._thinking != "template":
            body["chat_template_kwargs"] = {"enable_thinking": self._thinking == "on"}
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        if sampling.seed is not None:
            body["seed"] = sampling.seed
        if sampling.repetition_penalty != 1.0:  # vLLM's; others refuse what they do not know
            body["repetition_penalty"] = sampling.repetition_penalty
        return body

    async def _begin(
        self, request: AnswerRequest, body: dict[str, Any], stack: contextlib.AsyncExitStack
    ) -> tuple[_Chunk | None, AsyncGenerator[_Chunk, None]]:
        """Put the question until its first token is here; the open stream is left to `stack`."""
        adapter = request.adapter
        if adapter is not None:
            await self.load(adapter)
        try:
            try:
                return await self._retried(lambda: self._open(body, stack))
            except _Refused as refused:
                if adapter is None or refused.status != httpx.codes.NOT_FOUND:
                    raise
                # restarted since, the server has forgotten what was loaded at run time
                self._adapters[_name(adapter)].ready = False
                await self.load(adapter)
                return await self._retried(lambda: self._open(body, stack))
        except _Refused as refused:
            raise self._answering_error(refused, request) from refused

    async def _open(
        self, body: dict[str, Any], stack: contextlib.AsyncExitStack
    ) -> tuple[_Chunk | None, AsyncGenerator[_Chunk, None]]:
        async with contextlib.AsyncExitStack() as attempt:
            with _faults(f"did not begin to answer within {self._settings.first_token_s:g} seconds"):
                async with asyncio.timeout(self._settings.first_token_s):
                    response = await attempt.enter_async_context(
                        self._client.stream("POST", "chat/completions", json=body)
                    )
                    await _raise_for_refusal(response)
                    chunks = await attempt.enter_async_context(contextlib.aclosing(_chunks(response)))
                    first = await anext(chunks, None)
            stack.push_async_exit(attempt.pop_all())
            return first, chunks

    async def _next(self, chunks: AsyncGenerator[_Chunk, None]) -> _Chunk | None:
        try:
            with _faults(f"fell silent for {self._settings.between_tokens_s:g} seconds"):
                async with asyncio.timeout(self._settings.between_tokens_s):
                    return await anext(chunks, None)
        except (_Broken, _Refused) as fault:
            if self._closed:
                return None
            self._circuit.failed()
            log.warning("the model server broke an answer off", reason=str(fault))
            raise AnsweringFailed("The model server broke the answer off.", _ASK_AGAIN) from fault

    async def _retried(self, send: Callable[[], Awaitable[Result]]) -> Result:
        """What `send` brings; after 429, 5xx or a broken connection it is called again. Raises _Refused."""
        tried = 0
        while True:
            self._require_open_server()
            fault: _Broken | _Refused
            try:
                result = await send()
            except _Broken as broken:
                self._circuit.failed()
                fault = broken
            except _Refused as refused:
                self._circuit.succeeded()
                if refused.status != httpx.codes.TOO_MANY_REQUESTS:
                    raise
                fault = refused
            except BaseException:  # cancelled: a half-open circuit would wait for its outcome for ever
                self._circuit.gave_up()
                raise
            else:
                self._circuit.succeeded()
                return result
            if self._closed:
                raise Stopping from fault
            pause = self._settings.backoff_s * 2**tried * random.uniform(0.5, 1.5)
            pause = max(pause, fault.retry_after_s)
            if tried >= self._settings.retries or not fault.again or pause > LONGEST_WAIT_S:
                log.warning("the model server was asked in vain", tries=tried + 1, reason=str(fault))
                raise self._answering_error(fault) from fault
            tried += 1
            await self._sleep(pause)

    def _require_open_server(self) -> None:
        if self._closed:
            raise Stopping
        if not self._circuit.may_try():
            until = datetime.now(UTC) + timedelta(seconds=self._circuit.retry_in_s)
            raise AnsweringFailed(
                "The model server has failed too often in a row.",
                f"It is tried again from {until:%H:%M:%S} UTC on; ask after that.",
            )

    async def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        # loading an adapter may take as long as a first token
        with _faults(f"did not answer within {self._settings.first_token_s:g} seconds"):
            async with asyncio.timeout(self._settings.first_token_s):
                response = await self._client.request(method, path, json=body)
                await _raise_for_refusal(response)
                return response

    async def _models(self) -> list[dict[str, Any]]:
        """The server's model list. Raises AnsweringFailed."""
        try:
            response = await self._retried(lambda: self._call("GET", "models"))
        except _Refused as refused:
            raise self._answering_error(refused) from refused
        try:
            cards = response.json()["data"]
            return [card for card in cards if isinstance(card["id"], str)]
        except (ValueError, KeyError, TypeError) as error:
            raise AnsweringFailed(
                "What the model server lists as its models cannot be read.",
                "Check that THUMBLOOP_REMOTE__URL is an OpenAI-compatible server's, such as http://127.0.0.1:8000/v1.",
            ) from error

    async def _load_at_run_time(self, adapter: AdapterFiles, name: str) -> None:
        body = {"lora_name": name, "lora_path": self._path_on_server(adapter)}
        try:
            await self._retried(lambda: self._call("POST", "load_lora_adapter", body))
        except _Refused as refused:
            if "already been loaded" in refused.message:
                return  # another process did: the name holds the content, so it is the same adapter
            log.warning("the model server refused an adapter", adapter=name, reason=str(refused))
            if refused.status == httpx.codes.NOT_FOUND and name not in refused.message:
                reason = (
                    "the model server loads none at run time; start vLLM with "
                    "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, or set THUMBLOOP_REMOTE__ADAPTERS=at-start"
                )
            else:
                reason = f"the model server cannot load {body['lora_path']}; its log and ours say why"
            raise AdapterRefused(adapter.version, reason) from refused

    def _path_on_server(self, adapter: AdapterFiles) -> str:
        """The adapter's folder as the server sees it."""
        if not self._settings.adapters_folder:
            return str(adapter.folder.absolute())
        root, version = self._settings.adapters_folder.rstrip("/"), adapter.version
        return f"{root}/{version.name}/{version.version}"

    @contextlib.contextmanager
    def _counted(self, adapter: AdapterFiles | None) -> Iterator[None]:
        """An answer is under way, with that adapter: it isn't unloaded meanwhile."""
        served = self._adapters[_name(adapter)] if adapter else _Served()
        self._under_way += 1
        served.users += 1
        served.idle.clear()
        try:
            yield
        finally:
            self._under_way -= 1
            served.users -= 1
            if not served.users:
                served.idle.set()

    def _answer_tokens(self, said: Sequence[str], pieces: int) -> int:
        """Tokens of an answer whose server does not count: the tokenizer's number, else one a piece."""
        if self._tokenizer is None:
            return pieces
        return len(self._tokenizer("".join(said), add_special_tokens=False)["input_ids"])

    def _answering_error(
        self, fault: _Broken | _Refused, request: AnswerRequest | None = None
    ) -> AnsweringError:
        """The error that the asker sees; the server's own words go to the log."""
        if isinstance(fault, _Broken):
            return AnsweringFailed(f"The model server {fault}.", _ASK_AGAIN)
        if fault.status == httpx.codes.TOO_MANY_REQUESTS:
            return Busy(max(0, self._under_way - 1))
        if request is not None and fault.is_about_length:
            count = _PROMPT_TOKENS.search(fault.message)
            tokens = int(count[1]) if count else self.count_tokens(request.messages)
            return PromptTooLong(max(tokens, self.context_tokens), self.context_tokens - 1)
        log.warning("the model server refused", status=fault.status, reason=fault.message)
        if fault.status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            return AnsweringFailed(
                "The model server does not take the key of this service.",
                "Tell the operator to check THUMBLOOP_REMOTE__API_KEY.",
            )
        if request is not None and request.adapter is not None and fault.status == httpx.codes.NOT_FOUND:
            return AdapterRefused(request.adapter.version, "the model server does not know it")
        return AnsweringFailed(f"The model server refused what it was asked ({fault.status}).", _TELL)


class _Broken(Exception):
    """The server failed, or nothing whole came from it; `again` says whether a second try may help."""

    def __init__(self, what: str, *, again: bool = True, retry_after_s: float = 0.0) -> None:
        self.again = again
        self.retry_after_s = retry_after_s
        super().__init__(what)


class _Refused(Exception):
    """The server lives and said no."""

    again = True  # only 429 comes to that

    def __init__(self, status: int, message: str, code: str = "", retry_after_s: float = 0.0) -> None:
        self.status = status
        self.message = message
        self.code = code
        self.retry_after_s = retry_after_s
        super().__init__(f"{status} {message}")

    @property
    def is_about_length(self) -> bool:
        return self.code == "context_length_exceeded" or (
            self.status == httpx.codes.BAD_REQUEST and _TOO_LONG.search(self.message) is not None
        )


@contextlib.contextmanager
def _faults(too_slow: str) -> Iterator[None]:
    """Turn what httpx raises into _Broken; `too_slow` says what took too long."""
    try:
        yield
    except httpx.ConnectTimeout as error:
        raise _Broken("cannot be reached") from error
    except TimeoutError as error:
        raise _Broken(too_slow, again=False) from error  # who has waited that long waits no second time
    except httpx.ConnectError as error:
        raise _Broken("cannot be reached") from error
    except (httpx.TransportError, httpx.StreamError) as error:
        raise _Broken("broke the connection") from error


async def _raise_for_refusal(response: httpx.Response) -> None:
    if response.is_success:
        return
    raw = await response.aread()
    try:
        error = json.loads(raw)
    except ValueError:
        error = raw.decode(errors="replace")
    raise _fault(response.status_code, error, _retry_after_s(response.headers.get("Retry-After", "")))


def _fault(status: int, error: Any, retry_after_s: float = 0.0) -> _Broken | _Refused:
    """The fault in an error body: OpenAI nests it under "error", older vLLM doesn't, others send anything."""
    if isinstance(error, dict) and isinstance(error.get("error"), dict):
        error = error["error"]
    message, code = (str(error), "")
    if isinstance(error, dict):
        message, code = str(error.get("message", error)), str(error.get("code") or "")
    if status >= httpx.codes.INTERNAL_SERVER_ERROR:
        log.info("the model server failed", status=status, reason=message[:500])
        return _Broken(f"failed ({status})", retry_after_s=retry_after_s)
    return _Refused(status, message[:500], code, retry_after_s)


async def _chunks(response: httpx.Response) -> AsyncGenerator[_Chunk, None]:
    """The events that bring something, to the end of the stream."""
    async for event in EventSource(response).aiter_sse():
        if event.data == "[DONE]":
            return
        try:
            chunk = _chunk(json.loads(event.data))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _Broken("sent what is no answer", again=False) from error
        if chunk.text or chunk.reasoning or chunk.finish or chunk.usage:
            yield chunk


def _chunk(event: dict[str, Any]) -> _Chunk:
    if error := event.get("error"):
        code = error.get("code") if isinstance(error, dict) else None
        raise _fault(code if isinstance(code, int) else httpx.codes.INTERNAL_SERVER_ERROR, error)
    choices = event.get("choices") or [{}]  # the usage comes without any
    reason = choices[0].get("finish_reason")
    finish: FinishReason | None = None
    if reason is not None:
        finish = "length" if reason == "length" else "stop"
    delta = choices[0].get("delta") or {}
    reasoning = delta.get("reasoning_content") or delta.get("reasoning") or ""  # vLLM renamed the former
    return _Chunk(delta.get("content") or "", reasoning, finish, event.get("usage"))


def _retry_after_s(header: str) -> float:
    """Seconds that a Retry-After header asks for: a number of them, or a date (RFC 9110, 10.2.3)."""
    if header.strip().isdecimal():
        return float(header)
    try:
        return max(0.0, (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):  # none, or one without a zone
        return 0.0


def _name(adapter: AdapterFiles) -> str:
    return served_name(adapter.version, adapter.content_hash)


def _tokenizer_at_hand(settings: Settings) -> PreTrainedTokenizerBase | None:
    """The base model's tokenizer if its files are on this machine; nothing is fetched for it."""
    from transformers import AutoTokenizer

    from training.model.chat_format import set_thinking
    from training.model.names import DEFAULT_MODEL

    place = settings.models_folder / DEFAULT_MODEL if settings.model == DEFAULT_MODEL else settings.model
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            place, revision=settings.model_revision, local_files_only=True
        )
    except (OSError, ValueError):
        log.warning("no tokenizer of the base model is on this machine; prompts are counted by estimate")
        return None
    if not tokenizer.chat_template:
        return None
    set_thinking(tokenizer, settings.thinking)
    return tokenizer
