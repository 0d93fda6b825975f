"""Arguments and options that several verbs share, so that they are called and explained alike."""

from __future__ import annotations

from typing import Annotated, Final

import typer

MOST_ID: Final = 2**31 - 1
"""The largest id that PostgreSQL's integer column holds."""

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON, and nothing else, to standard output.")]
Community = Annotated[
    str | None,
    typer.Option(metavar="COMMUNITY", help="A community: its id, platform:id, or its name."),
]
AdapterName = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Which adapter, of those in training.adapters; training.adapter_name by default.",
    ),
]
TurnIds = Annotated[
    list[int], typer.Argument(metavar="TURN...", min=1, max=MOST_ID, help="Turns, by their numbers.")
]
TurnId = Annotated[int, typer.Argument(metavar="TURN", min=1, max=MOST_ID, help="The turn's number.")]
Note = Annotated[str, typer.Option(help="Why, for other moderators.")]
