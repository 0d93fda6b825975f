"""`thumbloop doctor`: what is well, what is not, and what to do about it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import typer

from bot.cli import options, show
from bot.cli.start import start
from feedback.errors import SettingsError

if TYPE_CHECKING:
    from bot.doctor import Finding

_SIGNS: Final = {"ok": "ok", "note": "note", "warning": "WARNING", "fault": "FAULT"}


def doctor(context: typer.Context, as_json: options.AsJson = False) -> None:
    """Check settings, disk, database, model, accelerator and adapters; say what to do about each fault."""
    findings = _examine(context)
    if as_json:
        show.as_json(findings)
    else:
        for finding in findings:
            show.say(f"{_SIGNS[finding.severity]:<8}{finding.name:<14}{finding.detail}")
            if finding.remedy:
                show.say(f"{'':<22}→ {finding.remedy}")
    faults = sum(finding.severity == "fault" for finding in findings)
    if faults:
        if not as_json:
            show.say(f"{faults} fault{'s' if faults > 1 else ''} to mend.")
        raise typer.Exit(1)


def _examine(context: typer.Context) -> list[Finding]:
    from bot import doctor

    try:
        settings = start(context)
    except SettingsError as error:
        return [doctor.Finding("settings", "fault", error.problem, error.remedy)]
    with show.waiting("Examining"):
        return asyncio.run(doctor.examine(settings))
