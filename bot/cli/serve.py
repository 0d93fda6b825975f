"""`thumbloop serve`: everything that is configured, until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from functools import partial
from typing import TYPE_CHECKING, Final

import typer

from bot.cli import show
from bot.cli.start import start

if TYPE_CHECKING:
    from bot.service import ServiceReady

WHILE_STARTING: Final = 100_000
"""Objects made before Python looks for garbage: imports stay, and looking takes a sixth of a start."""


def serve(context: typer.Context) -> None:
    """Run console, API, platforms and schedule until Ctrl-C or SIGTERM; SIGHUP reads settings anew."""
    gc.set_threshold(WHILE_STARTING)  # the service sets it for the time after its start
    from bot import service
    from bot.settings import load_settings

    def ready(found: ServiceReady) -> None:
        for line in found.lines:
            show.say(line)
        show.say("Ctrl-C stops the service.")

    settings = start(context, log_to_stderr="warning")
    present = bool(settings.remote.url) or settings.model_choice.present()
    show.note("Starting …" if present else "Starting; the model is prepared first, which takes minutes …")
    # a terminal that is closed sends SIGHUP, too, and means the end
    in_background = hasattr(signal, "SIGHUP") and not sys.stdin.isatty()
    anew = partial(load_settings, data=settings.data) if in_background else None
    if asyncio.run(service.serve(settings, on_ready=ready, settings_anew=anew)):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # stays so until the new one listens to it
        # the same process to whoever watches it, and nothing of the old settings left in it
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    show.say("Stopped.")
