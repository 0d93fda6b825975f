"""`thumbloop dataset`: freezing the approved pairs, and looking at what was frozen."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bot.cli import options, show
from bot.cli.start import record, start
from feedback.plural import counted

if TYPE_CHECKING:
    from bot.commands.dataset import ContradictionView, DatasetView
    from bot.settings import Settings
    from training.run.erasure import Erasure

app = typer.Typer(
    no_args_is_help=True, help="Freeze the approved pairs into a dataset, and look at datasets."
)


@app.command()
def build(
    context: typer.Context, adapter_name: options.AdapterName = None, as_json: options.AsJson = False
) -> None:
    """Freeze every approved turn into the next version, unless nothing has changed."""
    built = asyncio.run(_build(start(context), adapter_name))
    if as_json:
        show.as_json(built)
    else:
        _show_one(built)


@app.command("show")
def show_datasets(
    context: typer.Context,
    dataset: Annotated[
        str | None,
        typer.Argument(
            metavar="[DATASET]", help="name@version, or a name for its newest; left out, all are listed."
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """List the datasets, or show one and whether its files are whole."""
    settings = start(context)
    if dataset is None:
        found = asyncio.run(_list(settings))
        if as_json:
            show.as_json(found)
        elif not found:
            show.say("There is no dataset yet; `thumbloop dataset build` makes one.")
        else:
            show.table(
                ("dataset", "train", "validation", "examination", "made"),
                [(one.label, *one.pairs.values(), one.created_at) for one in found],
            )
        return
    one = asyncio.run(_show(settings, dataset))
    if as_json:
        show.as_json(one)
    else:
        _show_one(one)
    if one.fault:
        raise typer.Exit(1)


@app.command()
def contradictions(
    context: typer.Context, adapter_name: options.AdapterName = None, as_json: options.AsJson = False
) -> None:
    """List approved answers that contradict each other; left out of training until settled."""
    found = asyncio.run(_contradictions(start(context), adapter_name))
    if as_json:
        show.as_json(found)
        return
    for one in found:
        for side in one.answers:
            show.fields({"question": side.question, "answer": side.answer}, title=f"turn {side.turn}")
        show.say()
    show.say(
        f"{len(found)} to settle: `thumbloop review reject` or `edit` what is wrong; "
        "where somebody else decided, `undo` that first."
        if found
        else "No approved answers contradict each other."
    )


@app.command()
def erasures(context: typer.Context, as_json: options.AsJson = False) -> None:
    """List forget-me requests: how far they are, and which adapters learnt from the words."""
    found = asyncio.run(_erasures(start(context)))
    if as_json:
        show.as_json(found)
    elif not found:
        show.say("Nobody has asked to be forgotten.")
    else:
        show.table(
            ("request", "asked", "carried out", "turns", "datasets", "adapters", "in service"),
            [
                (
                    one.request,
                    one.requested_at,
                    one.carried_at or "not yet",
                    len(one.turns),
                    ", ".join(one.datasets),
                    ", ".join(one.adapters),
                    ", ".join(one.serving),
                )
                for one in found
            ],
        )


async def _erasures(settings: Settings) -> list[Erasure]:
    from training.run import erasure

    async with record(settings) as database, database.session(read_only=True) as session:
        return await erasure.erasures(session)


async def _build(settings: Settings, adapter_name: str | None) -> DatasetView:
    from bot import service
    from bot.commands.dataset import view
    from training.data import dataset

    chosen = settings.training.of_adapter(adapter_name)
    async with record(settings) as database:
        built = await dataset.build(
            database,
            settings.data,
            name=chosen.adapter_name,
            settings=chosen,
            default_persona=settings.persona,
            only=dataset.DatasetFilter.of(chosen.own),
            lookup=service.open_lookup(settings, database),
        )
    return view(built)


async def _contradictions(settings: Settings, adapter_name: str | None) -> list[ContradictionView]:
    from bot.commands import dataset

    async with record(settings) as database:
        return await dataset.contradictions(
            database, settings.training.of_adapter(adapter_name), settings.persona
        )


async def _list(settings: Settings) -> list[DatasetView]:
    from bot.commands import dataset

    async with record(settings) as database:
        return await dataset.list_datasets(database)


async def _show(settings: Settings, label: str) -> DatasetView:
    from bot.commands import dataset

    async with record(settings) as database:
        return await dataset.show(database, settings.data, label)


def _show_one(one: DatasetView) -> None:
    show.fields(
        {
            "pairs": _counts(one.pairs),
            "languages": _counts(one.languages),
            "task types": _counts(one.task_types),
            "only": [f"{name.replace('_', ' ')}: {', '.join(values)}" for name, values in one.filter.items()],
            "left out": _counts(one.left_out),
            "hygiene": [_finding(rule, found) for rule, found in one.hygiene.items()],
            "contradictions": f"{one.contradictions} apart; `thumbloop dataset contradictions` lists them"
            if one.contradictions
            else "",
            "quarantined": [
                f"{counted(count, 'approval')} by {reviewer}; "
                f"`thumbloop review trust {reviewer}` releases them"
                for reviewer, count in one.quarantined.items()
            ],
            "folder": one.folder,
            "SHA-256": one.content_hash,
            "made": one.created_at,
            "fault": one.fault,
        },
        title=one.label,
    )


def _finding(rule: str, found: dict[str, Any]) -> str:
    did = [f"{found[what]:,} {what}" for what in ("dropped", "changed") if found[what]]
    return f"{rule}: {', '.join(did)} ({', '.join(_counts(found['why']))})"


def _counts(counts: dict[str, int]) -> list[str]:
    return [f"{count:,} {name}" for name, count in counts.items()]
