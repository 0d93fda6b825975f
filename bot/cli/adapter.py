"""`thumbloop adapter`: which adapters there are, which one serves whom, and changing that."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bot.cli import adapter_lineage, adapter_transfer, options, show
from bot.cli.start import operator, record, start
from feedback.errors import UsageError

if TYPE_CHECKING:
    from bot.commands.adapter import AdapterDetails, AdapterSummary, Pinned, Served, Switched
    from bot.core import ModelIdentity
    from bot.settings import Settings

app = typer.Typer(no_args_is_help=True, help="See the adapters, switch between them, and go back.")
app.command()(adapter_lineage.lineage)
app.command()(adapter_transfer.export)
app.command("import")(adapter_transfer.import_adapter)
app.command()(adapter_transfer.examine)

Label = Annotated[
    str, typer.Argument(metavar="ADAPTER", help="name@version, a name for its newest version, or base.")
]


@app.command("list")
def list_adapters(
    context: typer.Context,
    everything: Annotated[
        bool, typer.Option("--all", help="With those whose files were deleted by `adapter prune`.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Show every adapter, the base model first."""
    found = asyncio.run(_list(start(context), everything))
    if as_json:
        show.as_json(found)
        return
    show.table(
        ("adapter", "state", "held-out loss", "made", "pinned", "serves"),
        [
            (
                one.label,
                one.state,
                one.metrics.get("candidate", {}).get("loss"),
                one.created_at,
                "pinned" if one.pinned else "",
                one.serves,
            )
            for one in found
        ],
    )


@app.command("show")
def show_adapter(context: typer.Context, adapter: Label, as_json: options.AsJson = False) -> None:
    """Show everything about one adapter, and whether its files are whole."""
    details = asyncio.run(_details(start(context), adapter))
    if as_json:
        show.as_json(details)
    elif details is None:
        show.say("base is the model itself, without an adapter.")
    else:
        _show_details(details)


@app.command()
def switch(
    context: typer.Context,
    adapter: Label,
    community: options.Community = None,
    reason: Annotated[str, typer.Option(help="Why; kept with the deployment.")] = "",
    share: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE", help="As a canary: of how many conversations, above 0 and below 1, say 0.1."
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Let an adapter serve from now on: everyone, or one community; or as a canary a share of them."""
    settings = start(context)
    if share is None:
        _show_switch(asyncio.run(_switch(settings, adapter, community, reason)), as_json)
        return
    asyncio.run(_begin_canary(settings, adapter, share, community, reason))
    if as_json:
        show.as_json({"adapter": adapter, "share": share, "community": community})
    else:
        show.say(
            f"{adapter} answers {share:.0%} of conversations now. `thumbloop status` says how it does there."
        )


@app.command()
def rollback(
    context: typer.Context, community: options.Community = None, as_json: options.AsJson = False
) -> None:
    """Let what served before serve again; repeated, one step further back."""
    _show_switch(asyncio.run(_rollback(start(context), community)), as_json)


@app.command()
def overrule(
    context: typer.Context,
    adapter: Label,
    verdict: Annotated[Literal["promote", "reject"], typer.Argument(help="What stands from now on.")],
    reason: Annotated[str, typer.Option(help="Why; kept with who decided it.")],
    as_json: options.AsJson = False,
) -> None:
    """Promote an adapter that the gate rejected, or reject one that it promoted. What serves stays."""
    label = asyncio.run(_overrule(start(context), adapter, verdict == "promote", reason))
    if as_json:
        show.as_json({"adapter": label, "verdict": verdict, "reason": reason})
    elif verdict == "promote":
        show.say(f"{label} is promoted. `thumbloop adapter switch {label}` lets it serve.")
    else:
        show.say(f"{label} is rejected.")


@app.command()
def pin(context: typer.Context, adapter: Label, as_json: options.AsJson = False) -> None:
    """Keep an adapter's files whatever is pruned."""
    _show_pin(asyncio.run(_pin(start(context), adapter, pinned=True)), as_json)


@app.command()
def unpin(context: typer.Context, adapter: Label, as_json: options.AsJson = False) -> None:
    """Let an adapter be pruned again."""
    _show_pin(asyncio.run(_pin(start(context), adapter, pinned=False)), as_json)


@app.command()
def prune(
    context: typer.Context,
    keep: Annotated[
        int | None,
        typer.Option(min=1, help="Newest versions of each name to keep; training.keep_versions by default."),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Delete; without it, only what would be deleted is shown.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Delete the files of adapters that nobody needs.

    Kept is what serves anybody, what a rollback would bring back, what is pinned, what waits for its verdict,
    and the newest versions of each name. A deleted adapter's row stays, and tells its lineage.
    """
    settings = start(context)
    newest = keep or settings.training.keep_versions
    if not newest:
        raise UsageError(
            "How many versions of each name to keep is not said.",
            "Add --keep 5, or set training.keep_versions (THUMBLOOP_TRAINING__KEEP_VERSIONS).",
        )
    labels = asyncio.run(_prune(settings, newest, yes))
    if as_json:
        show.as_json({"keep": newest, "deleted": yes, "adapters": labels})
    elif not labels:
        show.say("There is nothing to prune.")
    elif yes:
        show.say(f"Deleted the files of {', '.join(labels)}.")
    else:
        show.say(
            f"The files of {', '.join(labels)} would be deleted; nothing is yet. Add --yes to delete them."
        )


async def _list(settings: Settings, everything: bool) -> list[AdapterSummary]:
    from bot.commands import adapter

    async with record(settings) as database:
        return await adapter.list_adapters(database, retired=everything)


async def _overrule(settings: Settings, label: str, promote: bool, reason: str) -> str:
    from bot.commands import adapter

    async with record(settings) as database:
        return await adapter.overrule(database, label, promote=promote, by=operator(), reason=reason)


async def _pin(settings: Settings, label: str, *, pinned: bool) -> Pinned:
    from bot.commands import adapter

    async with record(settings) as database:
        return await adapter.pin(database, label, by=operator(), pinned=pinned)


async def _prune(settings: Settings, keep: int, yes: bool) -> list[str]:
    from bot.commands import adapter

    async with record(settings) as database:
        if yes:
            return await adapter.prune(database, settings.data, keep=keep, by=operator())
        return await adapter.prunable(database, keep)


async def _details(settings: Settings, label: str) -> AdapterDetails | None:
    from bot.commands import adapter

    async with record(settings) as database:
        return await adapter.show(database, settings.data, label)


async def _model(settings: Settings) -> ModelIdentity:
    """The model that an adapter must belong to."""
    from bot.core import ModelIdentity

    choice = settings.model_choice
    return ModelIdentity(choice.display_name, await asyncio.to_thread(choice.present_revision))


async def _switch(settings: Settings, label: str, community: str | None, reason: str) -> Switched:
    from bot.commands import adapter

    async with record(settings) as database:
        return await adapter.switch(
            database,
            settings.data,
            label,
            model=await _model(settings),
            by=operator(),
            reason=reason,
            community=community,
        )


async def _begin_canary(
    settings: Settings, label: str, share: float, community: str | None, reason: str
) -> None:
    from bot.commands import adapter

    async with record(settings) as database:
        await adapter.begin_canary(
            database,
            settings.data,
            label,
            share,
            model=await _model(settings),
            by=operator(),
            reason=reason,
            community=community,
        )


async def _rollback(settings: Settings, community: str | None) -> Switched:
    from bot.commands import adapter

    async with record(settings) as database:
        return await adapter.rollback(
            database,
            settings.data,
            model=await _model(settings),
            by=operator(),
            community=community,
        )


def _show_switch(switched: Switched, as_json: bool) -> None:
    if as_json:
        show.as_json(switched)
    elif switched.changed:
        show.say(f"{switched.now} serves {switched.whom} now; before it was {switched.before}.")
    else:
        show.say(f"{switched.now} serves {switched.whom} already.")


def _show_pin(pinned: Pinned, as_json: bool) -> None:
    if as_json:
        show.as_json(pinned)
        return
    already = "" if pinned.changed else " already"
    show.say(f"{pinned.label} is{already} {'pinned' if pinned.pinned else 'not pinned'}.")


def _show_details(details: AdapterDetails) -> None:
    numbers = {name: value for name, value in details.metrics.items() if isinstance(value, int | float)}
    show.fields(
        {
            "state": f"{details.state}{', pinned' if details.pinned else ''}",
            "base model": f"{details.base_model} ({details.base_revision[:12]})",
            "dataset": details.dataset,
            "run": details.run,
            "made": details.created_at,
            "folder": details.folder,
            "SHA-256": details.content_hash,
            "files": details.fault or ("deleted" if details.state == "retired" else "whole"),
            "metrics": [f"{name.replace('_', ' ')} {value:g}" for name, value in numbers.items()],
        },
        title=details.label,
    )
    if details.deployments:
        show.table(
            ("served", "since", "until", "decided by", "reason"),
            [_row(served) for served in details.deployments],
        )


def _row(served: Served) -> tuple[object, ...]:
    return served.whom, served.since, served.until or "now", served.decided_by, served.reason
