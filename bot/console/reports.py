"""Runs' reports in the console: the one page of each, by its number and nothing else of the data folder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final

from fastapi import FastAPI
from fastapi import Path as InPath
from nicegui import ui
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from bot.console import texts
from bot.console.context import Console
from bot.console.layout import sentence_of
from bot.console.plain import language_of, refusal
from bot.console.visitor import Visitor, visitor_of
from feedback.errors import ThumbloopError
from training.examination.reasons import is_verdict

MOST_ID = 2**31 - 1
"""The largest id that PostgreSQL's integer column holds."""


_HEADERS: Final = {
    "Cache-Control": "no-cache",
    # beside the policy inside the page, which names its one script by hash; a page cannot say these itself
    "Content-Security-Policy": "form-action 'none'; frame-ancestors 'none'",
}


def report_link(name: str, run: int) -> None:
    """A link to the report of that run, in a tab of its own."""
    link = ui.link(name, f"/reports/{run}", new_tab=True).classes("tl-report-link")
    link.props(f'aria-label="{name}: {run}"')


def why(visitor: Visitor, reason: str, decided_by: str) -> str | Callable[[], None]:
    """Why an adapter serves, for a table's cell; a run's verdict is a page long, and stands on the run's."""
    if not is_verdict(reason):
        return reason or "–"
    run = decided_by.removeprefix("run ")
    if not run.isdigit() or not visitor.may("run.view"):
        return visitor.say(texts.GATE_PROMOTED)

    def cell() -> None:
        with ui.element("div"):
            ui.label(visitor.say(texts.GATE_PROMOTED))
            ui.link(visitor.say(texts.REASONS_OF_RUN), f"/runs/{run}").classes("tl-inline-link")

    return cell


def not_found(request: Request, error: ThumbloopError) -> Response:
    """That there is no such file, in the reader's language."""
    return refusal(request, sentence_of(error, visitor_of(request)), status=404)


def serve_reports(app: FastAPI, console: Console) -> None:
    """Let `app` answer /reports/N with the report of run N in its reader's language."""

    @app.get("/reports/{run}", response_model=None)
    async def report_of(request: Request, run: Annotated[int, InPath(ge=1, le=MOST_ID)]) -> Response:
        from training.run import report

        try:
            page = await report.ready(console.core.database, console.core.data, run, language_of(request))
        except ThumbloopError as error:
            return not_found(request, error)
        return FileResponse(page, media_type="text/html", headers=_HEADERS)
