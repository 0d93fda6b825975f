"""The page of open sessions: where somebody is signed in, and ending it; an operator sees everybody's."""

from __future__ import annotations

from functools import partial

from nicegui import ui

from bot.access.actor import Actor
from bot.access.sign_in import actor_of
from bot.console import texts
from bot.console.context import Console
from bot.console.layout import action, chip, empty_state, frame, heading, showing_errors, tell
from bot.console.visitor import Visitor
from bot.errors import NotAllowed
from feedback import sign_in
from feedback.tables import ConsoleSession


async def sessions_page(console: Console, visitor: Visitor) -> None:
    """Build the page for one visitor."""
    with frame(visitor, "/sessions", texts.SESSIONS):
        heading(visitor.say(texts.SESSIONS), 1)
        ui.label(visitor.say(texts.SESSIONS_MORE)).classes("tl-muted")
        await _Sessions(console, visitor).show()


class _Sessions:
    """The sessions that a visitor may see, each with the button that ends it."""

    def __init__(self, console: Console, visitor: Visitor) -> None:
        self._database = console.core.database
        self._visitor = visitor
        self._place = ui.element("div").classes("tl-card tl-table-card")

    async def show(self) -> None:
        """Read them and show them, the one used last first."""
        actor = self._visitor.actor
        async with self._database.session(read_only=True) as session:
            found = await sign_in.open_sessions(session, None if actor.role == "operator" else actor.name)
        self._place.clear()
        with self._place:
            if not found:
                empty_state("o_key", self._visitor.say(texts.NO_SESSIONS), "")
                return
            with ui.element("table").classes("tl-table"), ui.element("tbody"):
                for row in found:
                    self._row(row)

    def _row(self, row: ConsoleSession) -> None:
        say, whose = self._visitor.say, actor_of(row)
        signed_in = self._visitor.signed_in
        with ui.element("tr"):
            with ui.element("th").props("scope=row"), ui.element("div").classes("tl-meta"):
                ui.label(_shown(whose))
                chip(say(texts.ROLES[whose.role]))
                if signed_in is not None and signed_in.session_id == row.id:
                    chip(say(texts.THIS_BROWSER), "serving")
                ui.label(row.browser).classes("tl-muted tl-browser")
            with ui.element("td"), ui.element("div"):
                ui.label(say(texts.SEEN_AT, when=f"{row.seen_at:%Y-%m-%d %H:%M} UTC"))
                ui.label(say(texts.UNTIL, when=f"{row.expires_at:%Y-%m-%d %H:%M} UTC")).classes("tl-muted")
            with ui.element("td"):
                end = showing_errors(partial(self._end, row.id or 0, whose))
                action(say(texts.END_SESSION), "o_logout", end).props(
                    f'aria-label="{say(texts.END_SESSION)}: {_shown(whose)}"'
                )

    async def _end(self, session_id: int, whose: Actor) -> None:
        actor = self._visitor.actor
        if actor.role != "operator" and actor.name != whose.name:
            raise NotAllowed("operator")
        async with self._database.session() as session:
            await sign_in.end(session, session_id, "revoked", by=actor.name)
        tell(self._visitor.say(texts.SESSION_ENDED))
        await self.show()


def _shown(actor: Actor) -> str:
    return f"{actor.platform}:{actor.pseudonym[:8]}" if actor.pseudonym else actor.platform
