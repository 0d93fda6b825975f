"""`thumbloop api-key`: a key for the API, shown once."""

from __future__ import annotations

from typing import Annotated

import typer

from bot.cli import show
from bot.cli.start import start


def api_key(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who the key is for.")],
    community: Annotated[
        str | None,
        typer.Option(metavar="PLATFORM:ID", help="Keep what is asked with it, as turns of this community."),
    ] = None,
) -> None:
    """Make a key for the OpenAI-compatible API; only its hash is kept, in a line for the settings."""
    from bot.api.keys import new_key

    start(context)
    key, line = new_key(name, community)
    show.say(key)
    show.note("This key is not shown again. Add the line below to api.keys (THUMBLOOP_API__KEYS):")
    show.note(line)
