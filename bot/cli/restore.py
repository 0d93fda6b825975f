"""`thumbloop restore`: a backup into an empty data folder and database."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from bot.cli import options, show
from bot.cli.start import start


def restore(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `thumbloop backup` wrote.")],
    as_json: options.AsJson = False,
) -> None:
    """Restore a backup into an empty data folder, and an empty database where one is set."""
    from bot import backup

    settings = start(context)
    with show.waiting("Restoring"):
        restored = asyncio.run(backup.restore(settings, file))
    if as_json:
        show.as_json(restored)
        return
    show.say(
        f"Restored what was backed up at {restored.made_at} by Thumbloop {restored.version}: "
        f"{restored.rows.get('turn', 0)} turns, {restored.files} files, every one of them whole."
    )
    for problem in restored.damaged:
        show.note(f"It was so before: {problem}")
