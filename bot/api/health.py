"""Whether the service lives, and whether it could answer now. Needs no key, so it tells no more."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
from fastapi import APIRouter
from starlette.responses import JSONResponse

from bot.assistant import Assistant
from bot.core import Core
from feedback.errors import ThumbloopError

CHECK_S: Final = 10.0
"""Longer than the longest step of a busy model, shorter than what orchestrators wait for."""

log = structlog.get_logger(__name__)


def health_routes(core: Core, assistant: Assistant) -> APIRouter:
    """`/health/live` while the process runs; `/health` 200 when model and database are ready, else 503."""
    routes = APIRouter()

    @routes.get("/health/live")
    async def live() -> JSONResponse:
        return JSONResponse({"status": "live"})

    @routes.get("/health")
    async def ready() -> JSONResponse:
        checks = {"model": assistant.answerer.check, "database": core.database.require_current}
        found: dict[str, str] = {}
        for name, check in checks.items():
            try:
                async with asyncio.timeout(CHECK_S):
                    await check()
                found[name] = "ok"
            except (ThumbloopError, TimeoutError) as error:
                log.warning("a health check failed", check=name, reason=str(error) or "no answer in time")
                found[name] = "failing"
        is_ready = set(found.values()) == {"ok"}
        status = "ready" if is_ready else "not ready"
        return JSONResponse({"status": status, **found}, 200 if is_ready else 503)

    return routes
