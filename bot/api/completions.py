"""A question over HTTP becomes an answer, in one piece or as a stream of server-sent events.

With a key that belongs to a community the assistant is asked, so the turn is kept like any other: the last
message is the question, those before it are used as given, and the community's persona only where they have
no system text. With another key the model is asked as it is, and nothing is kept.
A caller who hangs up ends the work.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, cast

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from bot.answering.answerer import AnswerRequest, Piece, Usage
from bot.api.errors import ApiError, api_error
from bot.api.keys import ApiKey
from bot.api.models import Chosen, choose
from bot.api.request import ChatRequest, read_request
from bot.assistant import Assistant
from bot.chat.sources import name_of
from bot.core import Core
from bot.errors import Stopping
from bot.knowledge.knowledge import Source
from bot.questions import Finished, Place, Question
from training.adapters import registry

MOST_BYTES: Final = 1 << 20
"""The longest request taken: far more than fits any context here, far less than would hurt."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class _Reply:
    """What every part of one reply carries."""

    model: str
    wants_usage: bool
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, text: str, usage: Usage, sources: Sequence[Source]) -> dict[str, Any]:
        message = {"role": "assistant", "content": text, "refusal": None}
        message |= _cited(sources, len(text))
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": usage.finish_reason}
        return self._object("chat.completion", [choice]) | {"usage": _counted(usage)}

    def chunk(self, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        nothing = {"usage": None} if self.wants_usage else {}
        return self._object("chat.completion.chunk", [choice]) | nothing

    def last(self, usage: Usage) -> dict[str, Any]:
        return self._object("chat.completion.chunk", []) | {"usage": _counted(usage)}

    def _object(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }


@dataclass(frozen=True)
class _Last(Piece):
    """The last piece of an answer that was given `sources`."""

    sources: tuple[Source, ...] = ()


class _Events(StreamingResponse):
    """A stream whose generator is closed with it, however it ends."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # not Starlette's own way: it cancels again and again while what was cancelled tidies up
        with contextlib.suppress(ClientDisconnect):
            await _unless_gone(Request(scope, receive), self.stream_response(send))

    async def stream_response(self, send: Send) -> None:
        async with contextlib.aclosing(cast(AsyncGenerator[str, None], self.body_iterator)):
            await super().stream_response(send)


async def complete(request: Request, core: Core, assistant: Assistant, key: ApiKey) -> Response:
    """Answer one request. Raises ApiError and ThumbloopError as long as nothing has been said."""
    asked = read_request(await _body(request))
    chosen = await choose(core, key, asked.model)
    reply = _Reply(chosen.name, asked.wants_usage)
    pieces = (
        _bare(assistant, key, asked, chosen)
        if key.platform is None
        else _logged(assistant, key, asked, chosen, reply.id)
    )
    try:
        if not asked.stream:
            text, usage, sources = await _unless_gone(request, _whole(pieces))
            return JSONResponse(reply.whole(text, usage, sources))
        # whatever is refused is refused now, while there is a status to refuse with
        first = await _unless_gone(request, anext(pieces))
    except BaseException:
        await pieces.aclose()
        raise
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return _Events(_events(reply, first, pieces), headers=headers, media_type="text/event-stream")


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise ApiError(413, f"The request is longer than {MOST_BYTES:,} bytes. Send fewer messages.")
    return bytes(body)


async def _bare(
    assistant: Assistant, key: ApiKey, asked: ChatRequest, chosen: Chosen
) -> AsyncGenerator[Piece, None]:
    """The model's answer to the messages as they are; nothing is kept."""
    files = await assistant.make_ready(chosen.adapter) if chosen.adapter else None
    stream = assistant.answerer.stream(
        AnswerRequest(
            messages=asked.as_messages(),
            adapter=files,
            sampling=asked.sampling(assistant.options.sampling),
            community=f"api key {key.name}",
        )
    )
    with assistant.answering():
        async with contextlib.aclosing(stream):
            async for piece in stream:
                if piece.usage is not None and piece.usage.finish_reason != "cancelled":
                    assistant.count_answer(files.version if files else None, piece.usage)
                yield piece


async def _logged(
    assistant: Assistant, key: ApiKey, asked: ChatRequest, chosen: Chosen, id: str
) -> AsyncGenerator[Piece, None]:
    """The assistant's answer in the key's community; the last piece may be empty and has the usage."""
    assert key.platform is not None, "only keys of a community are logged"
    *earlier, question = asked.as_messages()
    adapter = None
    if not chosen.follows_community:
        adapter = registry.label(chosen.adapter) if chosen.adapter else registry.BASE
    events = assistant.ask(
        Question(
            # every request brings its own history, so it is a conversation of its own
            place=Place(key.platform, key.community, conversation=id),
            # not a name of the platform's: a caller may not speak as one of its members
            member=f"api:{key.name}:{asked.user or ''}",
            external_id=id,
            text=question["content"],
            adapter=adapter,
            earlier=tuple(earlier),
            sampling=asked.sampling(assistant.options.sampling),
        )
    )
    async with contextlib.aclosing(events):
        async for event in events:
            if isinstance(event, Finished):
                yield _Last("", event.usage, sources=event.sources)
            elif not event.is_reasoning:
                yield Piece(event.text, starts_over=event.starts_over)


async def _whole(pieces: AsyncGenerator[Piece, None]) -> tuple[str, Usage, tuple[Source, ...]]:
    said: list[str] = []
    usage: Usage | None = None
    sources: tuple[Source, ...] = ()
    async for piece in pieces:
        if piece.starts_over:
            said.clear()
        said.append(piece.text)
        usage = piece.usage or usage
        if isinstance(piece, _Last):
            sources = piece.sources
    return "".join(said), _finished(usage), sources


async def _events(reply: _Reply, first: Piece, pieces: AsyncGenerator[Piece, None]) -> AsyncIterator[str]:
    usage: Usage | None = None
    sources: tuple[Source, ...] = first.sources if isinstance(first, _Last) else ()
    length = len(first.text)
    async with contextlib.aclosing(pieces):
        try:
            yield _event(reply.chunk({"role": "assistant", "content": first.text}))
            usage = first.usage
            async for piece in pieces:
                usage = piece.usage or usage
                length += len(piece.text)
                if isinstance(piece, _Last):
                    sources = piece.sources
                if piece.text:
                    yield _event(reply.chunk({"content": piece.text}))
            usage = _finished(usage)
        except (
            Exception
        ) as error:  # the outermost edge: the status is sent, so the stream tells what happened
            yield _event(api_error(error).body)
            return
        yield _event(reply.chunk(_cited(sources, length), usage.finish_reason))
        if reply.wants_usage:
            yield _event(reply.last(usage))
        yield "data: [DONE]\n\n"


async def _unless_gone(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """What `work` brings; it is cancelled when the caller hangs up. Raises ClientDisconnect then."""
    working, gone = asyncio.ensure_future(work), asyncio.create_task(_hung_up(request))
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        gone.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _finished(usage: Usage | None) -> Usage:
    if usage is None or usage.finish_reason == "cancelled":
        raise Stopping
    return usage


def _cited(sources: Sequence[Source], length: int) -> dict[str, Any]:
    """What a message says of its sources: OpenAI's annotations for those with an address, and all of them."""
    if not sources:
        return {}
    annotations = [
        {
            "type": "url_citation",
            "url_citation": {
                "url": source.link,
                "title": name_of(source, "en"),
                "start_index": length,  # a source belongs to the whole answer
                "end_index": length,
            },
        }
        for source in sources
        if source.link
    ]
    listed = [
        {
            "kind": source.kind,
            "title": name_of(source, "en"),
            "url": source.link or None,
            "page": source.page,
            "text": source.text,
        }
        for source in sources
    ]
    return {"annotations": annotations, "sources": listed}


def _counted(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.answer_tokens,
        "total_tokens": usage.prompt_tokens + usage.answer_tokens,
    }


def _event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data)}\n\n"
