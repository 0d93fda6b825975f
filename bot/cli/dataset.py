"""`thumbloop dataset`: freezing the approved pairs, and looking at what was frozen."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from bot.cli import options, show
from bot.cli.start import record, start

if TYPE_CHECKING:
    from bot.commands.dataset import DatasetView
    from bot.settings import Settings
    from training.erasure import Erasure

app = typer.Typer(
    no_args_is_help=True, help="Freeze the approved pairs into a dataset, and look at datasets."
)


@app.command()
def build(context: typer.Context, as_json: options.AsJson = False) -> None:
    """Freeze every approved turn into the next version, unless nothing has changed."""
    built = asyncio.run(_build(start(context)))
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
    from training import erasure

    async with record(settings) as database, database.session(read_only=True) as session:
        return await erasure.erasures(session)


async def _build(settings: Settings) -> DatasetView:
    from bot.commands.dataset import view
    from training import dataset

    async with record(settings) as database:
        built = await dataset.build(
            database,
            settings.data,
            name=settings.training.adapter_name,
            settings=settings.training,
            default_persona=settings.persona,
        )
    return view(built)


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
            "left out": _counts(one.left_out),
            "folder": one.folder,
            "SHA-256": one.content_hash,
            "made": one.created_at,
            "fault": one.fault,
        },
        title=one.label,
    )


def _counts(counts: dict[str, int]) -> list[str]:
    return [f"{count:,} {name}" for name, count in counts.items()]
