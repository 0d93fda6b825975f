"""`thumbloop schedule`: the jobs that run by themselves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bot.cli import options, show
from bot.cli.start import operator, record, start

if TYPE_CHECKING:
    from bot.schedule import JobView
    from bot.settings import Settings

app = typer.Typer(no_args_is_help=True, help="See and steer the jobs that run by themselves.")

Job = Annotated[str, typer.Argument(metavar="[JOB]", help="The job.")]


@app.command("list")
def list_jobs(context: typer.Context, as_json: options.AsJson = False) -> None:
    """Show the jobs and when each runs next."""
    jobs = asyncio.run(_list(start(context)))
    if as_json:
        show.as_json(jobs)
    elif not jobs:
        show.say("No job is scheduled; THUMBLOOP_SCHEDULE__RETRAIN says when to retrain.")
    else:
        show.table(
            ("job", "what", "when", "next"),
            [(job.id, job.title, job.trigger, "paused" if job.paused else job.next_run) for job in jobs],
        )
        for job in jobs:
            if job.settings_here:
                show.note(
                    f"{job.id}: the settings here say otherwise ({job.settings_here}). "
                    "The service follows them when it is started with them."
                )


@app.command()
def run_now(context: typer.Context, job: Job = "retrain") -> None:
    """Start a job's training run now, in a process of its own."""
    show.say(asyncio.run(_run_now(start(context), job)))


@app.command()
def pause(context: typer.Context, job: Job = "retrain", as_json: options.AsJson = False) -> None:
    """Let a job rest until it is resumed."""
    _show_job(asyncio.run(_change(start(context), job, "pause")), as_json)


@app.command()
def resume(context: typer.Context, job: Job = "retrain", as_json: options.AsJson = False) -> None:
    """Let a paused job run again."""
    _show_job(asyncio.run(_change(start(context), job, "resume")), as_json)


async def _list(settings: Settings) -> list[JobView]:
    from bot import schedule

    async with record(settings) as database:
        return await schedule.list_jobs(database, settings.schedule, settings.training, settings.data)


async def _run_now(settings: Settings, job: str) -> str:
    from bot import schedule
    from bot.commands import training
    from feedback.errors import UsageError

    if job == schedule.REFRESH:
        raise UsageError(f"{job} is no training run.", "`thumbloop knowledge refresh --all` does it now.")
    adapter = schedule.adapter_of(job, settings.training)
    async with record(settings) as database:
        await training.refuse_to_start(database, settings.training, settings.persona, adapter)
        process = training.start_detached(settings.data, started_by=operator(), adapter_name=adapter)
    return (
        f"A training run of {adapter} has started (process {process}); "
        "`thumbloop retrain --status` shows how far it is."
    )


async def _change(settings: Settings, job: str, change: Literal["pause", "resume"]) -> JobView:
    from bot import schedule

    async with record(settings) as database:
        steer = schedule.pause if change == "pause" else schedule.resume
        return await steer(database, settings.schedule, settings.training, settings.data, job)


def _show_job(job: JobView, as_json: bool) -> None:
    if as_json:
        show.as_json(job)
    else:
        when = "is paused" if job.paused else f"runs next at {show.moment(job.next_run)}"
        show.say(f"{job.id} {when}.")
