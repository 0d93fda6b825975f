"""The rounds of blind rating, for those who manage them: opened, closed, what they came to, exported."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Any, Final, Literal

from fastapi import FastAPI
from fastapi import Path as InPath
from nicegui import ui
from starlette.requests import Request
from starlette.responses import Response

from bot.commands import rating
from bot.console import texts
from bot.console.context import Console
from bot.console.layout import action, chip, data_table, heading, showing_errors, tell
from bot.console.reports import MOST_ID, not_found
from bot.console.visitor import Visitor, visitor_of
from feedback.errors import ThumbloopError
from feedback.rating_results import SCALES, Figure, Results
from feedback.ratings import RoundSummary
from feedback.words import RATING_SCALES

Format = Literal["csv", "jsonl"]
_MEDIA: Final[dict[Format, str]] = {"csv": "text/csv", "jsonl": "application/x-ndjson"}


class RatingRounds:
    """The part of the page that shows every round; `on_opened` is called when there is other work."""

    def __init__(self, console: Console, visitor: Visitor, on_opened: Callable[[], Awaitable[None]]) -> None:
        self._database = console.core.database
        self._visitor = visitor
        self._say = visitor.say
        self._on_opened = on_opened
        self._place = ui.element("section").classes("tl-section")

    async def show(self) -> None:
        """Read the rounds and show them with their results."""
        say, actor = self._say, self._visitor.actor
        runs = await rating.unrated_runs(self._database, actor)
        rounds = await rating.rounds(self._database, actor)
        found = {
            one.round_id: await rating.results(self._database, actor, one.round_id)
            for one in rounds
            if one.ratings
        }
        self._place.clear()
        with self._place:
            with ui.element("div").classes("tl-head"):
                heading(say(texts.ROUNDS), 2)
                if runs:
                    self._make_opener(runs)
            if not runs and not rounds:
                ui.label(say(texts.NO_RUN_TO_RATE)).classes("tl-muted")
            for one in rounds:
                self._make_round(one, found.get(one.round_id))

    def _make_opener(self, runs: list[rating.RatedRun]) -> None:
        say = self._say
        names = {run.run_id: f"{say(texts.RUN, number=run.run_id)} · {run.adapter}" for run in runs}
        chosen = ui.select(names, value=runs[0].run_id, label=say(texts.RUN_TO_RATE))
        chosen.props("outlined dense popup-content-class=tl-popup").classes("tl-text tl-choice tl-push")

        async def open_round() -> None:
            await rating.open_round(self._database, self._visitor.actor, int(chosen.value))
            tell(say(texts.ROUND_OPENED, run=chosen.value))
            await self.show()
            await self._on_opened()

        action(say(texts.OPEN_ROUND), "o_add", showing_errors(open_round))

    def _make_round(self, one: RoundSummary, found: Results | None) -> None:
        say = self._say
        name = say(texts.RUN, number=one.run_id)
        with ui.element("article").classes("tl-card tl-round").props(f'aria-label="{name}"'):
            with ui.element("div").classes("tl-meta"):
                heading(name, 3)
                chip(
                    say(texts.ROUND_CLOSED if one.closed else texts.ROUND_OPEN),
                    "plain" if one.closed else "serving",
                )
                ui.label(
                    say(texts.ROUND_COUNTS, questions=one.questions, ratings=one.ratings, raters=one.raters)
                ).classes("tl-muted")
            if found is not None:
                self._make_results(found)
            with ui.element("div").classes("tl-actions"):
                if one.ratings:
                    for kind in _MEDIA:
                        name_of_link = say(texts.EXPORT_RATINGS, run=one.run_id, kind=kind.upper())
                        link = ui.link(kind.upper(), f"/ratings/{one.round_id}.{kind}")
                        link.classes("tl-link-button").props(f'download aria-label="{name_of_link}"')
                if not one.closed:
                    action(
                        say(texts.CLOSE_ROUND), "o_lock", showing_errors(partial(self._close, one.round_id))
                    ).props(f'aria-label="{say(texts.CLOSE_ROUND)}: {name}"')

    async def _close(self, round_id: int) -> None:
        await rating.close_round(self._database, self._visitor.actor, round_id)
        await self.show()
        await self._on_opened()

    def _make_results(self, found: Results) -> None:
        """Make the table of means, differences and agreement, and what may be concluded."""
        say = self._say
        columns = [
            say(texts.SCALE),
            *(say(texts.SUBJECTS[subject]) for subject in found.figures),
            *(say(texts.DIFFERENCE_TO, rival=say(texts.SUBJECTS[rival])) for rival in found.differences),
            say(texts.AGREEMENT),
        ]
        rows = []
        for scale in RATING_SCALES:
            agreed = found.agreement[scale]
            rows.append(
                [
                    say(SCALES[scale]),
                    *(_with_range(of[scale], "{:.2f}") for of in found.figures.values()),
                    *(_with_range(of[scale], "{:+.2f}") for of in found.differences.values()),
                    "–" if agreed is None else f"{agreed:.2f}",
                ]
            )
        data_table(columns, rows)
        for rival in found.differences:
            rival_name = say(texts.SUBJECTS[rival])
            for text, finding in ((texts.SURELY_BETTER, "better"), (texts.SURELY_WORSE, "worse")):
                sure = found.surely(finding, rival)  # type: ignore[arg-type]
                if sure:
                    names = ", ".join(say(SCALES[scale]) for scale in sure)
                    ui.label(say(text, scales=names, rival=rival_name)).classes("tl-strong")
        ui.label(say(texts.RESULTS_MORE, confidence=f"{100 * found.confidence:g}")).classes("tl-muted")


def serve_ratings(app: FastAPI, console: Console) -> None:
    """Let `app` answer /ratings/N.csv and /ratings/N.jsonl with the ratings of round N."""

    @app.get("/ratings/{round_id}.{kind}", response_model=None)
    async def exported(
        request: Request, round_id: Annotated[int, InPath(ge=1, le=MOST_ID)], kind: Format
    ) -> Response:
        try:
            rows = await rating.export(console.core.database, visitor_of(request).actor, round_id)
        except ThumbloopError as error:
            return not_found(request, error)
        return Response(
            _as_csv(rows)
            if kind == "csv"
            else "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows),
            media_type=_MEDIA[kind],
            headers={"Content-Disposition": f'attachment; filename="ratings-{round_id}.{kind}"'},
        )


def _as_csv(rows: list[dict[str, Any]]) -> str:
    """The rows with a line of names; a cell that a spreadsheet would calculate is made text."""
    written = io.StringIO()
    if rows:
        writer = csv.DictWriter(written, list(rows[0]))
        writer.writeheader()
        writer.writerows({name: _inert(value) for name, value in row.items()} for row in rows)
    return written.getvalue()


def _inert(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def _with_range(found: Figure, form: str) -> str:
    said = form.format(found.mean)
    if found.questions > 1:
        said += f" ({form.format(found.low)} … {form.format(found.high)})"
    return f"{said}, p = {found.p:.3f}" if found.p is not None and found.questions > 1 else said
