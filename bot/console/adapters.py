"""The adapters page: which there are, which one answers, switching and rolling back; comparing.

The table is read anew after every switch.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from html import escape

from nicegui import ui

from bot.chat import adapters as switching
from bot.chat import announcements
from bot.commands import adapter as adapters
from bot.commands.adapter import EVERYWHERE, AdapterSummary, Switched
from bot.console import record, texts
from bot.console.compare import Comparison
from bot.console.context import Console
from bot.console.layout import action, answered, chip, confirmed, frame, heading, showing_errors, tell
from bot.console.lineage import name_link
from bot.console.reports import report_link
from bot.console.visitor import Visitor
from bot.texts import CANCEL, Text
from training.adapters import registry
from training.examination.comparisons import Counts


async def adapters_page(console: Console, visitor: Visitor) -> None:
    """Build the page for one visitor."""
    with frame(visitor, "/adapters", texts.ADAPTERS):
        table = _Table(console, visitor)
        comparison = Comparison(console, visitor)
        await _by_itself(console, visitor)

        async def refresh() -> None:
            listed = await adapters.list_adapters(console.core.database, only_of=visitor.actor.community_id)
            table.show(listed)
            await comparison.offer(listed)

        table.on_change = refresh
        await refresh()


async def _by_itself(console: Console, visitor: Visitor) -> None:
    """What runs and rules did lately, with the reasons."""
    told = await announcements.lately(console.core, visitor.actor.community_id, visitor.language)
    if not told:
        return
    with ui.element("section").classes("tl-section"):
        heading(visitor.say(texts.BY_ITSELF), 2)
        with ui.element("div").classes("tl-card"), ui.element("ul").classes("tl-list"):
            for one in told:
                with ui.element("li"):
                    ui.label(f"{one.at:%Y-%m-%d %H:%M} UTC · {one.what.replace('**', '')}")
                    if one.reason:
                        with ui.element("details").classes("tl-behind"):
                            ui.html(escape(visitor.say(texts.WHY)), sanitize=False, tag="summary")
                            ui.label(one.reason).classes("tl-muted")


class _Table:
    """Every adapter with its state, and the switch."""

    def __init__(self, console: Console, visitor: Visitor) -> None:
        self._console = console
        self._say = visitor.say
        self._language = visitor.language
        self._visitor = visitor
        self._actor = visitor.actor
        self.on_change: Callable[[], Awaitable[None]]
        with ui.element("div").classes("tl-head"):
            heading(self._say(texts.ADAPTERS), 1)
            self._back = action(self._say(texts.ROLL_BACK), "o_history", self._confirm_rollback)
            self._back.classes("tl-push")
        self._place = ui.element("div").classes("tl-card tl-table-card")
        self._confirming = ui.element("div")
        self._serving = registry.BASE

    def show(self, listed: list[AdapterSummary]) -> None:
        """Show these adapters, the base model first."""
        everywhere = next((one.label for one in listed if EVERYWHERE in one.serves), registry.BASE)
        here = (one.label for one in listed if set(one.serves) - {EVERYWHERE})
        self._serving = everywhere if self._actor.community_id is None else next(here, everywhere)
        self._back.set_visibility(len(listed) > 1)
        self._place.clear()
        with self._place:
            with ui.element("table").classes("tl-table"):
                self._head()
                with ui.element("tbody"):
                    for summary in listed:
                        self._row(summary, listed)
            if len(listed) == 1:
                ui.label(self._say(texts.NO_ADAPTERS)).classes("tl-muted tl-table-more")

    def _head(self) -> None:
        columns = (texts.ADAPTER, texts.STATE, texts.CREATED, texts.HELD_OUT_LOSS, texts.SERVING)
        with ui.element("thead"), ui.element("tr"):
            for column in columns:
                with ui.element("th").props("scope=col"):
                    ui.label(self._say(column))

    def _row(self, summary: AdapterSummary, listed: list[AdapterSummary]) -> None:
        """Make one adapter's row; the base model's has neither state nor date."""
        say = self._say
        is_base = summary.label == registry.BASE
        name = say(texts.BASE_MODEL) if is_base else summary.label
        with ui.element("tr"):
            with ui.element("th").props("scope=row"):
                name_link(self._visitor, summary.label)
                if counts := Counts.kept(summary.metrics):
                    ui.label(counts.say(self._language)).classes("tl-muted")
                if summary.run is not None and self._visitor.may("report.view"):
                    report_link(say(texts.REPORT), summary.run)
            with self._cell(texts.STATE):
                if not is_base:
                    known = texts.STATES.get(summary.state)
                    chip(say(known) if known else summary.state, summary.state)
                    if summary.state == "rejected" and self._visitor.may("adapter.curate"):
                        button = action(
                            say(texts.PROMOTE), "o_gavel", lambda: self._confirm_promotion(summary.label)
                        )
                        button.props(f'aria-label="{say(texts.PROMOTE)}: {name}"')
                else:
                    ui.label("–").classes("tl-muted")
            with self._cell(texts.CREATED):
                ui.label(f"{summary.created_at:%Y-%m-%d %H:%M} UTC" if summary.created_at else "–")
            with self._cell(texts.HELD_OUT_LOSS):
                loss = record.base_loss(listed) if is_base else record.held_out_loss(summary)
                ui.label("–" if loss is None else f"{loss:.3f}").classes("tl-number")
            with self._cell(texts.SERVING), ui.element("div").classes("tl-service"):
                self._service(summary, name)

    def _service(self, summary: AdapterSummary, name: str) -> None:
        for whom in summary.serves:
            chip(self._say(texts.EVERYBODY) if whom == EVERYWHERE else whom, "serving")
        # a candidate without a verdict may not serve, so it is not offered
        if summary.label != self._serving and summary.state != "candidate":
            button = action(
                self._say(texts.SWITCH), "o_swap_horiz", lambda: self._confirm_switch(summary.label, name)
            )
            button.props(f'aria-label="{self._say(texts.SWITCH)}: {name}"')
            if summary.label != registry.BASE:
                canary = action(
                    self._say(texts.CANARY), "o_science", lambda: self._confirm_canary(summary.label)
                )
                canary.props(f'aria-label="{self._say(texts.CANARY)}: {name}"')

    def _cell(self, column: Text) -> ui.element:
        return ui.element("td").props(f'data-label="{self._say(column)}"')

    async def _confirm_switch(self, label: str, name: str) -> None:
        question = self._say(texts.SWITCH_QUESTION, adapter=name)
        more = self._say(texts.SWITCH_MORE, current=self._name(self._serving))
        with self._confirming:  # the pressed button itself is gone once the table is shown anew
            if await confirmed(question, more, self._say(texts.SWITCH), self._say(CANCEL)):
                await showing_errors(self._switch)(label)

    async def _confirm_canary(self, label: str) -> None:
        question = self._say(texts.CANARY_QUESTION, adapter=label)
        with self._confirming, ui.dialog() as dialog, ui.element("div").classes("tl-card tl-dialog"):
            dialog.props(f'aria-label="{question}"')
            heading(question, 2)
            ui.label(self._say(texts.CANARY_MORE)).classes("tl-muted")
            percent = ui.number(self._say(texts.CANARY_SHARE), value=10, min=1, max=90, precision=0)
            percent.classes("tl-text").props("outlined autofocus")
            with ui.element("div").classes("tl-actions"):
                action(self._say(texts.CANARY), "o_check", lambda: dialog.submit(True), kind="primary")
                action(self._say(CANCEL), "o_close", lambda: dialog.submit(False))
        if await answered(dialog):
            with self._confirming:
                await showing_errors(self._begin_canary)(label, (percent.value or 10) / 100)

    async def _begin_canary(self, label: str, share: float) -> None:
        home = self._console.home_of(self._visitor)
        serving = await switching.begin_canary(self._console, home, self._actor, label, share)
        tell(self._say(texts.CANARY_BEGUN, adapter=label, share=f"{serving:.0%}"))
        await self.on_change()

    async def _confirm_promotion(self, label: str) -> None:
        with self._confirming:
            reason = await self._reasoned(self._say(texts.PROMOTE_QUESTION, adapter=label))
            if reason is not None:
                await showing_errors(self._promote)(label, reason)

    async def _confirm_rollback(self) -> None:
        question = self._say(texts.ROLL_BACK_QUESTION, current=self._name(self._serving))
        if await confirmed(question, "", self._say(texts.ROLL_BACK), self._say(CANCEL)):
            await showing_errors(self._roll_back)()

    async def _reasoned(self, question: str) -> str | None:
        """The reason given for it; None when it was called off."""
        with ui.dialog() as dialog, ui.element("div").classes("tl-card tl-dialog"):
            dialog.props(f'aria-label="{question}"')
            heading(question, 2)
            ui.label(self._say(texts.PROMOTE_MORE)).classes("tl-muted")
            reason = ui.input(self._say(texts.REASON)).classes("tl-text").props("outlined autofocus")
            with ui.element("div").classes("tl-actions"):
                action(self._say(texts.PROMOTE), "o_check", lambda: dialog.submit(True), kind="primary")
                action(self._say(CANCEL), "o_close", lambda: dialog.submit(False))
        return (reason.value or "") if await answered(dialog) else None

    async def _promote(self, label: str, reason: str) -> None:
        database = self._console.core.database
        await adapters.overrule(database, label, promote=True, by=self._actor, reason=reason)
        tell(self._say(texts.PROMOTED, adapter=label))
        await self.on_change()

    async def _switch(self, label: str) -> None:
        await self._tell(
            await switching.switch(self._console, self._console.home_of(self._visitor), self._actor, label)
        )

    async def _roll_back(self) -> None:
        await self._tell(
            await switching.roll_back(self._console, self._console.home_of(self._visitor), self._actor)
        )

    async def _tell(self, switched: Switched) -> None:
        tell(self._say(texts.SWITCHED, adapter=self._name(switched.now)))
        await self.on_change()

    def _name(self, label: str) -> str:
        return self._say(texts.BASE_MODEL) if label == registry.BASE else label
