"""`thumbloop status`: what serves whom and why, what runs, what is next, what is wrong."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer

from bot.cli import options, show
from bot.cli.start import record, start
from feedback.errors import DatabaseError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bot.commands.training import RunView
    from bot.settings import Settings
    from bot.status import Status

LOOK_AGAIN_SECONDS: Final = 2.0


def status(
    context: typer.Context,
    watch: Annotated[
        bool, typer.Option("--watch", help="Stay, and show it anew every two seconds until Ctrl-C.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Show what serves whom since when and why, what runs, what is next, and what is wrong."""
    settings = start(context)
    if watch and not as_json:
        with show.live_page() as draw:
            try:
                asyncio.run(_watch(settings, draw))
            except KeyboardInterrupt:  # how a live page is left
                return
    found = asyncio.run(_look(settings))
    show.as_json(found) if as_json else show.page(_page(found))


async def _look(settings: Settings) -> Status:
    from bot import status

    async with record(settings) as database:
        return await status.look(settings, database)


async def _watch(settings: Settings, draw: Callable[[Sequence[RenderableType]], None]) -> None:
    from bot import status

    async with record(settings) as database:
        while True:
            try:
                draw(_page(await status.look(settings, database)))
            except DatabaseError as error:  # it may come back while somebody watches
                draw([show.line(str(error), style="bold red")])
            await asyncio.sleep(LOOK_AGAIN_SECONDS)


def _page(status: Status) -> list[RenderableType]:
    parts: list[RenderableType] = [
        show.line(f"{show.moment(status.at)} · the service {_service(status)}"),
        show.drawn_table(
            ("whom", "adapter", "since", "decided by", "why"),
            [
                (one.whom, one.adapter, one.since, one.decided_by, _beginning(one.reason))
                for one in status.serving
            ],
            title="What serves",
        ),
        show.line(f"Running: {_running(status.running)}"),
        show.line(f"Last run: {_ended(status.last_run)}"),
    ]
    if status.jobs:
        parts.append(
            show.drawn_table(
                ("job", "when", "next"),
                [(job.id, job.trigger, "paused" if job.paused else job.next_run) for job in status.jobs],
                title=f"What is next{_by(status)}",
            )
        )
    else:
        parts.append(show.line("What is next: nothing is scheduled."))
    if not status.troubles:
        return [*parts, show.line("Nothing is wrong.", style="green")]
    wrong = [show.line(f"{one.where}: {one.what}", style="red") for one in status.troubles]
    return [*parts, show.line("What is wrong", style="bold"), *wrong]


def _by(status: Status) -> str:
    return f", run by {status.jobs_run_by}" if status.service == "runs" and status.jobs_run_by else ""


def _service(status: Status) -> str:
    if status.service == "runs":
        return f"runs on port {status.port}"
    if status.service == "does not run":
        return f"does not run on port {status.port}"
    return f"does not run: another program answers on port {status.port}"


def _running(run: RunView | None) -> str:
    if run is None:
        return "no training."
    done, total = run.progress.get("done", 0), run.progress.get("total", 0)
    far = f"{run.step} {done}/{total}" if total else run.step
    return f"run {run.run} of {run.adapter}, {far}, since {show.moment(run.started_at)}, by {run.started_by}"


def _ended(run: RunView | None) -> str:
    if run is None:
        return "none yet."
    said = _beginning(run.verdict) or run.state
    return f"run {run.run} of {run.adapter}, {show.moment(run.finished_at)}: {said}"


def _beginning(text: str) -> str:
    """The first sentence: a whole verdict would push what is wrong off a live page."""
    return re.split(r"(?<=[.!?])\s", text, maxsplit=1)[0]
