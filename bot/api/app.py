"""The API as an ASGI app: `/v1/models`, `/v1/chat/completions`, `/healthz`, `/readyz`, `/metrics`.

Speaks OpenAI's protocol, errors included. Leaves to others: listening and TLS, and (`bot.assistant`) what is
kept of a question.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from bot.api.completions import complete
from bot.api.errors import ApiError, api_error, model_not_found
from bot.api.keys import ApiKey, find_key, parse_keys
from bot.api.models import model_cards
from bot.assistant import Assistant
from bot.core import Core
from bot.readiness import health_routes


def api_app(core: Core, assistant: Assistant, keys: Sequence[str]) -> FastAPI:
    """The app that answers the holders of `keys`, settings lines as `bot.api.keys` reads them.

    Raises SettingsError when one of them cannot be read.
    """
    known = parse_keys(keys)

    def caller(request: Request) -> ApiKey:
        scheme, _, presented = request.headers.get("Authorization", "").partition(" ")
        key = find_key(known, presented.strip()) if scheme.lower() == "bearer" else None
        if key is None:
            raise ApiError(
                401,
                "The API key is missing or unknown. Send it as `Authorization: Bearer KEY`; "
                "`thumbloop api-key NAME` makes one.",
                code="invalid_api_key",
            )
        return key

    def scraper(request: Request) -> None:
        try:
            caller(request)
        except ApiError as error:  # Prometheus does not speak OpenAI's errors
            raise HTTPException(error.status, str(error)) from None

    app = FastAPI(title="Thumbloop", docs_url=None, redoc_url=None, openapi_url=None)
    app.router.route_class = _Route
    app.include_router(health_routes(core, assistant, metrics_for=scraper))

    @app.get("/v1/models")
    async def models(request: Request) -> dict[str, Any]:
        caller(request)
        return {"object": "list", "data": await model_cards(core, assistant)}

    @app.get("/v1/models/{model:path}")
    async def model(request: Request, model: str) -> dict[str, Any]:
        caller(request)
        for card in await model_cards(core, assistant):
            if model in (card["id"], card["root"]):
                return card
        raise model_not_found(f"The model {model!r} does not exist. GET /v1/models lists those that do.")

    @app.post("/v1/chat/completions", response_model=None)
    async def completions(request: Request) -> Response:
        return await complete(request, core, assistant, caller(request))

    app.add_exception_handler(HTTPException, _no_such_route)
    app.add_exception_handler(ClientDisconnect, _hung_up)
    return app


class _Route(APIRoute):
    """A route that answers with whatever goes wrong in it.

    Not left to an exception handler: Starlette raises what nobody expected once more behind the handler's
    response, and the server closes the connection.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def answered(request: Request) -> Response:
            try:
                return await handler(request)
            except (HTTPException, ClientDisconnect):
                raise
            except Exception as error:  # the outermost edge: the log gets it, the caller a reference
                return api_error(error).response()

        return answered


async def _no_such_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException), "registered for nothing else"
    return ApiError(error.status_code, f"{request.method} {request.url.path}: {error.detail}.").response()


async def _hung_up(_: Request, error: Exception) -> Response:
    return Response(status_code=499)  # nobody reads it
