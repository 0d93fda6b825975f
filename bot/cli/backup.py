"""`thumbloop backup`: everything that cannot be made again, in one file."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.cli import options, show
from bot.cli.start import record, start

if TYPE_CHECKING:
    from bot.backup import BackedUp
    from bot.settings import Settings


def backup(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write, such as loop.zip.")],
    as_json: options.AsJson = False,
) -> None:
    """Back up the record, adapters, datasets, reports and the pseudonym key, while the service runs.

    The file is read back before it counts. It holds members' words and the key: keep it as you keep those.
    """
    settings = start(context)
    with show.waiting("Backing up"):
        made = asyncio.run(_back_up(settings, file))
    if as_json:
        show.as_json(made)
        return
    turns = made.rows.get("turn", 0)
    show.say(
        f"{made.file}, {made.bytes / 1e6:.1f} MB: {turns} turns, {made.files} files, read back and whole. "
        f"`thumbloop --data EMPTY_FOLDER restore {made.file}` brings it back."
    )
    for problem in made.damaged:
        show.note(f"It was so before: {problem}")


async def _back_up(settings: Settings, file: Path) -> BackedUp:
    from bot import backup

    async with record(settings) as database:
        return await backup.back_up(settings, database, file)
