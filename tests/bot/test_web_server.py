"""Our own HTTP servers: nobody holds a connection for good, and only named proxies are believed."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from bot.web_server import listening

SOON_S = 0.3


async def _echo(request: Request) -> PlainTextResponse:
    return PlainTextResponse(await request.body())


async def _slow(request: Request) -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(6):
            yield b"."
            await asyncio.sleep(SOON_S / 2)

    return StreamingResponse(parts())


async def _caller(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"{request.url.scheme} {request.client.host if request.client else ''}")


async def _greet(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())


APP = Starlette(
    routes=[
        Route("/echo", _echo, methods=["POST"]),
        Route("/slow", _slow),
        Route("/caller", _caller),
        WebSocketRoute("/greet", _greet),
    ]
)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests must arrive at once."""
    monkeypatch.setattr("bot.request_deadline.HEAD_S", SOON_S)
    monkeypatch.setattr("bot.request_deadline.BODY_PAUSE_S", SOON_S)


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with listening(APP, "127.0.0.1", 0, "PORT") as url:
        yield url


async def connected(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(url)
    return await asyncio.open_connection(parts.hostname, parts.port)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"POST /echo HTTP/1.1\r\nHost: a\r\n",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf",
    ],
    ids=["nothing", "half a head", "half a body"],
)
@pytest.mark.usefixtures("impatient")
async def test_a_connection_whose_request_never_comes_is_closed(url: str, sent: bytes) -> None:
    reader, writer = await connected(url)
    writer.write(sent)
    async with asyncio.timeout(30):
        assert await reader.read() == b""
    writer.close()


@pytest.mark.usefixtures("impatient")
async def test_half_a_second_request_on_one_connection_is_closed_too(url: str) -> None:
    reader, writer = await connected(url)
    writer.write(b"GET /caller HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.write(b"GET /cal")
    async with asyncio.timeout(30):
        await reader.read()
    writer.close()


@pytest.mark.usefixtures("impatient")
async def test_an_answer_may_take_longer_than_its_request(url: str) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        assert (await client.get(f"{url}/slow")).text == "......"


async def test_a_body_that_keeps_coming_may_take_longer_than_a_head(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.request_deadline.HEAD_S", SOON_S)

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(6):
            yield b"."
            await asyncio.sleep(SOON_S / 3)

    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        assert (await client.post(f"{url}/echo", content=parts())).text == "......"


@pytest.mark.usefixtures("impatient")
async def test_a_websocket_may_be_silent(url: str) -> None:
    from websockets.asyncio.client import connect

    async with connect(f"{url.replace('http', 'ws')}/greet", proxy=None) as socket_:
        await asyncio.sleep(SOON_S * 2)
        await socket_.send("hello")
        assert await socket_.recv() == "hello"


@pytest.mark.skipif(sys.platform != "linux", reason="looks the connection up among the process's files")
async def test_the_system_asks_for_a_silent_peer_and_holds_no_small_piece_back(url: str) -> None:
    reader, writer = await connected(url)
    writer.write(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    with _accepted(writer.get_extra_info("sockname")) as theirs:
        assert theirs.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert theirs.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) <= 120
        assert theirs.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), "pieces wait for 40 ms"
    writer.close()


@pytest.mark.parametrize(
    ("trusted", "caller"), [((), "http 127.0.0.1"), (("127.0.0.0/8",), "https 203.0.113.7")]
)
async def test_only_a_named_proxy_is_believed_who_calls_and_how(
    trusted: tuple[str, ...], caller: str
) -> None:
    headers = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}
    async with (
        listening(APP, "127.0.0.1", 0, "PORT", trusted_proxies=trusted) as url,
        httpx.AsyncClient(trust_env=False, timeout=30) as client,
    ):
        assert (await client.get(f"{url}/caller", headers=headers)).text == caller


def _accepted(peer: tuple[str, int]) -> socket.socket:
    """The connection of this process whose other end is `peer`."""
    for name in os.listdir("/proc/self/fd"):
        try:
            found = socket.socket(fileno=os.dup(int(name)))
        except OSError:  # no socket
            continue
        try:
            if found.getpeername() == peer:
                return found
        except OSError:
            pass
        found.close()
    raise AssertionError(f"nothing is connected to {peer}")
