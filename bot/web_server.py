"""Serving an ASGI app on an address of this machine, inside a process that handles signals itself.

Nobody holds a connection for ever: a request must arrive in time (`bot.request_deadline`), the system asks
whether a silent peer is still there, and uvicorn does so of websockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from bot.errors import PortTaken

if TYPE_CHECKING:
    import uvicorn
    from starlette.types import ASGIApp

SILENT_S: Final = 60
"""After so long without a byte the system asks the peer whether it is still there, …"""
ASK_AGAIN_S: Final = 15
"""… every so often, …"""
ASK_TIMES: Final = 4
"""… and breaks the connection when so many were not answered: two minutes in all."""


@asynccontextmanager
async def listening(
    app: ASGIApp, host: str, port: int, variable: str, *, trusted_proxies: Sequence[str] = ()
) -> AsyncIterator[str]:
    """Serve `app`; its URL, once it answers. Raises PortTaken.

    Only `trusted_proxies`, addresses or networks, are believed what they say of the caller (X-Forwarded-For,
    X-Forwarded-Proto).
    """
    import uvicorn

    from bot.request_deadline import deadline_protocol

    listener = _bound(host, port, variable)

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield  # signals stop the whole service, in order, not one server of it

    server = Server(
        uvicorn.Config(
            app,
            http=deadline_protocol(),
            log_config=None,
            access_log=False,
            forwarded_allow_ips=list(trusted_proxies),
            timeout_graceful_shutdown=5,
        )
    )
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
        listener = socket.create_server((host, port), family=_family(host))
    except OSError as error:
        raise PortTaken(host, port, error.strerror or str(error), variable) from error
    # accepted connections inherit these. asyncio sets the first only on a socket that says it is TCP's, which
    # one of `create_server` does not: the second piece of an answer would wait 40 ms for the first one's ACK
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", SILENT_S),
        ("TCP_KEEPINTVL", ASK_AGAIN_S),
        ("TCP_KEEPCNT", ASK_TIMES),
    ):
        if hasattr(socket, option):  # macOS lacks the first
            listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return listener


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


async def _started(server: uvicorn.Server, task: asyncio.Task[None]) -> None:
    while not server.started:
        if task.done():
            task.result()
            raise RuntimeError("the web server ended while starting; the log says why")
        await asyncio.sleep(0.02)
