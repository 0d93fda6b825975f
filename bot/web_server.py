"""Serving an ASGI app on an address of this machine, inside a process that handles signals itself."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from bot.errors import PortTaken

if TYPE_CHECKING:
    import uvicorn
    from starlette.types import ASGIApp


@asynccontextmanager
async def listening(app: ASGIApp, host: str, port: int, variable: str) -> AsyncIterator[str]:
    """Serve `app`; its URL, once it answers. Raises PortTaken."""
    import uvicorn

    listener = _bound(host, port, variable)

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield  # signals stop the whole service, in order, not one server of it

    server = Server(uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=5))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await _started(server, task)
        shown = f"[{host}]" if ":" in host else host
        yield f"http://{shown}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await asyncio.gather(task, return_exceptions=True)
        listener.close()


def require_free(host: str, port: int, variable: str) -> None:
    """Raise PortTaken when nobody can listen there now: said before a model is loaded for nothing."""
    _bound(host, port, variable).close()


def _bound(host: str, port: int, variable: str) -> socket.socket:
    try:
        return socket.create_server((host, port), family=_family(host))
    except OSError as error:
        raise PortTaken(host, port, error.strerror or str(error), variable) from error


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


async def _started(server: uvicorn.Server, task: asyncio.Task[None]) -> None:
    while not server.started:
        if task.done():
            task.result()
            raise RuntimeError("the web server ended while starting; the log says why")
        await asyncio.sleep(0.02)
