"""`thumbloop demo`: the whole loop to look at, or (`--check`) run through by itself."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.cli import options, show
from bot.cli.start import start

if TYPE_CHECKING:
    from bot.demo.check import CheckResult, Station
    from bot.service import ServiceReady
    from bot.settings import Settings


def demo(
    context: typer.Context,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Run the loop once in a temporary folder, without a browser; takes minutes."
        ),
    ] = False,
    keep: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="With --check: keep what the run makes in this folder."),
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port of the web console; 0 takes a free one.")
    ] = None,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the console in a browser.")
    ] = True,
    as_json: options.AsJson = False,
) -> None:
    """Open a seeded demo community: ask, vote, approve, retrain, switch, ask again."""
    settings = start(context, log_to_stderr="warning")
    if check:
        _check(keep, as_json)
        return
    if port is not None:
        settings = settings.model_copy(update={"web": settings.web.model_copy(update={"port": port})})
    _serve(settings, browser=browser)


def _serve(settings: Settings, *, browser: bool) -> None:
    from bot.demo.run import serve_demo

    def ready(service: ServiceReady) -> None:
        for line in service.lines:
            show.say(line)
        if browser:
            import webbrowser

            webbrowser.open(service.console_url)

    show.note("Starting the demo …")
    stopped = asyncio.run(serve_demo(settings, on_ready=ready, on_step=lambda step: show.note(f"{step} …")))
    show.say("Stopped.")
    if stopped:
        show.say(stopped)


def _check(keep: Path | None, as_json: bool) -> None:
    from bot.demo.check import run_check

    with show.ProgressView() as view:
        result = asyncio.run(run_check(keep=keep, report=_report, on_progress=view.training))
    if as_json:
        show.as_json(result)
    else:
        _show_result(result)
    if not result.ok:
        raise typer.Exit(1)


def _report(station: Station) -> None:
    show.note(f"{'ok    ' if station.ok else 'FAILED'} {station.name} · {show.duration(station.seconds)}")


def _show_result(result: CheckResult) -> None:
    show.table(
        ("station", "result", "time", "what happened"),
        [
            (one.name, "ok" if one.ok else "FAILED", show.duration(one.seconds), one.detail)
            for one in result.stations
        ],
        title="Stations of the loop",
    )
    names = [name for name in result.metrics.get("base", {}) if name in result.metrics.get("candidate", {})]
    show.table(
        ("metric", "base", "candidate"),
        [(name, result.metrics["base"][name], result.metrics["candidate"][name]) for name in names],
        title="On held-out questions",
    )
    for question, base, adapter in result.answers:
        show.fields({"base": base, "adapter": adapter}, title=question)
        show.say()
    show.say("The loop is closed." if result.ok else "The loop is not closed: see the stations above.")
