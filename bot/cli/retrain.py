"""`thumbloop retrain`: one run from the approved pairs to a verdict; what the schedule starts, too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bot.cli import options, show
from bot.cli.start import operator, record, start

if TYPE_CHECKING:
    from bot.commands.training import RunView
    from bot.settings import Settings
    from training.fit.forecast import Forecast
    from training.run.conclusion import Outcome


def retrain(
    context: typer.Context,
    status: Annotated[
        bool, typer.Option("--status", help="Show the last runs instead, and how far one under way is.")
    ] = False,
    plan: Annotated[
        bool,
        typer.Option("--plan", help="Only say what a run would do, and what time and memory it would take."),
    ] = False,
    cancel: Annotated[
        bool,
        typer.Option(
            "--cancel", help="Stop the run under way; the next one goes on with what it has trained."
        ),
    ] = False,
    if_due: Annotated[
        bool, typer.Option("--if-due", help="Only when enough new pairs are approved; as the schedule does.")
    ] = False,
    adapter_name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Which adapter, of those in training.adapters; training.adapter_name by default.",
        ),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Let a run that is under way end first.")] = False,
    started_by: Annotated[
        str | None, typer.Option(metavar="WHO", help="Who the record names; you by default.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Train a new adapter on the approved pairs, examine it, and let it serve if it is better."""
    settings = start(context, log_to_stderr="warning")
    if status:
        _show_runs(asyncio.run(_history(settings)), as_json)
        return
    if cancel:
        run = asyncio.run(_cancel(settings))
        show.as_json({"run": run}) if as_json else show.say(
            f"Run {run} is told to stop. `thumbloop retrain` goes on with what it has trained."
        )
        return
    if plan:
        forecast = asyncio.run(_planned(settings, adapter_name))
        show.as_json(_plan_told(forecast)) if as_json else _show_plan(forecast, show.say)
        return
    with show.ProgressView() as view:
        work = _retrain(settings, adapter_name, started_by or operator().name, view, if_due=if_due, wait=wait)
        outcome = asyncio.run(work)
    if as_json:
        show.as_json(told(outcome) if outcome else None)
    elif outcome is None:
        show.say("Too few pairs were approved since the last run, so none was started.")
    else:
        show_outcome(outcome)


async def _retrain(
    settings: Settings,
    adapter_name: str | None,
    started_by: str,
    view: show.ProgressView,
    *,
    if_due: bool,
    wait: bool,
) -> Outcome | None:
    from bot import service
    from training.errors import NotDue
    from training.run import background, retrain

    chosen = settings.training.of_adapter(adapter_name)
    async with record(settings) as database:
        background.step_back(chosen)
        lookup = service.open_lookup(settings, database)
        try:
            return await retrain.retrain(
                database,
                data=settings.data,
                model=settings.model_choice,
                settings=chosen,
                lookup=lookup,
                embed=lookup.embed if lookup else None,
                gate_settings=settings.gate,
                share=settings.rollout.share,
                default_persona=settings.persona,
                started_by=started_by,
                wait=wait,
                only_if_due=if_due,
                on_plan=lambda forecast: _show_plan(forecast, show.note),
                on_progress=view.training,
            )
        except NotDue:
            return None


async def _planned(settings: Settings, adapter_name: str | None) -> Forecast:
    from bot import service
    from training.run import retrain

    async with record(settings) as database:
        return await retrain.planned(
            database,
            data=settings.data,
            model=settings.model_choice,
            settings=settings.training.of_adapter(adapter_name),
            default_persona=settings.persona,
            lookup=service.open_lookup(settings, database),
        )


def _show_plan(forecast: Forecast, say: Callable[[object], None]) -> None:
    for reason in forecast.reasons:
        say(reason.en)


def _plan_told(forecast: Forecast) -> dict[str, Any]:
    """A plan for other programs, its reasons as sentences."""
    return forecast.described() | {"reasons": [reason.en for reason in forecast.reasons]}


async def _cancel(settings: Settings) -> int:
    from bot.commands import training

    async with record(settings) as database:
        return await training.cancel(database, operator())


async def _history(settings: Settings) -> list[RunView]:
    from bot.commands import training

    async with record(settings) as database:
        return await training.history(database)


def _show_runs(runs: list[RunView], as_json: bool) -> None:
    if as_json:
        show.as_json(runs)
    elif not runs:
        show.say("No adapter has been trained yet; `thumbloop retrain` trains one.")
    else:
        show.table(
            ("run", "state", "how far", "adapter", "dataset", "started", "ended", "by"),
            [
                (
                    run.run,
                    run.state,
                    _how_far(run),
                    run.adapter,
                    run.dataset,
                    run.started_at,
                    run.finished_at,
                    run.started_by,
                )
                for run in runs
            ],
        )
        if runs[0].verdict:
            show.say(f"Run {runs[0].run}: {runs[0].verdict}")


def _how_far(run: RunView) -> str:
    done, total = run.progress.get("done", 0), run.progress.get("total", 0)
    if run.state != "running":
        return ""
    return f"{run.step} {done}/{total}" if total else run.step


def told(outcome: Outcome) -> dict[str, Any]:
    """A run's outcome for other programs, its verdict's reasons as sentences."""
    verdict = vars(outcome.verdict) | {"reasons": [*map(str, outcome.verdict.reasons)]}
    return vars(outcome) | {"verdict": verdict}


def show_outcome(outcome: Outcome) -> None:
    """The figures of a run side by side, and its verdict."""
    subjects = list(outcome.metrics)
    show.table(
        ("on held-out questions", *subjects),
        [
            (name.replace("_", " "), *(outcome.metrics[subject].get(name) for subject in subjects))
            for name in outcome.metrics["candidate"]
        ],
    )
    steps = ", ".join(f"{step} {show.duration(seconds)}" for step, seconds in outcome.seconds.items())
    show.say(f"Run {outcome.run}: {steps}.")
    show.say(f"{outcome.adapter}. {outcome.verdict}", style="bold")
    for symptom in outcome.symptoms:
        show.say(f"{str(symptom)[0].upper()}{str(symptom)[1:]}")
    if outcome.report is not None:
        show.say(f"Report: {outcome.report}")
