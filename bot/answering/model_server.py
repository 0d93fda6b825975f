"""An OpenAI-compatible server over HTTP: calls, streams, retries, a circuit breaker, and its faults in words.

Leaves to others: what is asked (`remote.py`) and which adapters the server has (`server_adapters.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeVar

import httpx
import structlog
from httpx_sse import EventSource

from bot.answering.answerer import FinishReason
from bot.answering.circuit import Circuit
from bot.errors import AnsweringError, AnsweringFailed, Busy, Stopping
from bot.settings import RemoteSettings

LONGEST_WAIT_S: Final = 60.0
"""A server that asks for more patience than this is not waited for: the person hears at once."""
VLLM: Final = "vllm"
"""What vLLM's model list says of itself as `owned_by`."""

_TOO_LONG = re.compile(r"context[ _]length", re.IGNORECASE)
_OF_THE_TEMPLATE = re.compile(r"\broles?\b|\balternat|chat template", re.IGNORECASE)
_ASK_AGAIN = "Ask again in a minute."
_TELL = "Tell the operator; the log says why."

log = structlog.get_logger(__name__)

Result = TypeVar("Result")


@dataclass(frozen=True)
class Chunk:
    """What one event of the stream brings; `usage` is the server's own count.

    `reasoning` is what the server has set apart from the answer, by a reasoning parser of its own.
    `at_stop_string`: vLLM says that a stop string, and no end token, ended the answer.
    """

    text: str
    reasoning: str
    finish: FinishReason | None
    usage: dict[str, Any] | None
    at_stop_string: bool = False


class Broken(Exception):
    """The server failed, or nothing whole came from it; `again` says whether a second try may help.

    `status` is the HTTP status with which it failed, 0 without one; `message` is its own account.
    """

    def __init__(
        self,
        what: str,
        *,
        again: bool = True,
        retry_after_s: float = 0.0,
        status: int = 0,
        message: str = "",
    ) -> None:
        self.again = again
        self.retry_after_s = retry_after_s
        self.status = status
        self.message = message
        super().__init__(what)


class Refused(Exception):
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
        """Whether the prompt is too long for the model."""
        return self.code == "context_length_exceeded" or (
            self.status == httpx.codes.BAD_REQUEST and _TOO_LONG.search(self.message) is not None
        )

    @property
    def is_of_the_template(self) -> bool:
        """Whether the model's chat template does not take the conversation."""
        return (
            self.status == httpx.codes.BAD_REQUEST
            and not self.is_about_length
            and _OF_THE_TEMPLATE.search(self.message) is not None
        )


class ModelServer:
    """The server that `settings` name; every call raises Broken or Refused unless it says otherwise."""

    def __init__(
        self,
        settings: RemoteSettings,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.answers_under_way = 0
        self.closed = False
        self._settings = settings
        self._sleep = sleep
        self._circuit = Circuit(settings.failures, settings.pause_s, clock=clock)
        key = settings.api_key.get_secret_value()
        self._client = httpx.AsyncClient(
            base_url=settings.url.rstrip("/") + "/",
            headers={"Authorization": f"Bearer {key}"} if key else {},
            # how long an answer may take is watched per token, below; how many at once is the server's to say
            timeout=httpx.Timeout(None, connect=settings.connect_s),
            limits=httpx.Limits(max_connections=None),
        )

    async def close(self) -> None:
        """End what is under way and let the server go."""
        self.closed = True
        await self._client.aclose()

    async def models(self) -> list[dict[str, Any]]:
        """The server's model list. Raises AnsweringFailed."""
        try:
            response = await self.retried(lambda: self.call("GET", "models"))
        except (Broken, Refused) as fault:
            raise self.answering_error(fault) from fault
        try:
            cards = response.json()["data"]
            return [card for card in cards if isinstance(card["id"], str)]
        except (ValueError, KeyError, TypeError) as error:
            raise AnsweringFailed(
                "What the model server lists as its models cannot be read.",
                "Check that THUMBLOOP_REMOTE__URL is an OpenAI-compatible server's, such as http://127.0.0.1:8000/v1.",
            ) from error

    async def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        """One request, once; `path` is below the server's base URL."""
        # loading an adapter may take as long as a first token
        with _faults(f"did not answer within {self._settings.first_token_s:g} seconds"):
            async with asyncio.timeout(self._settings.first_token_s):
                response = await self._client.request(method, path, json=body)
                await _raise_for_refusal(response)
                return response

    async def open(
        self, body: dict[str, Any], stack: contextlib.AsyncExitStack
    ) -> tuple[Chunk | None, AsyncGenerator[Chunk, None]]:
        """Put a question, once, and wait for its first token; the open stream is left to `stack`."""
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

    async def next(self, chunks: AsyncGenerator[Chunk, None]) -> Chunk | None:
        """The stream's next chunk; None at its end, or when this end was closed. Raises AnsweringFailed."""
        try:
            with _faults(f"fell silent for {self._settings.between_tokens_s:g} seconds"):
                async with asyncio.timeout(self._settings.between_tokens_s):
                    return await anext(chunks, None)
        except (Broken, Refused) as fault:
            if self.closed:
                return None
            log.warning("the model server broke an answer off", reason=str(fault))
            raise self.broke_off() from fault

    def broke_off(self) -> AnsweringFailed:
        """The error for an answer that ended too early, which counts as a failure of the server."""
        self._circuit.failed()
        return AnsweringFailed("The model server broke the answer off.", _ASK_AGAIN)

    async def retried(self, send: Callable[[], Awaitable[Result]]) -> Result:
        """What `send` brings; after 429, 5xx or a broken connection it is called again.

        Raises the last fault when no tries are left, AnsweringFailed while the circuit is open, Stopping.
        """
        tried = 0
        while True:
            self._require_open_server()
            fault: Broken | Refused
            try:
                result = await send()
            except Broken as broken:
                self._circuit.failed()
                fault = broken
            except Refused as refused:
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
            if self.closed:
                raise Stopping from fault
            pause = self._settings.backoff_s * 2**tried * random.uniform(0.5, 1.5)
            pause = max(pause, fault.retry_after_s)
            if tried >= self._settings.retries or not fault.again or pause > LONGEST_WAIT_S:
                log.warning("the model server was asked in vain", tries=tried + 1, reason=str(fault))
                raise fault
            tried += 1
            await self._sleep(pause)

    def answering_error(self, fault: Broken | Refused) -> AnsweringError:
        """The error that the asker sees; the server's own words go to the log."""
        if isinstance(fault, Broken):
            return AnsweringFailed(f"The model server {fault}.", _ASK_AGAIN)
        if fault.status == httpx.codes.TOO_MANY_REQUESTS:
            return Busy(max(0, self.answers_under_way - 1))
        log.warning("the model server refused", status=fault.status, reason=fault.message)
        if fault.status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            return AnsweringFailed(
                "The model server does not take the key of this service.",
                "Tell the operator to check THUMBLOOP_REMOTE__API_KEY.",
            )
        return AnsweringFailed(f"The model server refused what it was asked ({fault.status}).", _TELL)

    def _require_open_server(self) -> None:
        if self.closed:
            raise Stopping
        if not self._circuit.may_try():
            until = datetime.now(UTC) + timedelta(seconds=self._circuit.retry_in_s)
            raise AnsweringFailed(
                "The model server has failed too often in a row.",
                f"It is tried again from {until:%H:%M:%S} UTC on; ask after that.",
            )


@contextlib.contextmanager
def _faults(too_slow: str) -> Iterator[None]:
    """Turn what httpx raises into Broken; `too_slow` says what took too long."""
    try:
        yield
    except httpx.ConnectTimeout as error:
        raise Broken("cannot be reached") from error
    except TimeoutError as error:
        raise Broken(too_slow, again=False) from error  # who has waited that long waits no second time
    except httpx.ConnectError as error:
        raise Broken("cannot be reached") from error
    except (httpx.TransportError, httpx.StreamError) as error:
        raise Broken("broke the connection") from error


async def _raise_for_refusal(response: httpx.Response) -> None:
    if response.is_success:
        return
    raw = await response.aread()
    try:
        error = json.loads(raw)
    except ValueError:
        error = raw.decode(errors="replace")
    raise _fault(response.status_code, error, _retry_after_s(response.headers.get("Retry-After", "")))


def _fault(status: int, error: Any, retry_after_s: float = 0.0) -> Broken | Refused:
    """The fault in an error body: OpenAI nests it under "error", older vLLM doesn't, others send anything."""
    if isinstance(error, dict) and isinstance(error.get("error"), dict):
        error = error["error"]
    message, code = (str(error), "")
    if isinstance(error, dict):
        message, code = str(error.get("message", error)), str(error.get("code") or "")
    message = message[:500]
    if status >= httpx.codes.INTERNAL_SERVER_ERROR:
        log.info("the model server failed", status=status, reason=message)
        return Broken(f"failed ({status})", retry_after_s=retry_after_s, status=status, message=message)
    return Refused(status, message, code, retry_after_s)


async def _chunks(response: httpx.Response) -> AsyncGenerator[Chunk, None]:
    """The events that bring something, to the end of the stream."""
    async for event in EventSource(response).aiter_sse():
        if event.data == "[DONE]":
            return
        try:
            chunk = _chunk(json.loads(event.data))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Broken("sent what is no answer", again=False) from error
        if chunk.text or chunk.reasoning or chunk.finish or chunk.usage:
            yield chunk


def _chunk(event: dict[str, Any]) -> Chunk:
    if error := event.get("error"):
        code = error.get("code") if isinstance(error, dict) else None
        raise _fault(code if isinstance(code, int) else httpx.codes.INTERNAL_SERVER_ERROR, error)
    choice = (event.get("choices") or [{}])[0]  # the usage comes without any
    reason = choice.get("finish_reason")
    finish: FinishReason | None = None
    if reason is not None:
        finish = "length" if reason == "length" else "stop"
    delta = choice.get("delta") or {}
    reasoning = delta.get("reasoning_content") or delta.get("reasoning") or ""  # vLLM renamed the former
    at_stop_string = isinstance(choice.get("stop_reason"), str)
    return Chunk(delta.get("content") or "", reasoning, finish, event.get("usage"), at_stop_string)


def _retry_after_s(header: str) -> float:
    """Seconds that a Retry-After header asks for: a number of them, or a date (RFC 9110, 10.2.3)."""
    if header.strip().isdecimal():
        return float(header)
    try:
        return max(0.0, (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):  # none, or one without a zone
        return 0.0
