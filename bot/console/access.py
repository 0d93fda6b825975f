"""Who may talk to the console, and as whom.

An ASGI wrapper round the whole application. Refuses requests for another host (DNS rebinding) and from
another origin (a foreign page's scripts and websockets), gives every browser a random id in a cookie that
scripts cannot read, and tells browsers to load nothing from elsewhere. There is no login here.
"""

from __future__ import annotations

import re
import secrets
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
BROWSER_COOKIE: Final = "thumbloop_browser"
BROWSER_KEY: Final = "thumbloop.browser"
"""Where in the ASGI scope the browser's id is, for pages to read."""

_YEAR_S: Final = 365 * 24 * 3600
_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d{1,5})?")
_ID = re.compile(r"[0-9a-f]{32}")
_HEADERS: Final = {
    # NiceGUI's pages carry inline scripts and templates that Vue compiles; all else comes from here alone
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; "
        "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


class Gate:
    """Lets requests for one of `hosts` and the local names through to `app`."""

    def __init__(self, app: ASGIApp, *, hosts: frozenset[str] = frozenset()) -> None:
        self._app = app
        self._hosts = LOCAL_HOSTS | {_bracketed(host.lower()) for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, or pass it on with the browser's id in its scope."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(headers)
        if refusal:
            answer = (
                WebSocketClose(code=1008, reason=refusal)
                if scope["type"] == "websocket"
                else PlainTextResponse(refusal, status_code=403)
            )
            await answer(scope, receive, send)
            return
        known = _browser_of(headers)
        browser = known or secrets.token_hex(16)

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                outgoing = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    outgoing.setdefault(name, value)
                if known is None:
                    attributes = f"Path=/; Max-Age={_YEAR_S}; HttpOnly; SameSite=Lax"
                    if scope["scheme"] == "https":
                        attributes += "; Secure"
                    outgoing.append("Set-Cookie", f"{BROWSER_COOKIE}={browser}; {attributes}")
            await send(message)

        await self._app({**scope, BROWSER_KEY: browser}, receive, send_on)

    def _refusal(self, headers: Headers) -> str:
        host = headers.get("host", "").lower()
        match = _HOST.fullmatch(host)
        if match is None or match["name"] not in self._hosts:
            return (
                "This console does not answer to that name. Open it by the address that Thumbloop printed; "
                "the name under which a proxy shows it belongs in THUMBLOOP_WEB__PUBLIC_HOSTS."
            )
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host:
            return "This console answers its own pages only."
        return ""


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _browser_of(headers: Headers) -> str | None:
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(BROWSER_COOKIE)
    except CookieError:
        return None
    return cookie.value if cookie is not None and _ID.fullmatch(cookie.value) else None
