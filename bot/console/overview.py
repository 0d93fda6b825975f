"""The overview: what was asked and liked by day, what waits, what serves where, runs, how the parts are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from nicegui import ui

from bot.commands import overview as looking
from bot.commands.adapter import EVERYWHERE
from bot.commands.overview import Answered, Approval, Overview
from bot.commands.review import PEOPLE
from bot.console import charts, texts
from bot.console.context import Console
from bot.console.layout import as_count, chip, data_table, frame, heading, link
from bot.console.reports import why
from bot.console.stations import show_stations
from bot.console.visitor import Visitor
from bot.health import Component
from bot.readiness import Readiness
from bot.texts import Text
from training.adapters.registry import BASE

CHOICES: Final = (7, looking.DAYS, 30, looking.MOST_DAYS)
"""How many days may be looked at."""


async def overview_page(console: Console, visitor: Visitor) -> None:
    """Build the page for one visitor."""
    days = _days(visitor)
    core = console.core
    seen = await looking.overview(core.database, visitor.actor, core.rollout, moment=core.clock(), days=days)
    next_run = await console.next_run() if console.next_run is not None else None
    parts = await Readiness(core, console.assistant).components()
    say = visitor.say
    with frame(visitor, "/overview", texts.OVERVIEW):
        with ui.element("div").classes("tl-head"):
            heading(say(texts.OVERVIEW), 1)
            with ui.element("div").classes("tl-choices tl-push").props("role=group"):
                for number in CHOICES:
                    choice = link(f"/overview?days={number}", say(texts.DAYS_SHOWN, days=number))
                    if number == days:
                        choice.props("aria-current=true")
        await show_stations(console, visitor)
        _tiles(visitor, seen, next_run)
        with ui.element("div").classes("tl-two"):
            _questions(visitor, seen)
            _approval(visitor, seen)
        _serving(visitor, seen)
        _health(visitor, parts)


def _days(visitor: Visitor) -> int:
    asked = visitor.address.get("days", "")
    return int(asked) if asked in map(str, CHOICES) else looking.DAYS


def _tiles(visitor: Visitor, seen: Overview, next_run: datetime | None) -> None:
    say = visitor.say
    with ui.element("div").classes("tl-tiles"):
        _tile(
            say(texts.WAITING_FOR_REVIEW), as_count(seen.waiting), "/review" if visitor.may("review") else ""
        )
        _tile(say(texts.GAPS), as_count(seen.gaps), "/review" if visitor.may("review") else "")
        if visitor.may("run.view"):
            if seen.running is not None:
                _tile(say(texts.RUN, number=seen.running.run), say(texts.RUN_NOW), "/runs")
            elif seen.last_run is not None:
                state = texts.RUN_STATES.get(seen.last_run.state)
                ended = say(state) if state else seen.last_run.state
                _tile(say(texts.LAST_RUN), f"{seen.last_run.run} · {ended}", f"/runs/{seen.last_run.run}")
            else:
                _tile(say(texts.LAST_RUN), say(texts.NO_RUN_YET), "/runs")
            planned = f"{next_run:%Y-%m-%d %H:%M} UTC" if next_run else say(texts.NOTHING_PLANNED)
            _tile(say(texts.NEXT_RUN), planned, "/runs")


def _tile(name: str, value: str, path: str) -> None:
    place = link(path, "") if path else ui.element("div")
    with place.classes("tl-tile"):
        ui.label(name).classes("tl-overline")
        ui.label(value).classes("tl-tile-value")


def _questions(visitor: Visitor, seen: Overview) -> None:
    say, shown = visitor.say, seen.adapters[: charts.MOST_SERIES]
    with ui.element("section").classes("tl-card tl-chart-card"):
        heading(say(texts.QUESTIONS_BY_DAY), 2)
        if not seen.answered:
            ui.label(say(texts.NO_QUESTIONS)).classes("tl-muted")
            return
        highest = max(seen.questions(day=day) for day in seen.days)
        charts.bar_chart(
            say(texts.QUESTIONS_CHART, count=seen.questions()),
            [
                charts.Bars(
                    _called(visitor, adapter),
                    tuple(float(seen.questions(adapter, day)) for day in seen.days),
                )
                for adapter in shown
            ],
            _bar_days(seen),
            charts.round_axis(highest, whole=True),
        )
        _table(visitor, seen, (texts.QUESTIONS,), lambda one: (f"{one.turns}",))


def _approval(visitor: Visitor, seen: Overview) -> None:
    say = visitor.say
    voted = [one for one in seen.adapters if seen.approval(one).votes][: charts.MOST_SERIES]
    with ui.element("section").classes("tl-card tl-chart-card"):
        heading(say(texts.APPROVAL_BY_DAY), 2)
        if not voted:
            ui.label(say(texts.NO_VOTES_YET)).classes("tl-muted")
            return
        charts.line_chart(
            say(texts.APPROVAL_CHART, share=_share(seen.approval())),
            [_approval_line(visitor, seen, adapter) for adapter in voted],
            _line_days(seen),
            charts.Axis(0.0, 1.0, tuple((part / 4, f"{part * 25} %") for part in range(5))),
        )
        with ui.element("div").classes("tl-scroll").props("tabindex=0"):
            data_table(
                [say(name) for name in (texts.ADAPTER, texts.VOTES_COLUMN, texts.APPROVAL, texts.INTERVAL)],
                [
                    [_called(visitor, one), f"{found.votes}", _share(found), _interval(found)]
                    for one in voted
                    for found in (seen.approval(one),)
                ],
            )
        columns = (texts.VOTES_COLUMN, texts.APPROVAL, texts.INTERVAL)
        _table(visitor, seen, columns, _votes)


def _approval_line(visitor: Visitor, seen: Overview, adapter: str) -> charts.Line:
    found = [seen.approval(adapter, day) for day in seen.days]
    return charts.Line(
        _called(visitor, adapter),
        tuple((float(at), one.share if one.votes else None) for at, one in enumerate(found)),
        tuple(one.interval if one.votes else None for one in found),
    )


def _votes(one: Answered) -> tuple[str, ...]:
    found = Approval(one.up, one.votes)
    return (f"{one.votes}", _share(found), _interval(found))


def _table(
    visitor: Visitor, seen: Overview, columns: Sequence[Text], cells: Callable[[Answered], tuple[str, ...]]
) -> None:
    say = visitor.say
    charts.table_behind(
        say(texts.AS_TABLE),
        [say(texts.DAY), say(texts.ADAPTER), *map(say, columns)],
        [[f"{one.day}", _called(visitor, one.adapter), *cells(one)] for one in seen.answered],
    )


def _serving(visitor: Visitor, seen: Overview) -> None:
    say = visitor.say
    with ui.element("section").classes("tl-section"):
        heading(say(texts.SERVING_WHERE), 2)
        with ui.element("div").classes("tl-card tl-table-card"):
            data_table(
                [say(name) for name in (texts.WHOM, texts.ADAPTER, texts.SINCE, texts.DECIDED_BY, texts.WHY)],
                [
                    [
                        say(texts.EVERYBODY) if one.whom == EVERYWHERE else one.whom,
                        _called(visitor, one.adapter),
                        f"{one.since:%Y-%m-%d %H:%M} UTC" if one.since else say(texts.FROM_THE_BEGINNING),
                        one.decided_by or "–",
                        why(visitor, one.reason, one.decided_by),
                    ]
                    for one in seen.serving
                ],
            )


def _health(visitor: Visitor, parts: Sequence[Component]) -> None:
    say = visitor.say
    with ui.element("section").classes("tl-section"):
        heading(say(texts.HEALTH), 2)
        with ui.element("div").classes("tl-card"), ui.element("ul").classes("tl-parts"):
            for part in parts:
                with ui.element("li"):
                    ui.label(part.name).classes("tl-strong")
                    kind = {"ok": "serving", "degraded": "warn", "down": "failed"}[part.state]
                    chip(say(texts.HEALTH_STATES[part.state]), kind)
                    if part.why:
                        ui.label(part.why).classes("tl-muted")


def _called(visitor: Visitor, adapter: str) -> str:
    known = {BASE: texts.BASE_MODEL, PEOPLE: texts.WRITTEN_BY_PEOPLE}.get(adapter)
    return visitor.say(known) if known else adapter


def _share(found: Approval) -> str:
    return f"{found.share:.0%}" if found.votes else "–"


def _interval(found: Approval) -> str:
    if not found.votes:
        return "–"
    low, high = found.interval
    return f"{low:.0%} – {high:.0%}"


def _bar_days(seen: Overview) -> charts.Axis:
    """Marks under the middles of bars."""
    number = len(seen.days)
    return charts.Axis(
        0.0, float(number), tuple((at + 0.5, f"{seen.days[at]:%m-%d}") for at in _some(number))
    )


def _line_days(seen: Overview) -> charts.Axis:
    number = len(seen.days)
    return charts.Axis(
        -0.5, number - 0.5, tuple((float(at), f"{seen.days[at]:%m-%d}") for at in _some(number))
    )


def _some(number: int) -> list[int]:
    """At most five places from the first to the last."""
    most = min(number, 5)
    return [round(place * (number - 1) / max(most - 1, 1)) for place in range(most)]
