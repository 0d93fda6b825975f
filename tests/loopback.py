"""An ASGI app served by a real uvicorn on a free port of this machine, in the test's own event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import uvicorn
from websockets.exceptions import InvalidState


class _Server(uvicorn.Server):
    def __init__(self, app: Any, lifespan: Literal["on", "off"]) -> None:
        config = uvicorn.Config(
            app, log_level="critical", access_log=False, lifespan=lifespan, timeout_graceful_shutdown=1
        )
        super().__init__(config)
        self.listening, self.leaving = asyncio.Event(), asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # Ctrl-C is pytest's

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    async def main_loop(self) -> None:
        await self.on_tick(0)  # the headers that every answer has
        await self.leaving.wait()  # uvicorn's own looks ten times a second whether it should


@asynccontextmanager
async def serving(app: Any, *, lifespan: Literal["on", "off"] = "off") -> AsyncIterator[str]:
    """Serve `app` inside the block; its URL, such as http://127.0.0.1:40123."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as `bot.web_server`
        server = _Server(app, lifespan)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await server.listening.wait()
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.leaving.set()
            # uvicorn's word for a browser that leaves its page in the same moment
            with contextlib.suppress(InvalidState):
                await task
