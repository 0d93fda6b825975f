"""The loop as a strip of stations: each leads to where it is done, and lights up once the visitor did it."""

from __future__ import annotations

from typing import Final

from nicegui import ui

from bot.commands import first_steps
from bot.commands.first_steps import STEPS, Step
from bot.console import texts
from bot.console.context import Console
from bot.console.layout import link
from bot.console.visitor import Visitor

_WHERE: Final[dict[Step, str]] = {
    "ask": "/",
    "vote": "/",
    "review": "/review",
    "train": "/runs",
    "switch": "/adapters",
}


async def show_stations(console: Console, visitor: Visitor) -> None:
    """Show the strip to who may walk all of it, until they have."""
    if not visitor.may("run.start"):
        return
    home = console.home_of(visitor)
    pseudonym = console.core.pseudonym(home.platform, visitor.member)
    done = await first_steps.done(console.core.database, visitor.actor, home.platform, pseudonym)
    if len(done) == len(STEPS):
        return
    say = visitor.say
    strip = ui.element("nav").classes("tl-stations").props(f'aria-label="{say(texts.THE_LOOP)}"')
    with strip, ui.element("ol"):
        for number, step in enumerate(STEPS, 1):
            is_done, name = step in done, say(texts.STATIONS[step])
            with ui.element("li").classes("tl-done" if is_done else ""), link(_WHERE[step], "") as station:
                mark = ui.html("✓" if is_done else str(number), sanitize=False, tag="b")
                mark.props('aria-hidden="true"')
                ui.html(name, sanitize=False, tag="span")
            if is_done:
                station.props(f'aria-label="{name}: {say(texts.STATION_DONE)}"')
