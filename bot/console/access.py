"""Who may talk to the console, and as whom.

An ASGI wrapper round the whole application. Refuses requests for another host (DNS rebinding) and from
another origin (a foreign page's scripts and websockets), gives every browser a random id in a cookie that
scripts cannot read, and tells browsers to load nothing from elsewhere. Where people sign in, it asks
`Sessions` who they are, and lets nobody reach a path that their role does not open.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from contextlib import suppress
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from bot.access.actor import Actor
from bot.access.rights import NEEDS, Action, may
from bot.access.sign_in import SignedIn
from bot.console import content_policy, texts
from bot.console.pages import PAGES
from bot.console.plain import language_of, refusal
from bot.console.sessions import SESSION_COOKIE, Sessions
from bot.texts import ONLY, Text

LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
BROWSER_COOKIE: Final = "thumbloop_browser"
BROWSER_KEY: Final = "thumbloop.browser"
"""Where in the ASGI scope the browser's id is, for pages to read."""
SIGNED_IN: Final = "thumbloop.signed_in"
"""Where in the ASGI scope it is who signed in; None where nobody has to."""

SIGN_IN: Final = "/sign-in"
OIDC: Final = "/sign-in/oidc"
"""Below it: `go` leads to the provider, which leads to `back`."""
OPEN: Final = (SIGN_IN, "/sign-in.js", f"{OIDC}/go", f"{OIDC}/back", "/favicon.ico", "/healthz", "/readyz")
"""Paths that answer people who have not signed in."""
OPERATOR: Final = Actor("console", role="operator")
"""Whoever sits at this machine, where nobody has to sign in."""
ROUTES: Final[dict[str, Action | None]] = {
    **{page.path: page.needs for page in PAGES},
    "/sign-out": None,
    "/_nicegui": None,  # the framework's scripts, styles and socket, on which only one's own page is heard
    "/_nicegui_ws": None,
    "/reports": "report.view",
    "/ratings": "ratings.manage",
    "/metrics": "report.view",
}
"""What it takes to reach a path and all below it; None is any role. A path that stands nowhere is refused."""

_YEAR_S: Final = 365 * 24 * 3600
_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d{1,5})?")
_ID = re.compile(r"[0-9a-f]{32}")
_HEADERS: Final = {
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


class Gate:
    """Lets requests for one of `hosts` and the local names through to `app`, signed in where `sessions` are.

    `secure` says that browsers reach it by https alone, so that cookies never travel otherwise. Browsers see
    the console under the path `prefix`, whether or not the proxy between takes that away; what a header says
    of it is left out, for NiceGUI puts that before the path that it knows already.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: frozenset[str] = frozenset(),
        sessions: Sessions | None = None,
        secure: bool = False,
        prefix: str = "",
    ) -> None:
        self.app = app
        # outside of the policy, which looks into pages; NiceGUI's own would be inside
        self._compressed = GZipMiddleware(self._with_policy)
        self._hosts = LOCAL_HOSTS | {_bracketed(host.lower()) for host in hosts}
        self._sessions = sessions
        self._secure = secure
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, or pass it on with the browser's id and who it is in its scope."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(headers)
        if refusal is not None:
            await _refuse(scope, receive, send, refusal, 403)
            return
        path = scope["path"]
        passed = [(name, value) for name, value in scope["headers"] if name != b"x-forwarded-prefix"]
        scope = {**scope, "headers": passed}
        if self._prefix:
            if path == self._prefix or path.startswith(f"{self._prefix}/"):
                path = path[len(self._prefix) :] or "/"
            scope = {**scope, "root_path": self._prefix, "path": self._prefix + path}
        cookies = _cookies(headers)
        somebody = await self._signed_in(cookies)
        if self._sessions is not None and path not in OPEN:
            if somebody is None:
                if scope["type"] == "http" and "text/html" in headers.get("accept", ""):
                    await RedirectResponse(self._prefix + SIGN_IN, status_code=303)(scope, receive, send)
                else:
                    await _refuse(scope, receive, send, texts.SIGN_IN_FIRST, 401)
                return
            missing = _missing_right(path, somebody.actor)
            if missing is not None:
                await _refuse(scope, receive, send, missing, 403)
                return
        known = cookies.get(BROWSER_COOKIE, "")
        browser = known if _ID.fullmatch(known) else secrets.token_hex(16)

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                outgoing = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    outgoing.setdefault(name, value)
                if known != browser:
                    attributes = f"Path=/; Max-Age={_YEAR_S}; HttpOnly; SameSite=Lax"
                    if self._secure or scope["scheme"] == "https":
                        attributes += "; Secure"
                    outgoing.append("Set-Cookie", f"{BROWSER_COOKIE}={browser}; {attributes}")
            await send(message)

        inner = {**scope, BROWSER_KEY: browser, SIGNED_IN: somebody}
        if scope["type"] == "websocket" and self._sessions is not None and somebody is not None:
            with self._sessions.socket_of(somebody) as ended:
                await self.app(inner, _until(receive, ended), send_on)
        else:
            await self._compressed(inner, receive, send_on)

    async def _with_policy(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, content_policy.sending(send))

    async def _signed_in(self, cookies: dict[str, str]) -> SignedIn | None:
        token = cookies.get(SESSION_COOKIE, "")
        return await self._sessions.find(token) if self._sessions is not None and token else None

    def _refusal(self, headers: Headers) -> Text | None:
        host = headers.get("host", "").lower()
        match = _HOST.fullmatch(host)
        if match is None or match["name"] not in self._hosts:
            return texts.UNKNOWN_HOST
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host:
            return texts.FOREIGN_PAGE
        return None


def right_of(path: str) -> Action | None:
    """What it takes to reach that path; None is any role. Raises KeyError where it stands nowhere."""
    if path in ROUTES:
        return ROUTES[path]
    return ROUTES["/" + path.split("/")[1]]


def _missing_right(path: str, actor: Actor) -> Text | None:
    """Why somebody may not reach that path; None when they may."""
    try:
        action = right_of(path)
    except KeyError:
        return texts.NO_SUCH_PATH
    if action is None or may(actor, action, actor.community_id):
        return None
    return ONLY[NEEDS[action]]


async def _refuse(scope: Scope, receive: Receive, send: Send, why: Text, status: int) -> None:
    asked = HTTPConnection(scope)
    sentence = why.say(language_of(asked))
    answer: Response | WebSocketClose = (
        WebSocketClose(code=1008, reason=sentence)
        if scope["type"] == "websocket"
        else refusal(asked, sentence, status=status)
    )
    await answer(scope, receive, send)


def _until(receive: Receive, ended: asyncio.Event) -> Receive:
    """Receive what the browser sends until `ended`, from when on it counts as gone."""

    async def receive_on() -> Message:
        message = asyncio.ensure_future(receive())
        over = asyncio.ensure_future(ended.wait())
        try:
            await asyncio.wait({message, over}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            over.cancel()
            if not message.done():
                message.cancel()
                with suppress(asyncio.CancelledError):
                    await message
        if ended.is_set():
            return {"type": "websocket.disconnect", "code": 1008}
        return message.result()

    return receive_on


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _cookies(headers: Headers) -> dict[str, str]:
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(headers.get("cookie", "")).items()}
    except CookieError:
        return {}
