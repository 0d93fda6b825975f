"""`thumbloop serve`: everything that is configured, until it is told to stop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import typer

from bot.cli import show
from bot.cli.start import start

if TYPE_CHECKING:
    from bot.service import ServiceReady


def serve(context: typer.Context) -> None:
    """Run the console, the API, the platforms and the schedule until Ctrl-C or SIGTERM."""
    from bot import service

    settings = start(context, log_to_stderr="warning")
    present = bool(settings.remote.url) or settings.model_choice.present()
    show.note("Starting …" if present else "Starting; the model is prepared first, which takes minutes …")
    asyncio.run(service.serve(settings, on_ready=_ready))
    show.say("Stopped.")


def _ready(ready: ServiceReady) -> None:
    for line in ready.lines:
        show.say(line)
    show.say("Ctrl-C stops the service.")
