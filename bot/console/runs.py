"""The pages of runs: the one under way and starting the next, those before it, and comparing some of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

from nicegui import ui

from bot.commands import training
from bot.commands.training import RunDetails, RunView
from bot.console import charts, texts
from bot.console.context import Console
from bot.console.curves import show_curve, show_losses
from bot.console.layout import action, chip, data_table, empty_state, frame, heading, link, prose
from bot.console.reports import MOST_ID, report_link
from bot.console.training import TrainingPanel, in_words, show_reasons
from bot.console.visitor import Visitor
from feedback.errors import NotFound
from feedback.text import kept_said
from feedback.words import Language
from training.examination import reasons
from training.examination.metrics import MEASURED
from training.run.lifecycle import WITH_VERDICT
from training.run.name_texts import called, flat, shown

AT_ONCE: Final = 20
"""Past runs on one page."""
MOST_COMPARED: Final = charts.MOST_SERIES


async def runs_page(console: Console, visitor: Visitor) -> None:
    """Build the list for one visitor; `?before=` goes back, `?compare=3,5` shows runs beside one another."""
    say = visitor.say
    with frame(visitor, "/runs", texts.RUNS):
        with ui.element("div").classes("tl-head tl-head-stacked"):
            heading(say(texts.RUNS), 1)
            ui.label(say(texts.RUNS_MORE)).classes("tl-muted")
        panel = TrainingPanel(console, visitor)
        compared = ui.element("div")
        past = ui.element("section").classes("tl-section")

        async def show() -> None:
            found = await training.history(
                console.core.database, limit=AT_ONCE + 1, before=_number(visitor.address.get("before", ""))
            )
            past.clear()
            with past:
                _Past(visitor).show(found)

        panel.on_end = show
        await panel.show()
        with compared:
            await _compare(console, visitor)
        await show()


class _Past:
    """The runs that have ended, with a mark for each that shall be compared."""

    def __init__(self, visitor: Visitor) -> None:
        self._visitor = visitor
        self._say = visitor.say
        self._chosen: list[int] = []

    def show(self, found: Sequence[RunView]) -> None:
        """Show these, newest first; one more than a page holds says that there are older ones."""
        say = self._say
        shown = [run for run in found[:AT_ONCE] if run.state != "running"]
        with ui.element("div").classes("tl-head"):
            heading(say(texts.PAST_RUNS), 2)
            if shown:
                self._why = ui.label(say(texts.CHOOSE_TWO)).classes("tl-muted tl-push")
                self._button = action(say(texts.COMPARE_RUNS), "o_compare", self._compare)
                self._button.set_enabled(False)
        if not shown:
            empty_state("o_model_training", say(texts.PAST_RUNS), say(texts.NO_PAST_RUNS))
            return
        columns = (texts.RUN_COLUMN, texts.STATE, texts.ADAPTER, texts.RIGHTLY, texts.STARTED, texts.TOOK)
        with ui.element("div").classes("tl-card tl-table-card"):
            data_table([say(name) for name in columns], [self._row(run) for run in shown])
        with ui.element("div").classes("tl-actions"):
            if self._visitor.address.get("before"):
                link("/runs", say(texts.NEWEST)).classes("tl-button tl-link-button")
            if len(found) > AT_ONCE:
                link(f"/runs?before={shown[-1].run}", say(texts.OLDER)).classes("tl-button tl-link-button")

    def _row(self, run: RunView) -> list[str | Callable[[], object]]:
        counted = run.counts.say(self._visitor.language) if run.counts else "–"
        took = in_words((run.finished_at - run.started_at).total_seconds()) if run.finished_at else "–"
        return [
            partial(self._name, run),
            partial(_state, self._visitor, run),
            run.adapter or "–",
            counted,
            _moment(run.started_at),
            took,
        ]

    def _name(self, run: RunView) -> None:
        with ui.element("div").classes("tl-run-name"):
            box = ui.checkbox(on_change=partial(self._choose, run.run))
            box.props(f'dense aria-label="{self._say(texts.CHOOSE_RUN, number=run.run)}"')
            link(f"/runs/{run.run}", self._say(texts.RUN, number=run.run)).classes("tl-inline-link")

    def _choose(self, run: int, event: Any) -> None:
        self._chosen = [one for one in self._chosen if one != run] + ([run] if event.value else [])
        enough = 2 <= len(self._chosen) <= MOST_COMPARED
        self._button.set_enabled(enough)
        self._why.set_visibility(not enough)

    def _compare(self) -> None:
        ui.navigate.to("/runs?compare=" + ",".join(map(str, sorted(self._chosen))))


async def _compare(console: Console, visitor: Visitor) -> None:
    """The runs that the address names, beside one another: validation losses, figures, settings."""
    numbers = [number for part in visitor.address.get("compare", "").split(",") if (number := _number(part))]
    found: list[RunDetails] = []
    for number in numbers[:MOST_COMPARED]:
        try:
            found.append(await training.details(console.core.database, visitor.actor, number))
        except NotFound:
            continue
    if len(found) < 2:
        return
    say = visitor.say
    names = [say(texts.RUN, number=one.view.run) for one in found]
    with ui.element("section").classes("tl-section"):
        heading(say(texts.COMPARED_RUNS, numbers=", ".join(str(one.view.run) for one in found)), 2)
        with ui.element("div").classes("tl-card tl-chart-card"):
            show_losses(
                visitor,
                [(name, one.curve, "validation_loss") for name, one in zip(names, found, strict=True)],
                say(texts.VALIDATION_LOSS),
            )
            figures = _figures([one.figures.get("candidate", {}) for one in found], visitor.language)
            if figures:
                data_table([say(texts.FIGURE), *names], figures)
            told = _rows(
                [flat(one.settings) for one in found],
                partial(shown, language=visitor.language),
                partial(called, language=visitor.language),
            )
            differing = [row for row in told if len(set(row[1:])) > 1]
            if differing:
                data_table([say(texts.SETTING), *names], differing)


async def run_page(console: Console, visitor: Visitor) -> None:
    """Build the page of one run, which the address names."""
    say, number = visitor.say, _number(visitor.address.get("run", ""))
    try:
        found = await training.details(console.core.database, visitor.actor, number or 0)
    except NotFound:
        with (
            frame(visitor, "/runs", texts.RUNS),
            empty_state("o_model_training", say(texts.NO_SUCH_RUN), say(texts.NO_PAST_RUNS)),
        ):
            link("/runs", say(texts.BACK_TO_RUNS)).classes("tl-button tl-primary tl-link-button")
        return
    run = found.view
    with frame(visitor, "/runs", texts.RUNS):
        with ui.element("div").classes("tl-head"):
            heading(say(texts.RUN, number=run.run), 1)
            _state(visitor, run)
            if run.adapter:
                chip(run.adapter)
            if run.dataset and visitor.may("dataset.view"):
                link(f"/datasets/{run.dataset}", run.dataset).classes("tl-inline-link")
            ui.label(_moment(run.started_at)).classes("tl-muted")
            with ui.element("div").classes("tl-push tl-actions"):
                if run.state in WITH_VERDICT and visitor.may("report.view"):
                    report_link(say(texts.REPORT), run.run)
                link("/runs", say(texts.BACK_TO_RUNS)).classes("tl-inline-link")
        _verdict(visitor, run)
        with ui.element("section").classes("tl-card tl-chart-card"):
            heading(say(texts.TRAINING), 2)
            show_curve(visitor, found.curve)
        _examination(visitor, found)
        if visitor.may("report.view"):
            await _samples(console, visitor, run.run)
        _told(visitor, found)


def _verdict(visitor: Visitor, run: RunView) -> None:
    say = visitor.say
    with ui.element("section").classes("tl-card"):
        heading(say(texts.VERDICT), 2)
        show_reasons(visitor, run)
        ui.label(say(texts.SYMPTOMS)).classes("tl-overline tl-gap")
        if not run.symptoms:
            ui.label(say(texts.NO_SYMPTOMS)).classes("tl-muted")
        for symptom in run.symptoms:
            said = reasons.symptom_said(symptom, visitor.language)
            ui.label(f"{said.name}: {said.meaning}").classes("tl-strong")
            if said.figures:
                ui.label("; ".join(said.figures)).classes("tl-muted")
            if said.remedy:
                ui.label(f"{say(texts.WHAT_TO_DO)} {said.remedy}").classes("tl-muted")


def _examination(visitor: Visitor, found: RunDetails) -> None:
    say = visitor.say
    with ui.element("section").classes("tl-section"):
        heading(say(texts.EXAMINATION), 2)
        if not found.figures:
            ui.label(say(texts.NOT_EXAMINED)).classes("tl-muted")
            return
        subjects = [one for one in texts.SUBJECTS if one in found.figures]
        with ui.element("div").classes("tl-card tl-table-card"):
            data_table(
                [say(texts.FIGURE), *(say(texts.SUBJECTS[one]) for one in subjects)],
                _figures([found.figures[one] for one in subjects], visitor.language),
            )


async def _samples(console: Console, visitor: Visitor, run: int) -> None:
    say = visitor.say
    found = await training.samples(console.core.database, visitor.actor, run)
    if not found:
        return
    with ui.element("section").classes("tl-section"):
        heading(say(texts.SAMPLES), 2)
        ui.label(say(texts.SAMPLES_MORE)).classes("tl-muted")
        for one in found:
            with ui.element("details").classes("tl-card tl-sample"):
                with ui.element("summary"):
                    ui.label(one.question)
                said = {
                    say(texts.APPROVED_ANSWER): one.reference,
                    **{say(texts.SUBJECTS[who]): one.answers.get(who, "") for who in texts.SUBJECTS},
                }
                with ui.element("div").classes("tl-sides"):
                    for who, text in said.items():
                        if text:
                            with ui.element("div").classes("tl-side"):
                                ui.label(who).classes("tl-overline")
                                prose(text)


def _told(visitor: Visitor, found: RunDetails) -> None:
    say = visitor.say
    told = {name: value for name, value in flat(found.settings).items() if value not in ("", None, [], {})}
    rows = [[called(name, visitor.language), shown(value, visitor.language)] for name, value in told.items()]
    with ui.element("section").classes("tl-section"):
        for reason in found.plan.get("reasons", ()):
            ui.label(kept_said(reason, visitor.language)).classes("tl-muted")
        if rows:
            charts.table_behind(say(texts.SETTINGS_OF_RUN), [say(texts.SETTING), ""], rows)


def _figures(columns: Sequence[Mapping[str, Any]], language: Language) -> list[list[str]]:
    """A row for each figure of an examination, called and ordered as in the report."""
    return _rows(
        columns,
        lambda value: f"{value:.3f}" if isinstance(value, int | float) else "–",
        lambda name: MEASURED[name].called.say(language) if name in MEASURED else called(name, language),
        first=[*MEASURED],
    )


def _rows(
    columns: Sequence[Mapping[str, Any]],
    shown: Callable[[Any], str],
    called: Callable[[str], str],
    first: Sequence[str] = (),
) -> list[list[str]]:
    """A row for each name that any column has, those of `first` before the others."""
    had = dict.fromkeys(name for column in columns for name in column)
    names = dict.fromkeys((*(name for name in first if name in had), *had))
    return [
        [called(name), *(shown(column[name]) if name in column else "–" for column in columns)]
        for name in names
    ]


def _state(visitor: Visitor, run: RunView) -> None:
    known = texts.RUN_STATES.get(run.state)
    chip(visitor.say(known) if known else run.state, run.state)


def _moment(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M} UTC"


def _number(text: str) -> int | None:
    """The number that an address names; None where it names none that a record could hold."""
    return (
        int(text) if text.isascii() and text.isdigit() and len(text) < 11 and int(text) <= MOST_ID else None
    )
