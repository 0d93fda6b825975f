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

from fastapi import FastAPI, Form, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from bot.access.sign_in import SignedIn
from bot.console import texts
from bot.console.access import SIGN_IN, SIGNED_IN
from bot.console.layout import stylesheet
from bot.console.sessions import SESSION_COOKIE, Sessions
from bot.console.visitor import language_of
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
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",  # with none at all, a form's origin is "null", which the gate refuses
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
}


def serve_sign_in(app: FastAPI, core: Core, sessions: Sessions, *, secure: bool) -> None:
    """Let `app` sign people in and out. `secure` keeps the session's cookie to https."""
    attempts = _Attempts()

    @app.get(SIGN_IN)
    async def page(request: Request) -> Response:
        return _page(request, texts.SIGN_IN_HOW)

    @app.get("/sign-in.js")
    async def script() -> Response:
        return Response(_SCRIPT, media_type="text/javascript", headers={"Cache-Control": "no-cache"})

    @app.post(SIGN_IN, response_model=None)
    async def enter(request: Request, token: Annotated[str, Form(max_length=200)] = "") -> Response:
        address = request.client.host if request.client else ""
        if not attempts.allowed(address):
            return _page(request, texts.SIGN_IN_TOO_OFTEN, status=429)
        async with core.database.session() as session:
            browser = request.headers.get("user-agent", "")[:200]
            opened = await sign_in.redeem(session, token, browser=browser)
        if opened is None:
            attempts.note_failure(address)
            return _page(request, texts.SIGN_IN_REFUSED, status=403)
        response = RedirectResponse(f"{request.scope.get('root_path', '')}/", status_code=303)
        response.set_cookie(
            SESSION_COOKIE,
            opened,
            max_age=int(SESSION_FOR.total_seconds()),
            httponly=True,
            samesite="lax",
            secure=secure,
        )
        return response

    @app.post("/sign-out", response_model=None)
    async def leave(request: Request) -> Response:
        somebody: SignedIn = request.scope[SIGNED_IN]
        async with core.database.session() as session:
            await sign_in.end(session, somebody.session_id, "signed out", by=somebody.actor.name)
        await sessions.cut_off_ended()
        response = RedirectResponse(f"{request.scope.get('root_path', '')}{SIGN_IN}", status_code=303)
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


def _page(request: Request, text: Text, *, status: int = 200) -> HTMLResponse:
    language: Language = language_of(request)
    prefix = html.escape(str(request.scope.get("root_path", "")), quote=True)

    def say(one: Text) -> str:
        return html.escape(one.say(language))

    return HTMLResponse(
        f"""<!doctype html>
<html lang="{language}"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{say(texts.SIGN_IN)} · Thumbloop</title><style>{stylesheet()}</style></head>
<body class="tl-sign-in"><main class="tl-card tl-dialog"><h1 class="tl-h1">{say(texts.SIGN_IN_TITLE)}</h1>
<p id="how" role="status">{say(text)}</p>
<form id="form" method="post" action="{prefix}{SIGN_IN}" hidden>
<p>{say(texts.SIGN_IN_ONCE)}</p><input type="hidden" id="token" name="token">
<button class="tl-button tl-primary" type="submit">{say(texts.SIGN_IN)}</button></form></main>
<script src="{prefix}/sign-in.js"></script></body></html>""",
        status_code=status,
        headers=_HEADERS,
    )
