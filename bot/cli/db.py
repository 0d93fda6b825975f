"""`thumbloop db`: bringing the record's schema up to date."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import typer

from bot.cli import options, show
from bot.cli.start import start

if TYPE_CHECKING:
    from bot.settings import Settings
    from feedback.database import Upgraded

app = typer.Typer(no_args_is_help=True, help="Look after the database.")


@app.callback()
def database() -> None:
    """A group, though it has one verb so far."""


@app.command()
def upgrade(context: typer.Context, as_json: options.AsJson = False) -> None:
    """Create the schema or bring it up to date; a SQLite file is copied beside itself first."""
    upgraded = asyncio.run(_upgrade(start(context)))
    if as_json:
        show.as_json(upgraded)
    elif upgraded.before == upgraded.after:
        show.say(f"The database is up to date (schema {upgraded.after}).")
    else:
        kept = f"; the former state is kept in {upgraded.backup}" if upgraded.backup else ""
        show.say(
            f"The database was brought from schema {upgraded.before or 'none'} to {upgraded.after}{kept}."
        )


async def _upgrade(settings: Settings) -> Upgraded:
    from feedback.database import Database

    database = Database(settings.database_url)
    try:
        return await database.upgrade()
    finally:
        await database.close()
