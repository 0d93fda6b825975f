"""What a verb begins with: the settings, the log, and who sits at the terminal."""

from __future__ import annotations

import getpass
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

if TYPE_CHECKING:
    from bot.access.actor import Actor
    from bot.settings import Settings
    from feedback.database import Database


@dataclass
class Invocation:
    """One call of the command line: the data folder it names, and whether SIGTERM asked it to stop."""

    data: Path | None = None
    terminated: bool = False


def invocation(context: typer.Context) -> Invocation:
    """The call that a verb belongs to."""
    found = context.find_root().obj
    assert isinstance(found, Invocation), "the edge passes one in"
    return found


def start(context: typer.Context, *, log_to_stderr: Literal["warning", "error"] = "error") -> Settings:
    """The settings, with the log set up as they say. Raises SettingsError."""
    from bot import logs
    from bot.settings import load_settings, secret_values

    chosen = invocation(context).data
    settings = load_settings() if chosen is None else load_settings(data=chosen)
    logs.configure(
        settings.data,
        level=settings.log_level,
        to_stderr=log_to_stderr,
        known_secrets=secret_values(settings),
    )
    return settings


@asynccontextmanager
async def record(settings: Settings) -> AsyncIterator[Database]:
    """The record, open for one command. Raises DatabaseError."""
    from feedback.database import opened

    database = await opened(settings.database_url)
    try:
        yield database
    finally:
        await database.close()


def opening(settings: Settings) -> str:
    """What takes time before the first question, for the waiting person."""
    return "Reaching the model server" if settings.remote.url else "Loading the model"


def user() -> str:
    """The operating system's name for who sits here; a container may know a number only."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user-{os.getuid()}"


def operator() -> Actor:
    """Who sits here, and may do everything: reviews, deployments and runs carry their name."""
    from bot.access.actor import Actor

    return Actor("terminal", user(), "operator")
