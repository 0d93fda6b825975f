"""`thumbloop adapter export`, `import` and `examine`: adapters that come and go, and the verdict on them."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.cli import options, show
from bot.cli.retrain import show_outcome, told
from bot.cli.start import operator, record, start
from feedback.plural import counted

if TYPE_CHECKING:
    from bot.settings import Settings
    from training.adapters.exporting import Exported
    from training.adapters.importing import Imported
    from training.run.conclusion import Outcome

Label = Annotated[
    str, typer.Argument(metavar="ADAPTER", help="name@version, or a name for its newest version.")
]


def export(
    context: typer.Context,
    adapter: Label,
    place: Annotated[
        Path, typer.Argument(metavar="FOLDER|FILE.zip", help="Where to write it; not there yet.")
    ],
    as_json: options.AsJson = False,
) -> None:
    """Write an adapter as PEFT and vLLM load it, with a card that names nobody."""
    exported = asyncio.run(_export(start(context), adapter, place))
    if as_json:
        show.as_json(exported)
        return
    show.say(f"{exported.adapter} is in {exported.place}, for {exported.base_model}, rank {exported.rank}.")
    if exported.against_vllm:
        show.say(f"PEFT loads it; vLLM would not: {'; '.join(exported.against_vllm)}.")
    else:
        show.say(f"PEFT loads it, and vLLM: {exported.vllm}")


def import_adapter(
    context: typer.Context,
    source: Annotated[
        Path, typer.Argument(metavar="FOLDER|FILE.zip", help="A LoRA adapter as peft saves it.")
    ],
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="What to call it; the source's name by default.")
    ] = None,
    base_model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Your word that it was trained on the model here, by its name."),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Take an adapter from elsewhere into the registry, after looking through it; nothing serves yet."""
    chosen = name or re.sub(r"[^a-z0-9._-]+", "-", source.resolve().stem.lower()).strip("-._")
    with show.waiting("Looking through the adapter"):
        imported = asyncio.run(_import(start(context), source, chosen, base_model))
    if as_json:
        show.as_json(imported)
        return
    if imported.left_behind:
        show.note(f"Not taken over: {', '.join(imported.left_behind)}.")
    show.say(
        f"{imported.adapter} is a candidate: rank {imported.rank} on {counted(imported.layers, 'layer')}. "
        f"`thumbloop adapter examine {imported.adapter}` gives it its verdict; before that it serves nobody."
    )


def examine(context: typer.Context, adapter: Label, as_json: options.AsJson = False) -> None:
    """Examine an adapter on the present questions; the verdict becomes its state. What serves stays."""
    settings = start(context, log_to_stderr="warning")
    with show.ProgressView() as view:
        outcome = asyncio.run(_examine(settings, adapter, view))
    if as_json:
        show.as_json(told(outcome))
        return
    show_outcome(outcome)
    if outcome.verdict.promote:
        show.say(f"`thumbloop adapter switch {outcome.adapter}` lets it serve.")


async def _export(settings: Settings, adapter: str, place: Path) -> Exported:
    from training.adapters import exporting

    async with record(settings) as database:
        return await exporting.export(database, settings.data, adapter, place)


async def _import(settings: Settings, source: Path, name: str, confirmed_base: str | None) -> Imported:
    from training.adapters import importing

    async with record(settings) as database:
        base = await asyncio.to_thread(settings.model_choice.load)
        return await importing.import_adapter(
            database,
            settings.data,
            source,
            base,
            name=name,
            by=operator().name,
            confirmed_base=confirmed_base,
        )


async def _examine(settings: Settings, adapter: str, view: show.ProgressView) -> Outcome:
    from bot import service
    from training.run import background, examine

    name = adapter.partition("@")[0]
    chosen = settings.training.of_adapter(name if name in settings.training.names else None)
    async with record(settings) as database:
        background.step_back(chosen)
        lookup = service.open_lookup(settings, database)
        return await examine.examine(
            database,
            data=settings.data,
            model=settings.model_choice,
            settings=chosen,
            lookup=lookup,
            embed=lookup.embed if lookup else None,
            gate_settings=settings.gate,
            default_persona=settings.persona,
            wanted=adapter,
            started_by=operator().name,
            on_progress=view.training,
        )
