"""All verbs of `thumbloop`, put together. Importing a verb is cheap; the rest comes when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bot.cli import (
    adapter,
    api_key,
    ask,
    backup,
    chat,
    console,
    dataset,
    db,
    demo,
    doctor,
    export_file,
    import_file,
    knowledge,
    report,
    restore,
    retrain,
    review,
    schedule,
    serve,
    status,
)
from bot.cli.start import invocation

_LOOP = "The loop"
_RECORD = "The record"
_SERVICE = "The service"


def build_app() -> typer.Typer:
    """The application, its verbs in the order of the help."""
    app = typer.Typer(name="thumbloop", no_args_is_help=True, pretty_exceptions_enable=False)
    app.callback()(_thumbloop)
    for verb in (demo.demo, ask.ask, chat.chat):
        app.command(rich_help_panel=_LOOP)(verb)
    app.add_typer(review.app, name="review", rich_help_panel=_LOOP)
    app.add_typer(knowledge.app, name="knowledge", rich_help_panel=_LOOP)
    app.add_typer(dataset.app, name="dataset", rich_help_panel=_LOOP)
    app.command(rich_help_panel=_LOOP)(retrain.retrain)
    app.command(rich_help_panel=_LOOP)(report.report)
    app.add_typer(adapter.app, name="adapter", rich_help_panel=_LOOP)
    app.command(rich_help_panel=_SERVICE)(serve.serve)
    app.command(rich_help_panel=_SERVICE)(status.status)
    app.add_typer(schedule.app, name="schedule", rich_help_panel=_SERVICE)
    app.add_typer(console.app, name="console", rich_help_panel=_SERVICE)
    app.command("api-key", rich_help_panel=_SERVICE)(api_key.api_key)
    app.command(rich_help_panel=_SERVICE)(doctor.doctor)
    app.add_typer(db.app, name="db", rich_help_panel=_RECORD)
    app.command(rich_help_panel=_RECORD)(backup.backup)
    app.command(rich_help_panel=_RECORD)(restore.restore)
    app.command("import", rich_help_panel=_RECORD)(import_file.import_file)
    app.command("export", rich_help_panel=_RECORD)(export_file.export_file)
    return app


def _thumbloop(
    context: typer.Context,
    data: Annotated[
        Path | None, typer.Option(help="Data folder; as THUMBLOOP_DATA, which is ./data by default.")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and leave.", callback=lambda v: _version(v))
    ] = False,
) -> None:
    """A community bot that trains itself on the answers its moderators approved: thumbs in, loop closed."""
    invocation(context).data = data


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"thumbloop {version('thumbloop')}")
        raise typer.Exit
