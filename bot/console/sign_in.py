"""Signing in and out: plain pages without the framework, so that they work before anybody is known.

The link's token stands behind the # of its address. A script takes it from there into the form, and only a
press of the button uses it: whoever previews links for a chat uses none up.
"""

from __future__ import annotations

import html
from collections import OrderedDict, deque
from collections.abc import Callable
from time import monotonic
from typing import Annotated, Final
from urllib.parse import urlsplit

from fastapi import FastAPI, Form, Request
from starlette.responses import RedirectResponse, Response

from bot.access.sign_in import SignedIn
from bot.console import texts
from bot.console.access import OIDC, SIGN_IN, SIGNED_IN
from bot.console.plain import language_of, plain_page
from bot.console.sessions import SESSION_COOKIE, Sessions
from bot.core import Core
from bot.texts import Text
from feedback import sign_in
from feedback.sign_in import SESSION_FOR
from feedback.words import Language

MOST_FAILURES: Final = 10
FAILURES_FOR_S: Final = 60.0
"""So many links that do not work may one address try in that time."""
MOST_ADDRESSES: Final = 10_000

_SCRIPT: Final = """
function take() {
  const token = location.hash.slice(1);
  if (!token) return;
  document.getElementById('token').value = token;
  document.getElementById('form').hidden = false;
  document.getElementById('how').hidden = true;
  history.replaceState(null, '', location.pathname);
}
take();
addEventListener('hashchange', take);  // the link opened where this page stands already
"""


class Door:
    """What every way of signing in ends with. `provider` is who vouches for people elsewhere, "" is nobody.

    `secure` keeps the session's cookie to https.
    """

    def __init__(self, core: Core, *, secure: bool, provider: str = "") -> None:
        self.prefix = urlsplit(core.console_url).path
        self._core = core
        self._secure = secure
        self._provider = provider
        self._attempts = _Attempts()

    def may_try(self, request: Request) -> bool:
        """Whether whoever asks has not failed too often lately."""
        return self._attempts.allowed(_address(request))

    def page(self, request: Request, text: Text, *, status: int = 200) -> Response:
        """The page that signs in, with that sentence."""
        return _page(language_of(request), text, self.prefix, self._provider, status)

    def refuse(self, request: Request, text: Text, *, status: int = 403) -> Response:
        """Say why not, and count it."""
        self._attempts.note_failure(_address(request))
        return self.page(request, text, status=status)

    async def open(self, request: Request, token: str) -> Response:
        """Let in whom that link is for, or refuse it."""
        async with self._core.database.session() as session:
            browser = request.headers.get("user-agent", "")[:200]
            opened = await sign_in.redeem(session, token, browser=browser)
        if opened is None:
            return self.refuse(request, texts.SIGN_IN_REFUSED)
        response = RedirectResponse(f"{self.prefix}/", status_code=303)
        response.set_cookie(
            SESSION_COOKIE,
            opened,
            max_age=int(SESSION_FOR.total_seconds()),
            httponly=True,
            samesite="lax",
            secure=self._secure,
        )
        return response


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def serve_sign_in(app: FastAPI, core: Core, sessions: Sessions, door: Door) -> None:
    """Let `app` sign people in by link, and out."""

    @app.get(SIGN_IN)
    async def page(request: Request) -> Response:
        return door.page(request, texts.SIGN_IN_HOW)

    @app.get("/sign-in.js")
    async def script() -> Response:
        return Response(_SCRIPT, media_type="text/javascript", headers={"Cache-Control": "no-cache"})

    @app.post(SIGN_IN, response_model=None)
    async def enter(request: Request, token: Annotated[str, Form(max_length=200)] = "") -> Response:
        if not door.may_try(request):
            return door.page(request, texts.SIGN_IN_TOO_OFTEN, status=429)
        return await door.open(request, token)

    @app.post("/sign-out", response_model=None)
    async def leave(request: Request) -> Response:
        somebody: SignedIn = request.scope[SIGNED_IN]
        async with core.database.session() as session:
            await sign_in.end(session, somebody.session_id, "signed out", by=somebody.actor.name)
        await sessions.cut_off_ended()
        response = RedirectResponse(door.prefix + SIGN_IN, status_code=303)
        response.delete_cookie(SESSION_COOKIE)
        return response


class _Attempts:
    """How many links each address tried in vain lately."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def allowed(self, address: str) -> bool:
        """Whether that address may try another one now."""
        failures = self._failures.get(address)
        if failures is None or len(failures) < MOST_FAILURES:
            return True
        return self._clock() - failures[0] > FAILURES_FOR_S

    def note_failure(self, address: str) -> None:
        """Count one in vain; who failed longest ago is forgotten first."""
        self._failures.setdefault(address, deque(maxlen=MOST_FAILURES)).append(self._clock())
        self._failures.move_to_end(address)
        if len(self._failures) > MOST_ADDRESSES:
            self._failures.popitem(last=False)


def _page(language: Language, text: Text, prefix: str, provider: str, status: int) -> Response:
    prefix = html.escape(prefix)

    def say(one: Text) -> str:
        return html.escape(one.say(language))

    with_provider = html.escape(texts.SIGN_IN_WITH.say(language, provider=provider))
    elsewhere = (
        f'<p><a class="tl-button tl-primary tl-link-button" href="{prefix}{OIDC}/go">{with_provider}</a></p>'
        if provider
        else ""
    )
    body = f"""<p id="how" role="status">{say(text)}</p>{elsewhere}
<form id="form" method="post" action="{prefix}{SIGN_IN}" hidden>
<p>{say(texts.SIGN_IN_ONCE)}</p><input type="hidden" id="token" name="token">
<button class="tl-button tl-primary" type="submit">{say(texts.SIGN_IN)}</button></form>
<script defer src="{prefix}/sign-in.js"></script>"""
    return plain_page(language, texts.SIGN_IN, texts.SIGN_IN_TITLE, body, status=status)
