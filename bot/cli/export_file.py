"""`thumbloop export`: pairs into a file."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.cli import options, show
from bot.cli.start import record, start
from feedback.plural import counted

if TYPE_CHECKING:
    from bot.commands.data import Exported
    from bot.settings import Settings


def export_file(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .jsonl, .json, .csv, .tsv, .parquet file.")],
    everything: Annotated[
        bool, typer.Option("--all", help="Every answered turn, not only those that were approved.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Write the approved pairs to a file, whole or not at all."""
    exported = asyncio.run(_export(start(context), file, everything))
    if as_json:
        show.as_json(exported)
    else:
        show.say(f"{counted(exported.pairs, 'pair is', 'pairs are')} in {exported.file}.")


async def _export(settings: Settings, file: Path, everything: bool) -> Exported:
    from bot.commands import data

    async with record(settings) as database:
        return await data.export_pairs(database, file, what="all" if everything else "approved")
