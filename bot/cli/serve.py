"""`thumbloop serve`: everything that is configured, until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Final

import typer

from bot.cli import show
from bot.cli.start import start

if TYPE_CHECKING:
    from bot.service import ServiceReady

WHILE_STARTING: Final = 100_000
"""Objects made before Python looks for garbage: imports stay, and looking takes a sixth of a start."""


def serve(context: typer.Context) -> None:
    """Run the console, the API, the platforms and the schedule until Ctrl-C or SIGTERM."""
    usual = gc.get_threshold()
    gc.set_threshold(WHILE_STARTING)
    from bot import service

    def ready(found: ServiceReady) -> None:
        gc.freeze()  # a look through all that was imported would hold every answer up for 0.1 s
        gc.set_threshold(*usual)
        for line in found.lines:
            show.say(line)
        show.say("Ctrl-C stops the service.")

    settings = start(context, log_to_stderr="warning")
    present = bool(settings.remote.url) or settings.model_choice.present()
    show.note("Starting …" if present else "Starting; the model is prepared first, which takes minutes …")
    asyncio.run(service.serve(settings, on_ready=ready))
    show.say("Stopped.")
