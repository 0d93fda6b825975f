"""`thumbloop console`: links that sign people in to the web console, and who is signed in."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from bot.cli import options, show
from bot.cli.start import operator, record, start

if TYPE_CHECKING:
    from bot.settings import Settings
    from feedback.tables import ConsoleSession

app = typer.Typer(no_args_is_help=True, help="Sign in to the web console; see and end its sessions.")


@app.command()
def link(context: typer.Context) -> None:
    """Print a link that signs you in as an operator, once, within ten minutes."""
    show.say(asyncio.run(_link(start(context))))


@app.command()
def sessions(context: typer.Context, as_json: options.AsJson = False) -> None:
    """List who is signed in."""
    found = asyncio.run(_sessions(start(context)))
    if as_json:
        show.as_json([row.model_dump(mode="json", exclude={"token_hash", "external_id"}) for row in found])
    elif not found:
        show.say("Nobody is signed in.")
    else:
        show.table(
            ("session", "who", "role", "used", "until", "browser"),
            [
                (
                    row.id,
                    _whose(row),
                    row.role,
                    row.seen_at,
                    row.expires_at,
                    row.browser,
                )
                for row in found
            ],
        )


@app.command()
def end(context: typer.Context, session: Annotated[int, typer.Argument(metavar="SESSION")]) -> None:
    """End a session; its pages are cut off within seconds."""
    asyncio.run(_end(start(context), session))
    show.say(f"Session {session} has ended.")


def _whose(row: ConsoleSession) -> str:
    return f"{row.platform}:{row.pseudonym[:8]}"


async def _link(settings: Settings) -> str:
    from bot.access import sign_in

    async with record(settings) as database:
        return await sign_in.link(database, settings.web.public_url, operator())


async def _sessions(settings: Settings) -> list[ConsoleSession]:
    from feedback import sign_in

    async with record(settings) as database, database.session(read_only=True) as session:
        return await sign_in.open_sessions(session)


async def _end(settings: Settings, session_id: int) -> None:
    from feedback import sign_in
    from feedback.errors import NotFound

    async with record(settings) as database, database.session() as session:
        if not await sign_in.end(session, session_id, "revoked", by=operator().name):
            raise NotFound("session", session_id, "`thumbloop console sessions` lists those that last.")
