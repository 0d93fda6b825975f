"""`thumbloop report`: the page about a training run, written anew where it is not there."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.cli import options, show
from bot.cli.start import record, start

if TYPE_CHECKING:
    from bot.settings import Settings


def report(
    context: typer.Context,
    run: Annotated[
        int | None,
        typer.Argument(
            metavar="RUN", min=1, max=options.MOST_ID, help="The run's number; the last with a verdict else."
        ),
    ] = None,
    anew: Annotated[
        bool, typer.Option("--anew", help="Write it anew from the record, even if it is there.")
    ] = False,
    open_it: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Say where the report of a run lies: verdict, figures, symptoms, curves and answers side by side."""
    page = asyncio.run(_page(start(context), run, anew=anew))
    if as_json:
        from training.run.report import DATA

        show.as_json(json.loads((page.parent / DATA).read_text(encoding="utf-8")))
    else:
        show.say(str(page))
    if open_it:
        import webbrowser

        webbrowser.open(page.absolute().as_uri())


async def _page(settings: Settings, run: int | None, *, anew: bool) -> Path:
    from training.run import report

    async with record(settings) as database:
        wanted = run if run is not None else await report.newest(database)
        return await report.ready(database, settings.data, wanted, show.language(), anew=anew)
