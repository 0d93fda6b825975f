"""What stands round the answer on the review page, shown a moment after it: nobody waits for it."""

from __future__ import annotations

from collections.abc import Callable

from nicegui import background_tasks, ui

from bot.chat.sources import name_of
from bot.commands import surroundings
from bot.commands.review import QueueEntry
from bot.commands.surroundings import Alike, Surroundings
from bot.console import texts
from bot.console.context import Console
from bot.console.layout import action, chip, heading, prose
from bot.console.visitor import Visitor
from bot.texts import SOURCES, Text
from feedback.errors import NotFound
from feedback.words import TurnId


class ReviewSurroundings:
    """The part of a card below the answer; `edit` opens the editor on a text."""

    def __init__(
        self, console: Console, visitor: Visitor, entry: QueueEntry, edit: Callable[[str], None]
    ) -> None:
        self._console = console
        self._visitor = visitor
        self._say = visitor.say
        self._entry = entry
        self._edit = edit
        self._repeats: tuple[TurnId, ...] = ()
        self._together: ui.checkbox | None = None
        self._place = ui.element("div").classes("tl-around")
        background_tasks.create(self._read())

    @property
    def chosen(self) -> tuple[TurnId, ...]:
        """The turns that ask the same, on which the same is to be decided."""
        return self._repeats if self._together is not None and self._together.value else ()

    async def _read(self) -> None:
        try:
            found = await surroundings.around(
                self._console.core.database, self._entry.turn_id, self._visitor.actor
            )
        except NotFound:  # forgotten at this moment; deciding on it will say so
            return
        if not self._place.is_deleted:
            with self._place:
                self._show(found)

    def _show(self, found: Surroundings) -> None:
        say = self._say
        if found.personal:
            with ui.element("div").classes("tl-votes"):
                for kind in found.personal:
                    chip(say(texts.PERSONAL, kind=kind), "warn")
                if found.masked != self._entry.answer:
                    action(say(texts.MASK_IT), "o_visibility_off", lambda: self._edit(found.masked))
        if found.repeats:
            self._repeats = found.repeats
            self._together = ui.checkbox(say(texts.ALSO_DECIDE, count=len(found.repeats)), value=True)
        if found.said:
            with self._folded(texts.SAID_BEFORE):
                for question, answer in found.said:
                    ui.label(question).classes("tl-strong")
                    prose(answer)
        if found.sources:
            with self._folded(SOURCES):
                for source in found.sources:
                    ui.label(name_of(source, self._visitor.language)).classes("tl-strong")
                    prose(source.text)
        if found.decided:
            with self._folded(texts.DECIDED_ALIKE):
                for one in found.decided:
                    self._show_alike(one)

    def _show_alike(self, one: Alike) -> None:
        with ui.element("div").classes("tl-suggested"):
            with ui.element("div").classes("tl-meta"):
                chip(self._say(texts.REVIEW_STATES[one.state]), one.state)
                ui.label(one.question).classes("tl-strong")
                ui.label(" · ".join(filter(None, (one.reviewer, one.note)))).classes("tl-muted")
            prose(one.answer)
            if one.state != "rejected":
                action(self._say(texts.USE_SUGGESTION), "o_edit_note", lambda: self._edit(one.answer))

    def _folded(self, name: Text) -> ui.element:
        with ui.element("details").classes("tl-source"):
            with ui.element("summary"):
                heading(self._say(name), 2).classes(replace="tl-overline")
            return ui.element("div").classes("tl-passage")
