"""The console as one ASGI application: NiceGUI's pages on FastAPI, behind the gate.

NiceGUI keeps one application per process. A console made later takes the pages over, so make the next one
only when the former has stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final
from urllib.parse import urlsplit

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from nicegui import app as pages
from nicegui import ui
from nicegui.translations import translations
from starlette.requests import Request
from starlette.responses import Response

from bot.access.sign_in import keep_checking
from bot.console import texts
from bot.console.access import Gate
from bot.console.adapters import adapters_page
from bot.console.audit import audit_page
from bot.console.chat import chat_page
from bot.console.context import Console
from bot.console.datasets import dataset_page, datasets_page, serve_downloads
from bot.console.import_page import import_page
from bot.console.knowledge import knowledge_page
from bot.console.layout import MARK_ICON, empty_state, frame, sentence_of
from bot.console.lineage import adapter_page, turn_page
from bot.console.members import members_page
from bot.console.oidc import serve_oidc
from bot.console.overview import overview_page
from bot.console.plain import language_of, refusal
from bot.console.rate import rate_page
from bot.console.rating_rounds import serve_ratings
from bot.console.reports import serve_reports
from bot.console.review import review_page
from bot.console.review_list import review_list_page
from bot.console.runs import run_page, runs_page
from bot.console.sessions import Sessions
from bot.console.sessions_page import sessions_page
from bot.console.settings_page import settings_page
from bot.console.sign_in import Door, serve_sign_in
from bot.console.visitor import Visitor, visitor_of
from bot.readiness import health_routes
from bot.settings import OidcSettings
from feedback.words import Language

BUILDERS: Final[dict[str, Callable[[Console, Visitor], Awaitable[None]]]] = {
    "/": chat_page,
    "/review": review_page,
    "/review/list": review_list_page,
    "/rate": rate_page,
    "/knowledge": knowledge_page,
    "/overview": overview_page,
    "/datasets": datasets_page,
    "/datasets/{dataset}": dataset_page,
    "/runs": runs_page,
    "/runs/{run}": run_page,
    "/import": import_page,
    "/adapters": adapters_page,
    "/adapters/{adapter}": adapter_page,
    "/turns/{turn}": turn_page,
    "/settings": settings_page,
    "/members": members_page,
    "/audit": audit_page,
    "/sessions": sessions_page,
}
"""What builds each page; what it takes to see it stands in `pages.py`."""
RECONNECT_S = 5.0
"""How long a browser may be away before its page is given up; an answer under way goes on."""
BUILD_S = 30.0
"""How long a page may wait for the record."""


def console_app(
    console: Console, *, hosts: frozenset[str] = frozenset(), oidc: OidcSettings | None = None
) -> Gate:
    """The console of a service. It answers requests for this machine's local names and for `hosts`.

    Everybody signs in where the core has an address for people elsewhere (`Core.console_url`), by link, or as
    the provider says that `oidc` names. Raises SettingsError where the package for that is missing.
    """
    # what a former console of this process was given cannot be changed any more once it has started
    pages.middleware_stack = None
    pages.user_middleware.clear()

    for path, build in BUILDERS.items():
        _serve_page(console, path, build)

    pages.on_page_exception(_page_failed)
    # its bar for requests has no name for a screen reader; each page says itself what it waits for
    pages.config.quasar_config["loadingBar"]["skipHijack"] = True
    translations.update({"en-US": _framework_words("en"), "pl": _framework_words("pl")})

    def no_such_page(request: Request) -> None:
        _no_such_page(visitor_of(request))

    async def no_such_path(request: Request, error: Exception) -> Response:
        return refusal(request, texts.NO_SUCH_PAGE.say(language_of(request)), status=404)

    outer = FastAPI(
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        exception_handlers={RequestValidationError: no_such_path},
    )
    serve_reports(outer, console)
    serve_downloads(outer, console)
    serve_ratings(outer, console)
    outer.include_router(health_routes(console.core, console.assistant))
    secure = console.core.console_url.startswith("https:")
    sessions = Sessions(console.core) if console.core.console_url else None
    if sessions is not None:
        provider = oidc.name if oidc is not None and oidc.issuer else ""
        door = Door(console.core, secure=secure, provider=provider)
        serve_sign_in(outer, console.core, sessions, door)
        if oidc is not None and oidc.issuer:
            serve_oidc(outer, console.core, door, oidc, secure=secure)
        supervisor = console.core.supervisor
        supervisor.watch("Sessions", sessions.keep_watching)
        supervisor.watch("Roles", partial(keep_checking, console.core))
    ui.run_with(
        outer,
        root=no_such_page,  # what NiceGUI shows for every path that is no page
        title="Thumbloop",
        favicon=MARK_ICON,
        dark=None,
        reconnect_timeout=RECONNECT_S,
        binding_refresh_interval=None,
        tailwind=False,
        show_welcome_message=False,
        gzip_middleware_factory=None,  # the gate compresses, once it has written its nonce into the page
    )
    prefix = urlsplit(console.core.console_url).path
    return Gate(outer, hosts=hosts, sessions=sessions, secure=secure, prefix=prefix)


def _serve_page(console: Console, path: str, build: Callable[[Console, Visitor], Awaitable[None]]) -> None:
    @ui.page(path, response_timeout=2 * BUILD_S)  # later than ours, which has a page that says so
    async def page(request: Request) -> None:
        async with asyncio.timeout(BUILD_S):
            await build(console, visitor_of(request))


def _page_failed(error: Exception) -> None:
    """What stands in the place of a page that raised."""
    request = ui.context.client.request
    visitor = visitor_of(request)
    say = visitor.say
    failed, sentence = texts.PAGE_FAILED, sentence_of(error, visitor)
    with frame(visitor, "", failed), empty_state("o_error", say(failed), sentence):
        again = f"{request.url.path}?{request.url.query}"
        ui.link(say(texts.TRY_AGAIN), again).classes("tl-button tl-primary tl-link-button")
        ui.link(say(texts.BACK_TO_CHAT), "/").classes("tl-button tl-link-button")


def _framework_words(language: Language) -> dict[str, str]:
    """What NiceGUI itself says on a page."""
    words = {
        "connection_lost": texts.CONNECTION_LOST,
        "trying_to_reconnect": texts.RECONNECTING,
        "message_too_long": texts.TOO_LONG,
        "message_too_long_body": texts.TOO_LONG_MORE,
    }
    return {name: text.say(language) for name, text in words.items()}


def _no_such_page(visitor: Visitor) -> None:
    ui.context.client.status_code = 404
    with (
        frame(visitor, "", texts.NO_SUCH_PAGE),
        empty_state("o_explore_off", visitor.say(texts.NO_SUCH_PAGE), visitor.say(texts.NO_SUCH_PAGE_MORE)),
    ):
        ui.link(visitor.say(texts.BACK_TO_CHAT), "/").classes("tl-button tl-primary tl-link-button")
