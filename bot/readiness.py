"""`/healthz`, `/readyz`, `/metrics`: whether the process lives, could answer a question now, and figures.

`/readyz` is 503 while the model or the record is down, and 200 otherwise, be it "degraded": the base model in
an adapter's place, a platform away, no room for files. Needs no key, so it tells no more than anybody may
read; what it finds is kept for `FRESH_S`, so that asking it often costs nothing.
"""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import structlog
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse

from bot.assistant import Assistant
from bot.core import Core
from bot.health import Component, State
from bot.metrics import metrics_route
from feedback.errors import ThumbloopError

CHECK_S: Final = 10.0
"""Longer than the longest step of a busy model, shorter than what orchestrators wait for."""
FRESH_S: Final = 5.0
"""For how long a finding is told again without another look."""
ESSENTIAL: Final = ("model", "database")
"""Without these no question can be answered."""
PROBE_BYTES: Final = 4096
"""A file of so many bytes is written to see that there is room: an empty one fits on a full disk."""

log = structlog.get_logger(__name__)


class Readiness:
    """Asks the model, the record and the data folder, and adds what the parts of the service report."""

    def __init__(
        self, core: Core, assistant: Assistant, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._core = core
        self._assistant = assistant
        self._clock = clock
        self._looking = asyncio.Lock()
        self._found: tuple[Component, ...] = ()
        self._fresh_until = -1.0

    async def components(self) -> tuple[Component, ...]:
        """Every component; those asked for are at most `FRESH_S` old."""
        async with self._looking:
            if self._clock() >= self._fresh_until:
                self._found = tuple(
                    await asyncio.gather(
                        _checked("model", "down", self._assistant.answerer.check),
                        _checked("database", "down", self._core.database.check_writing),
                        _checked("files", "degraded", self._write_a_file),
                    )
                )
                self._fresh_until = self._clock() + FRESH_S
        return (*self._found, *self._core.health.components)

    async def answer(self) -> tuple[int, dict[str, Any]]:
        """The HTTP status and body of `/readyz`."""
        found = await self.components()
        told = [asdict(one) for one in found]
        if any(one.name in ESSENTIAL and one.state == "down" for one in found):
            return 503, {"status": "not ready", "components": told}
        well = all(one.state == "ok" for one in found)
        return 200, {"status": "ready" if well else "degraded", "components": told}

    async def _write_a_file(self) -> None:
        await asyncio.to_thread(_write_a_file, self._core.data)


def health_routes(
    core: Core, assistant: Assistant, *, metrics_for: Callable[[Request], object] = lambda request: None
) -> APIRouter:
    """`/healthz`, 200 while the process runs, `/readyz`, and `/metrics` unless `metrics_for` raises."""
    routes = APIRouter()
    readiness = Readiness(core, assistant)
    routes.include_router(metrics_route(core, readiness.components, metrics_for))

    @routes.get("/healthz")
    async def healthz() -> JSONResponse:
        return JSONResponse({"status": "live"})

    @routes.get("/readyz")
    async def readyz() -> JSONResponse:
        status, body = await readiness.answer()
        return JSONResponse(body, status)

    return routes


async def _checked(name: str, otherwise: State, check: Callable[[], Awaitable[None]]) -> Component:
    try:
        async with asyncio.timeout(CHECK_S):
            await check()
    except Exception as error:  # whatever breaks, whoever asks must be told that it is broken
        reference = secrets.token_hex(4)
        log.warning("a health check failed", check=name, reference=reference, exc_info=error)
        public = error.public if isinstance(error, ThumbloopError) else ""
        return Component(name, otherwise, f"{public or 'It fails.'} The log has more under {reference}.")
    return Component(name, "ok")


def _write_a_file(folder: Path) -> None:
    """Raises OSError where the disk is full or may not be written."""
    with tempfile.TemporaryFile(dir=folder) as probe:
        probe.write(b"\0" * PROBE_BYTES)
        probe.flush()
