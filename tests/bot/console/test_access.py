"""Who may talk to the console: only this machine's own pages."""

from __future__ import annotations

import re

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from bot.console.access import BROWSER_COOKIE, BROWSER_KEY, Gate

URL = "http://127.0.0.1:8321"


async def _who(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.scope[BROWSER_KEY])


async def _greet(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("hello")
    await websocket.close()


def _behind_gate(**options: frozenset[str]) -> Gate:
    return Gate(Starlette(routes=[Route("/", _who), WebSocketRoute("/live", _greet)]), **options)


def _client(**options: frozenset[str]) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(_behind_gate(**options)), base_url=URL)


@pytest.mark.parametrize("host", ["localhost:8321", "127.0.0.1:8321", "[::1]:8321", "LOCALHOST"])
async def test_this_machines_own_names_are_let_in(host: str) -> None:
    async with _client() as client:
        assert (await client.get("/", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost:8321@evil.example", ""]
)
async def test_a_request_for_another_host_is_refused_with_what_to_do(host: str) -> None:
    async with _client() as client:
        answer = await client.get("/", headers={"Host": host})
    assert answer.status_code == 403
    assert "Open it by the address that Thumbloop printed" in answer.text


async def test_a_host_that_the_operator_named_is_let_in() -> None:
    async with _client(hosts=frozenset({"bot.lan"})) as client:
        assert (await client.get("/", headers={"Host": "bot.lan:8321"})).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:9999"])
async def test_a_foreign_pages_script_is_refused(origin: str) -> None:
    async with _client() as client:
        assert (await client.get("/", headers={"Origin": origin})).status_code == 403


def test_a_foreign_pages_websocket_is_refused_and_an_own_one_let_in() -> None:
    client = TestClient(_behind_gate(), base_url=URL)
    with (
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect("ws://127.0.0.1:8321/live", headers={"Origin": "https://evil.example"}),
    ):
        pass
    with client.websocket_connect("ws://127.0.0.1:8321/live", headers={"Origin": URL}) as own:
        assert own.receive_text() == "hello"


async def test_a_browser_keeps_the_id_it_was_given_in_a_cookie_that_scripts_cannot_read() -> None:
    async with _client() as client:
        first = await client.get("/")
        again = await client.get("/")
    assert "HttpOnly" in first.headers["Set-Cookie"] and "SameSite=Lax" in first.headers["Set-Cookie"]
    assert again.text == first.text and "Set-Cookie" not in again.headers


@pytest.mark.parametrize(("scheme", "secure"), [("https", True), ("http", False)])
async def test_over_https_the_cookie_goes_over_https_only(scheme: str, secure: bool) -> None:
    transport = httpx.ASGITransport(_behind_gate())
    async with httpx.AsyncClient(transport=transport, base_url=f"{scheme}://localhost") as client:
        assert ("Secure" in (await client.get("/")).headers["Set-Cookie"]) is secure


async def test_an_id_that_we_did_not_make_is_replaced() -> None:
    async with _client() as client:
        answer = await client.get("/", headers={"Cookie": f"{BROWSER_COOKIE}=../../etc"})
    assert "etc" not in answer.text and BROWSER_COOKIE in answer.headers["Set-Cookie"]


async def _page(request: Request) -> HTMLResponse:
    return HTMLResponse("<head><script>one()</script></head><script type=module src=/two.js></script>")


async def test_a_pages_own_scripts_run_and_no_others() -> None:
    app = Gate(Starlette(routes=[Route("/", _page)]))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=URL) as client:
        first, second = await client.get("/"), await client.get("/")
    policy = first.headers["Content-Security-Policy"]
    (nonce,) = set(re.findall(r'<script nonce="([^"]+)"', first.text))
    assert first.text.count(nonce) == 2 and f"'nonce-{nonce}'" in policy
    assert "'unsafe-inline'" not in policy.partition("script-src")[2].partition(";")[0]
    assert nonce not in second.text, "a nonce is used once"
    assert int(first.headers["Content-Length"]) == len(first.content)


async def test_browsers_are_told_to_load_nothing_from_elsewhere() -> None:
    async with _client() as client:
        policy = (await client.get("/")).headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy and "http" not in policy
