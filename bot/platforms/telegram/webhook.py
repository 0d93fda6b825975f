"""Takes updates that Telegram sends: each is written down before Telegram is told that it arrived."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from bot.settings import TelegramSettings
from bot.web_server import listening
from feedback.errors import DatabaseError

PORT_VARIABLE: Final = "THUMBLOOP_TELEGRAM__WEBHOOK_PORT"
SECRET_HEADER: Final = "X-Telegram-Bot-Api-Secret-Token"
MOST_BYTES: Final = 1_000_000
"""More than Telegram ever sends at once."""

Take = Callable[[Sequence[Any]], Awaitable[object]]

log = structlog.get_logger(__name__)


@asynccontextmanager
async def webhook(settings: TelegramSettings, take: Take) -> AsyncIterator[None]:
    """Listen inside the block, handing what comes to `take`. Raises PortTaken."""
    path = "/" + settings.webhook_url.partition("://")[2].partition("/")[2].rstrip("/")
    route = Route(path, _receiver(webhook_secret(settings), take), methods=["POST"])
    app = Starlette(routes=[route])
    async with listening(app, settings.webhook_host, settings.webhook_port, PORT_VARIABLE):
        yield


def webhook_secret(settings: TelegramSettings) -> str:
    """What Telegram sends along with each update, so that nobody else's are taken."""
    given = settings.webhook_secret.get_secret_value()
    token = settings.token.get_secret_value()
    return given or hashlib.sha256(f"webhook:{token}".encode()).hexdigest()


def _receiver(secret: str, take: Take) -> Callable[[Request], Awaitable[Response]]:
    async def receive(request: Request) -> Response:
        presented = request.headers.get(SECRET_HEADER, "")
        if not hmac.compare_digest(presented.encode(), secret.encode()):
            return Response(status_code=403)
        try:
            update = json.loads(await _body(request))
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it; Telegram sends the update again
        except ValueError:
            log.error("the webhook was sent what is no update")
            return Response(status_code=400)
        try:
            await take([update])
        except DatabaseError as error:  # so that Telegram sends it again
            log.error("an update could not be written down", why=str(error))
            return Response(status_code=503)
        return Response()

    return receive


async def _body(request: Request) -> bytes:
    """What was sent. Raises ValueError when it is more than Telegram sends, and ClientDisconnect."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise ValueError("too long")
    return body
