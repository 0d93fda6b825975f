"""Members and privacy: who stays out of training, and the ledger of forget-me with how far each has come."""

from __future__ import annotations

from functools import partial

from nicegui import ui

from bot.commands import members
from bot.commands.members import Privacy
from bot.console import texts
from bot.console.context import Console
from bot.console.layout import action, chip, data_table, frame, heading, showing_errors
from bot.console.visitor import Visitor
from training.run.erasure import Erasure


async def members_page(console: Console, visitor: Visitor) -> None:
    """Build the page for one visitor."""
    with frame(visitor, "/members", texts.MEMBERS):
        heading(visitor.say(texts.MEMBERS), 1)
        ui.label(visitor.say(texts.MEMBERS_MORE)).classes("tl-muted")
        await _Members(console, visitor).show()


class _Members:
    """What one visitor sees."""

    def __init__(self, console: Console, visitor: Visitor) -> None:
        self._database = console.core.database
        self._visitor = visitor
        self._say = visitor.say
        self._place = ui.element("div")

    async def show(self, after: int = 0) -> None:
        """Read and show, of members behind that one."""
        found = await members.privacy(self._database, self._visitor.actor, after=after)
        self._place.clear()
        with self._place:
            self._make_opted_out(found)
            self._make_ledger(found.ledger)

    def _make_opted_out(self, found: Privacy) -> None:
        say = self._say
        with ui.element("section").classes("tl-section"):
            with ui.element("div").classes("tl-head"):
                heading(say(texts.OPTED_OUT), 2)
                chip(say(texts.OPTED_OUT_OF, count=found.opted_out, of=found.members))
            with ui.element("div").classes("tl-card"):
                if not found.page:
                    ui.label(say(texts.NOBODY_OPTED_OUT)).classes("tl-muted")
                with ui.element("div").classes("tl-votes"):
                    for one in found.page:
                        chip(f"{one.platform}:{one.pseudonym[:8]}")
                if found.more is not None:
                    action(say(texts.MORE), "o_expand_more", showing_errors(partial(self.show, found.more)))

    def _make_ledger(self, ledger: tuple[Erasure, ...]) -> None:
        say = self._say
        with ui.element("section").classes("tl-section"):
            heading(say(texts.LEDGER), 2)
            ui.label(say(texts.LEDGER_MORE)).classes("tl-muted")
            if not ledger:
                with ui.element("div").classes("tl-card"):
                    ui.label(say(texts.NOBODY_FORGOTTEN)).classes("tl-muted")
                return
            columns = (
                texts.REQUEST,
                texts.ASKED_AT,
                texts.IN_THE_RECORD,
                texts.IN_DATASETS,
                texts.IN_ADAPTERS,
            )
            with ui.element("div").classes("tl-card tl-table-card"):
                data_table([say(column) for column in columns], [self._row(one) for one in ledger])

    def _row(self, one: Erasure) -> list[str]:
        say = self._say
        done = say(texts.CARRIED_OUT) if one.carried_at else say(texts.NOT_YET)
        adapters = ", ".join(
            say(texts.STILL_SERVES, adapter=name) if name in one.serving else name for name in one.adapters
        )
        return [
            say(texts.REQUEST_OF, request=one.request, turns=len(one.turns)),
            f"{one.requested_at:%Y-%m-%d %H:%M} UTC",
            f"{one.erased_at:%Y-%m-%d %H:%M} UTC" if one.erased_at else say(texts.NOT_YET),
            f"{done}: {', '.join(one.datasets)}" if one.datasets else done,
            adapters or say(texts.NONE_LEARNT),
        ]
