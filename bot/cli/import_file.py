"""`thumbloop import`: approved pairs from a file."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.cli import options, show
from bot.cli.start import operator, record, start
from feedback.plural import counted, plural

if TYPE_CHECKING:
    from bot.commands.data import Imported
    from bot.settings import Settings


def import_file(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .jsonl, .json, .csv, .tsv, .parquet file.")],
    community: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Community that the pairs belong to; the file's name by default."),
    ] = None,
    held_out: Annotated[
        bool, typer.Option("--held-out", help="Keep the pairs for examinations; never train on them.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Import pairs (instruction, input, output) as approved turns; all of a file, or nothing of it."""
    settings = start(context)
    with show.ProgressView() as view:
        imported = asyncio.run(_import(settings, file, community, held_out, view))
    if as_json:
        show.as_json(imported)
    else:
        known = f"; {imported.known:,} had been there already" if imported.known else ""
        show.say(
            f"{counted(imported.new, 'pair')} of {imported.file} {plural(imported.new, 'is', 'are')} in the "
            f"community {imported.community} now{known}."
        )
        if imported.persona:
            show.say(f"Its persona is the system text of the file: {imported.persona}")
        if imported.left_out:
            show.say(f"Columns that were not taken: {', '.join(imported.left_out)}.")


async def _import(
    settings: Settings, file: Path, community: str | None, held_out: bool, view: show.ProgressView
) -> Imported:
    from bot.commands import data

    async with record(settings) as database:
        return await data.import_pairs(
            database,
            file,
            imported_by=operator(),
            community=community,
            held_out=held_out,
            on_progress=lambda done, total: view.update("importing", done, total, unit="pairs"),
        )
