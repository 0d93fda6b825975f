"""`thumbloop adapter lineage`: what is behind an adapter, and where a turn or a member's words have gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import typer

from bot.cli import options, show
from bot.cli.start import record, start
from feedback.errors import UsageError
from feedback.plural import counted

if TYPE_CHECKING:
    from sqlmodel.ext.asyncio.session import AsyncSession

    from bot.settings import Settings
    from training.adapters.lineage import AdapterLineage, LearntFrom, MemberLineage, TurnLineage

_QUESTION: Final = 60
"""Characters of a question that a table shows."""

Found = TypeVar("Found")


def lineage(
    context: typer.Context,
    adapter: Annotated[
        str | None,
        typer.Argument(metavar="[ADAPTER]", help="name@version, or a name for its newest version."),
    ] = None,
    turn: Annotated[
        int | None,
        typer.Option(min=1, max=options.MOST_ID, help="A turn: what answered it, and what learnt from it."),
    ] = None,
    member: Annotated[
        str | None,
        typer.Option(metavar="PSEUDONYM", help="A member: every adapter that learnt from their words."),
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="Most pairs of an adapter to list.")] = 20,
    as_json: options.AsJson = False,
) -> None:
    """Show what is behind an adapter, or where a turn or a member's words have gone."""
    if sum(one is not None for one in (adapter, turn, member)) != 1:
        raise UsageError(
            "Lineage of what? Exactly one is to be named.",
            "Name an adapter, or add --turn N or --member WHO.",
        )
    settings = start(context)
    if turn is not None:
        _show_turn(asyncio.run(_lineage(settings, lambda session: _of_turn(session, turn))), as_json)
    elif member is not None:
        _show_member(asyncio.run(_lineage(settings, lambda session: _of_member(session, member))), as_json)
    else:
        found = asyncio.run(_lineage(settings, lambda session: _of_adapter(session, adapter or "", limit)))
        _show_adapter(found, as_json)


async def _lineage(settings: Settings, find: Callable[[AsyncSession], Awaitable[Found]]) -> Found:
    async with record(settings) as database, database.session(read_only=True) as session:
        return await find(session)


async def _of_adapter(session: AsyncSession, label: str, limit: int) -> AdapterLineage:
    from training.adapters import lineage, registry

    adapter = await registry.find(session, label)
    if adapter is None:
        raise UsageError("The base model was not trained here.", "Name an adapter as name@version.")
    return await lineage.of_adapter(session, adapter, most=limit)


async def _of_turn(session: AsyncSession, turn: int) -> TurnLineage:
    from training.adapters import lineage

    return await lineage.of_turn(session, turn)


async def _of_member(session: AsyncSession, member: str) -> MemberLineage:
    from training.adapters import lineage

    return await lineage.of_member(session, member)


def _show_adapter(found: AdapterLineage, as_json: bool) -> None:
    if as_json:
        show.as_json(asdict(found) | {"pairs": found.pairs})
        return
    run = found.run
    show.fields(
        {
            "state": found.state,
            "base model": f"{found.base_model} ({found.base_revision[:12]})",
            "run": f"{run.run}, {run.state}, started by {run.started_by}" if run else "none: it was imported",
            "verdict": run.verdict if run else "",
            "continues": found.continues,
            "learnt from": f"{counted(found.pairs, 'pair')} of {counted(len(found.members), 'member')}",
            "members": [f"{name} ({pairs})" for name, pairs in found.members.items()],
        },
        title=found.adapter,
    )
    _show_learnt(found.datasets)
    if found.origins:
        show.table(
            ("dataset", "split", "turn", "community", "member", "review", "decided by", "from", "question"),
            [
                (
                    one.dataset,
                    one.split,
                    one.turn,
                    one.community,
                    one.member,
                    f"{one.review} {one.decision}",
                    one.reviewer,
                    one.imported,
                    one.question[:_QUESTION],
                )
                for one in found.origins
            ],
        )


def _show_turn(found: TurnLineage, as_json: bool) -> None:
    if as_json:
        show.as_json(found)
        return
    show.fields(
        {
            "community": found.community,
            "member": found.member,
            "from": found.imported,
            "state": f"{found.state}, {found.review_state}",
            "answered by": found.adapter or found.base_model,
            "learnt from by": found.adapters or "no adapter",
        },
        title=f"Turn {found.turn}",
    )
    _show_learnt(found.behind)
    if found.datasets:
        show.table(
            ("is in dataset", "as", "which trained"),
            [(one.dataset, one.split, one.adapters) for one in found.datasets],
        )


def _show_member(found: MemberLineage, as_json: bool) -> None:
    if as_json:
        show.as_json(found)
        return
    show.fields(
        {
            "turns": found.turns,
            "pairs": [f"{pairs} in {dataset}" for dataset, pairs in found.pairs.items()],
            "learnt from by": found.adapters or "no adapter",
        },
        title=found.member,
    )


def _show_learnt(learnt: Sequence[LearntFrom]) -> None:
    if learnt:
        show.table(
            ("adapter", "dataset", "SHA-256", "pairs"),
            [
                (
                    one.adapter,
                    one.dataset,
                    one.content_hash[:12],
                    [f"{count} {split}" for split, count in one.pairs.items()],
                )
                for one in learnt
            ],
        )
