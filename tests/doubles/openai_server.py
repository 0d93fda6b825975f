"""A model server that speaks OpenAI's and vLLM's protocol and fails as told.

`/v1/models`, `/v1/chat/completions` (streamed or whole) and vLLM's two adapter endpoints. Each completion
takes the next `Reply` of `script`, or a plain one; what was asked is in `asked`, who hung up sets `hung_up`.
Refusals are worded as vLLM 0.32 words them.
After `hold`, every answer pauses after its first word until `release`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

BASE = "hub/tiny"
CONTEXT = 128
MOST_STOPS = 4


@dataclass
class Reply:
    """How one completion goes.

    `status` other than 200 refuses with `message`. After `after` words the stream does what `then` says:
    "finish", "hang" until the client leaves, "cut" the connection, "error" (an event), or "stop" mid-answer.
    """

    words: tuple[str, ...] = ("Hello", " there")
    status: int = 200
    message: str = "no"
    headers: dict[str, str] = field(default_factory=dict)
    then: str = "finish"
    after: int = 99
    finish: str = "stop"
    usage: bool = True
    stop_reason: str | None = None
    thoughts: tuple[str, ...] = ()
    """What a server with a reasoning parser sets apart from the answer by itself, before its words."""


class CutError(Exception):
    """Makes uvicorn drop the connection in the middle of a response."""


class OpenAIServer:
    """The double; `app` is what is served."""

    def __init__(
        self,
        *,
        loads_at_run_time: bool = True,
        max_model_len: int | None = CONTEXT,
        owned_by: str = "somebody",
        strict_template: bool = False,
    ) -> None:
        self.script: list[Reply] = []
        self.adapters: dict[str, str] = {}
        self.unloadable: set[str] = set()
        self.broken_adapters: dict[str, str] = {}
        self.asked: list[dict[str, Any]] = []
        self.model_list: Any = None
        self.calls: list[str] = []
        self.authorization: list[str | None] = []
        self.hung_up = asyncio.Event()
        self._go = asyncio.Event()
        self._go.set()
        self._max_model_len = max_model_len
        self._owned_by = owned_by
        self._strict_template = strict_template
        routes = [
            Route("/v1/models", self._models),
            Route("/v1/chat/completions", self._complete, methods=["POST"]),
        ]
        if owned_by == "vllm":
            routes.append(Route("/version", self._version))
        if loads_at_run_time:
            routes += [
                Route("/v1/load_lora_adapter", self._load, methods=["POST"]),
                Route("/v1/unload_lora_adapter", self._unload, methods=["POST"]),
            ]
        self.app = Starlette(routes=routes)

    def hold(self) -> None:
        """Let answers pause after their first word."""
        self._go.clear()

    def release(self) -> None:
        """Let answers go on, those that pause and those to come."""
        self._go.set()

    async def _models(self, request: Request) -> Response:
        self.authorization.append(request.headers.get("authorization"))
        if self.model_list is not None:
            return JSONResponse(self.model_list)
        base = {
            "id": BASE,
            "object": "model",
            "root": "/models/tiny",
            "parent": None,
            "owned_by": self._owned_by,
        }
        if self._max_model_len is not None:
            base["max_model_len"] = self._max_model_len  # type: ignore[assignment]  # an int among words
        adapters = [
            {"id": name, "object": "model", "root": path, "parent": BASE}
            for name, path in self.adapters.items()
        ]
        return JSONResponse({"object": "list", "data": [base, *adapters]})

    async def _version(self, request: Request) -> Response:
        return JSONResponse({"version": "0.32.0"})  # no key is asked for outside /v1

    async def _load(self, request: Request) -> Response:
        wanted = await request.json()
        name, path = wanted["lora_name"], wanted["lora_path"]
        if not name or not path:
            return _error(400, "Both 'lora_name' and 'lora_path' must be provided.", "InvalidUserInput")
        self.calls.append(f"load {name} {path}")
        if name in self.unloadable:
            return _error(404, f"Loading lora {name} failed: No adapter found for {path}", "NotFoundError")
        if name in self.broken_adapters:
            return _error(500, self.broken_adapters[name], "InternalServerError")
        self.adapters[name] = path
        return PlainTextResponse(f"Success: LoRA adapter '{name}' added successfully.")

    async def _unload(self, request: Request) -> Response:
        name = (await request.json())["lora_name"]
        self.calls.append(f"unload {name}")
        if self.adapters.pop(name, None) is None:
            return _error(404, f"The lora adapter '{name}' cannot be found.", "NotFoundError")
        return PlainTextResponse(f"Success: LoRA adapter '{name}' removed successfully.")

    async def _complete(self, request: Request) -> Response:
        asked = await request.json()
        self.asked.append(asked)
        reply = self.script.pop(0) if self.script else Reply()
        if reply.status != 200:
            return _error(reply.status, reply.message, "BadRequestError", reply.headers)
        if asked["model"] != BASE and asked["model"] not in self.adapters:
            return _error(404, f"The model `{asked['model']}` does not exist.", "NotFoundError")
        if len(asked.get("stop", [])) > MOST_STOPS:
            too_long = "List should have at most 4 items after validation"
            return _error(400, f"1 validation error: {too_long}", "Bad Request")
        roles = [message["role"] for message in asked["messages"]]
        if self._strict_template and roles != (["user", "assistant"] * len(roles))[: len(roles)]:
            return _error(400, "Conversation roles must alternate user/assistant/...", "BadRequestError")
        if not asked.get("stream"):
            return await self._whole(reply)
        return StreamingResponse(self._events(reply), media_type="text/event-stream")

    async def _whole(self, reply: Reply) -> Response:
        if reply.then == "hang":
            await asyncio.Event().wait()
        message = {"role": "assistant", "content": "".join(reply.words)}
        return JSONResponse({"choices": [{"index": 0, "message": message, "finish_reason": reply.finish}]})

    async def _events(self, reply: Reply) -> AsyncIterator[str]:
        yield _event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
        for thought in reply.thoughts:
            yield _event({"choices": [{"index": 0, "delta": {"reasoning_content": thought}}]})
        for number, word in enumerate([*reply.words, None]):
            if number == reply.after or word is None:
                if reply.then == "hang":
                    try:
                        await asyncio.Event().wait()
                    finally:
                        self.hung_up.set()
                if reply.then == "cut":
                    raise CutError
                if reply.then == "error":
                    yield _event({"error": {"message": "CUDA error", "type": "InternalServerError"}})
                    return
                if reply.then == "stop":
                    return
            if number == 1:
                await self._go.wait()
            if word is not None:
                yield _event({"choices": [{"index": 0, "delta": {"content": word}}]})
        yield ": a comment, as proxies send to keep a connection open\n\n"
        last = {"index": 0, "delta": {}, "finish_reason": reply.finish, "stop_reason": reply.stop_reason}
        yield _event({"choices": [last]})
        if reply.usage:
            count = {"prompt_tokens": 11, "completion_tokens": 22, "total_tokens": 33}
            yield _event({"choices": None, "usage": count})
        yield "data: [DONE]\n\n"


def _event(data: dict[str, Any]) -> str:
    # as vLLM writes it: letters as they are, so U+2028 stands bare in the line
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


def _error(status: int, message: str, type: str, headers: dict[str, str] | None = None) -> JSONResponse:
    error = {"message": message, "type": type, "param": None, "code": status}
    return JSONResponse({"error": error}, status, headers)
