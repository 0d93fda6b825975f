"""The audit as a page: searched, and read further back a page at a time."""

from __future__ import annotations

import json
from functools import partial

from nicegui import ui

from bot.commands import audit
from bot.commands.audit import AuditPage, Entry
from bot.console import texts
from bot.console.context import Console
from bot.console.layout import action, data_table, empty_state, frame, heading, showing_errors
from bot.console.visitor import Visitor


async def audit_page(console: Console, visitor: Visitor) -> None:
    """Build the page for one visitor."""
    with frame(visitor, "/audit", texts.AUDIT):
        heading(visitor.say(texts.AUDIT), 1)
        ui.label(visitor.say(texts.AUDIT_MORE)).classes("tl-muted")
        await _AuditView(console, visitor).show()


class _AuditView:
    """What one visitor sees of the audit."""

    def __init__(self, console: Console, visitor: Visitor) -> None:
        self._database = console.core.database
        self._visitor = visitor
        self._say = visitor.say
        with ui.element("div").classes("tl-compare-form"):
            self._search = ui.input(self._say(texts.AUDIT_SEARCH), placeholder="review.").classes("tl-text")
            search = showing_errors(self.show)
            self._search.props("outlined type=search").on("keydown.enter", search)
            action(self._say(texts.SEARCH), "o_search", search, kind="primary")
        self._place = ui.element("div").classes("tl-card tl-table-card")

    async def show(self, before: int | None = None) -> None:
        """Read a page and show it in place of the one before."""
        found = await audit.entries(
            self._database, self._visitor.actor, search=self._search.value or "", before=before
        )
        self._place.clear()
        with self._place:
            self._make(found)

    def _make(self, found: AuditPage) -> None:
        say = self._say
        if not found.entries:
            empty_state("o_history", say(texts.NO_ENTRIES), say(texts.NO_ENTRIES_MORE))
            return
        columns = (texts.WHEN, texts.WHO, texts.WHAT, texts.SUBJECT, texts.DETAIL)
        data_table([say(column) for column in columns], [_row(entry) for entry in found.entries])
        if found.older is not None:
            with ui.element("div").classes("tl-actions tl-table-more"):
                action(say(texts.OLDER), "o_expand_more", showing_errors(partial(self.show, found.older)))


def _row(entry: Entry) -> list[str]:
    detail = json.dumps(entry.detail, ensure_ascii=False) if entry.detail else ""
    return [f"{entry.at:%Y-%m-%d %H:%M:%S} UTC", entry.actor, entry.action, entry.subject, detail]
