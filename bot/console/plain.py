"""Pages without the framework: for people who have not signed in, and for what they are refused."""

from __future__ import annotations

from html import escape
from importlib import resources
from typing import Final

from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from bot.console import texts
from bot.texts import Text
from feedback.words import LANGUAGES, Language

LANGUAGE_COOKIE: Final = "thumbloop_language"
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",  # with none at all, a form's origin is "null", which the gate refuses
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
}


def stylesheet() -> str:
    """The console's style sheet."""
    return resources.files("bot.console").joinpath("console.css").read_text(encoding="utf-8")


def language_of(request: HTTPConnection) -> Language:
    """The language that was chosen in this browser, or the first of ours that it asks for."""
    chosen = request.cookies.get(LANGUAGE_COOKIE, "")
    if chosen in LANGUAGES:
        return chosen
    # browsers list languages in order of preference
    for entry in request.headers.get("accept-language", "").lower().split(","):
        name = entry.split(";")[0].strip().split("-")[0]
        if name in LANGUAGES:
            return name
    return "en"


def plain_page(language: Language, name: Text, title: Text, body: str, *, status: int) -> HTMLResponse:
    """A page with a card: `name` in the browser's tab, `title` above `body`, which is HTML."""
    return HTMLResponse(
        f"""<!doctype html>
<html lang="{language}"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{escape(name.say(language))} · Thumbloop</title><style>{stylesheet()}</style></head>
<body class="tl-sign-in"><main class="tl-card tl-dialog"><h1 class="tl-h1">{escape(title.say(language))}</h1>
{body}</main></body></html>""",
        status_code=status,
        headers=_HEADERS,
    )


def refusal(request: HTTPConnection, sentence: str, *, status: int) -> Response:
    """Why somebody does not get what they asked for, with the way back; programs get the sentence alone."""
    if "text/html" not in request.headers.get("accept", ""):
        return PlainTextResponse(sentence, status_code=status)
    language = language_of(request)
    home = escape(f"{request.scope.get('root_path', '')}/")
    body = (
        f'<p role="status">{escape(sentence)}</p>'
        f'<p><a class="tl-button tl-primary tl-link-button" href="{home}">'
        f"{escape(texts.BACK_TO_CHAT.say(language))}</a></p>"
    )
    return plain_page(language, texts.REFUSED, texts.REFUSED, body, status=status)
