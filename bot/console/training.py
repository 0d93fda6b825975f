"""The training panel: start a run, watch it, stop it, resume it, read its verdict.

A run works in a process of its own and writes how far it is to the record; the panel reads it there, so it
shows a run whoever started it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from html import escape
from typing import Any, Final

from nicegui import ui

from bot.commands import training
from bot.commands.training import RunView
from bot.console import texts
from bot.console.context import Console
from bot.console.curves import show_curve
from bot.console.layout import action, as_count, chip, confirmed, heading, link, showing_errors, tell
from bot.console.reports import report_link
from bot.console.visitor import Visitor
from bot.texts import CANCEL, run_started
from training.errors import RunUnderWay
from training.examination import reasons
from training.run.due import count_new_pairs
from training.run.lifecycle import WITH_VERDICT

WATCH_S: Final = 1.0
"""How often the record is read while a run is under way."""
IDLE_S: Final = 5.0
"""How often it is read otherwise, to notice a run that the schedule or the command line started."""
MOST_COUNTED: Final = 1000
"""How far approved answers are counted: every open page counts them anew every few seconds."""


class TrainingPanel:
    """The newest run, live, and the button for the next one; where there are several adapters, which."""

    def __init__(self, console: Console, visitor: Visitor) -> None:
        self._console = console
        self._visitor = visitor
        self._say = visitor.say
        self._language = visitor.language
        self._actor = visitor.actor
        self._may_start = visitor.may("run.start")
        self._may_read = visitor.may("report.view")
        self.on_end: Callable[[], Awaitable[None]]
        self._shown: RunView | None = None
        self._awaited = False
        names = console.retraining.settings.names
        self._section = ui.element("section").classes("tl-section")
        with self._section:
            with ui.element("div").classes("tl-head"):
                heading(self._say(texts.TRAINING), 2)
                with ui.element("div").classes("tl-start tl-push"):
                    self._adapter = ui.select(
                        names, value=names[0], label=self._say(texts.WHAT_TO_TRAIN), on_change=self.show
                    ).classes("tl-text tl-choice")
                    self._adapter.props("outlined dense popup-content-class=tl-popup")
                    self._adapter.set_visibility(len(names) > 1)
                    self._button = action(
                        self._say(texts.RETRAIN),
                        "o_model_training",
                        showing_errors(self._start),
                        kind="primary",
                    )
            with ui.element("div").classes("tl-card"):
                self._approved = ui.label().classes("tl-muted")
                self._why = ui.label().classes("tl-muted").props("role=status")
                self._starting = (
                    ui.label(self._say(texts.STARTING)).classes("tl-thinking").props("role=status")
                )
                self._place = ui.element("div").classes("tl-run")
                self._stalled = ui.label(self._say(texts.STALLED)).classes("tl-refusal tl-stalled")
        self._timer = ui.timer(WATCH_S, self.show, immediate=False)

    async def show(self) -> None:
        """Read the newest run and show it."""
        database = self._console.core.database
        # asked before the record is read, which its run enters then
        starting = await self._console.retraining.is_starting()
        newest = await training.newest(database)
        async with database.session(read_only=True) as session:
            approved = await count_new_pairs(session, self._adapter.value, at_most=MOST_COUNTED)
        running = newest is not None and newest.state == "running"
        alive = running and await self._is_alive()
        ended = self._shown is not None and self._shown.state == "running" and not running
        counted = as_count(approved, MOST_COUNTED)
        self._approved.set_text(self._say(texts.APPROVED_PAIRS, count=counted))
        self._button.set_enabled(self._may_start and not alive and not starting)
        self._say_why(alive)
        self._stalled.set_visibility(running and not alive)
        self._starting.set_visibility(starting)
        if self._awaited and not starting and newest == self._shown:
            tell(self._say(texts.NOT_BEGUN), kind="negative")
        self._awaited = starting
        self._timer.interval = WATCH_S if running or starting else IDLE_S
        if newest is None or newest != self._shown or not self._place.default_slot.children:
            self._place.clear()
            stopped = newest is not None and newest.state == "cancelled"
            resumes_at = (
                training.resumes_at(self._console.core.data, newest.run) if newest and stopped else None
            )
            with self._place:
                self._show_run(newest, resumes_at, alive)
        self._shown = newest
        if ended:
            await self.on_end()

    def _say_why(self, alive: bool) -> None:
        """Why nothing can be started now; nothing where it can."""
        why = texts.WHY_RUN_UNDER_WAY if alive else None if self._may_start else texts.WHY_MAY_NOT_RETRAIN
        self._why.set_text(self._say(why) if why else "")
        self._why.set_visibility(why is not None)

    async def _is_alive(self) -> bool:
        try:
            await training.refuse_while_running(self._console.core.database)
        except RunUnderWay:
            return True
        return False

    async def _start(self, resumed: str = "") -> None:
        """Start a run of the chosen adapter, or of the one whose run is `resumed`."""
        self._button.set_enabled(False)
        try:
            console = self._console
            several = len(console.retraining.settings.names) > 1
            chosen = (resumed or self._adapter.value) if several else None
            await console.retraining.start(self._actor, chosen)
            tell(run_started(chosen, self._language))
        finally:
            await self.show()

    async def _outlasting(self, act: Callable[[], Awaitable[None]]) -> None:
        """What a button does whose place is built anew meanwhile: a question that it asks stays."""
        with self._section:
            await showing_errors(act)()

    async def _cancel(self, run: int) -> None:
        question, more = self._say(texts.CANCEL_RUN_QUESTION, number=run), self._say(texts.CANCEL_RUN_MORE)
        if await confirmed(question, more, self._say(texts.CANCEL_RUN), self._say(CANCEL)):
            await training.cancel(self._console.core.database, self._actor)
            tell(self._say(texts.CANCELLING, number=run))

    def _show_run(self, run: RunView | None, resumes_at: int | None, alive: bool) -> None:
        """Show a run with its progress or its verdict, or that there was none yet."""
        if run is None:
            ui.label(self._say(texts.NO_RUNS)).classes("tl-muted")
            return
        with ui.element("div").classes("tl-meta"):
            with link(f"/runs/{run.run}", "").classes("tl-inline-link"):
                heading(self._say(texts.RUN, number=run.run), 3)
            known = texts.RUN_STATES.get(run.state)
            chip(self._say(known) if known else run.state, run.state)
            if run.adapter:
                chip(run.adapter)
            ui.label(f"{run.started_at:%Y-%m-%d %H:%M} UTC").classes("tl-muted tl-push")
        if run.state == "running":
            self._show_progress(run)
            show_curve(self._visitor, run.progress.get("curve", ()))
            if alive and self._may_start:
                cancel = partial(self._outlasting, partial(self._cancel, run.run))
                action(self._say(texts.CANCEL_RUN), "o_stop_circle", cancel, kind="danger")
        elif run.verdict:
            show_reasons(self._visitor, run, first=1)
            for symptom in run.symptoms:
                said = reasons.symptom_said(symptom, self._language)
                ui.label(f"{self._say(texts.SYMPTOM)} {said.name}: {said.meaning}").classes("tl-muted")
            if self._may_read and run.state in WITH_VERDICT:
                report_link(self._say(texts.REPORT), run.run)
            if resumes_at is not None and self._may_start:
                with ui.element("div").classes("tl-actions"):
                    action(
                        self._say(texts.RESUME, step=resumes_at),
                        "o_play_circle",
                        partial(self._outlasting, partial(self._start, run.adapter)),
                        kind="primary",
                    )

    def _show_progress(self, run: RunView) -> None:
        step, progress = run.step, run.progress
        done, total = int(progress.get("done", 0)), int(progress.get("total", 0))
        known = texts.STEPS.get(step)
        name = self._say(known) if known else step
        bar = ui.linear_progress(done / total if total else 0.0, show_value=False, color=None)
        bar.props(f'rounded aria-label="{name}"' + ("" if total else " indeterminate")).classes("tl-bar")
        with ui.element("div").classes("tl-meta tl-progress").props("role=status"):
            ui.label(name).classes("tl-strong")
            left = run.seconds_left(self._console.core.clock())
            for fact in self._facts(progress, done, total, left):
                ui.label(fact)

    def _facts(
        self, progress: dict[str, Any], done: int, total: int, seconds_left: float | None
    ) -> list[str]:
        facts = [f"{done} / {total}"] if total else []
        if rate := progress.get("per_second"):
            facts.append(self._say(texts.TOKENS_PER_SECOND, rate=f"{rate:,.0f}".replace(",", " ")))
        facts += [
            f"{self._say(texts.FIGURES[name])} {value:.3f}"
            for name, value in progress.get("figures", {}).items()
            if name in texts.FIGURES
        ]
        known = seconds_left is not None
        facts.append(
            self._say(texts.TIME_LEFT, time=in_words(seconds_left or 0.0))
            if known
            else self._say(texts.TIME_UNKNOWN)
        )
        return facts


def show_reasons(visitor: Visitor, run: RunView, *, first: int | None = None) -> None:
    """What the run came to, reason by reason, those behind the `first` folded; of a failure, its sentence."""
    said = [reason.say(visitor.language) for reason in run.reasons] or [run.said[visitor.language] or "–"]
    _list(said[:first])
    if first is not None and said[first:]:
        with ui.element("details").classes("tl-behind"):
            ui.html(escape(visitor.say(texts.ALL_REASONS)), sanitize=False, tag="summary")
            _list(said[first:])


def _list(sentences: Sequence[str]) -> None:
    items = "".join(f"<li>{escape(one)}</li>" for one in sentences)
    ui.html(items, sanitize=False, tag="ul").classes("tl-list tl-verdict")


def in_words(seconds: float) -> str:
    """Seconds for people, in every language alike."""
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{max(1, round(seconds))} s"
