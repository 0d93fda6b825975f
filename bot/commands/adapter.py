"""Which adapters there are, which one serves whom, and changing that.

The rules are those of `training.adapters`; here each change is one transaction, and an adapter's files
are verified before it is asked to serve.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from bot.access.actor import Actor
from bot.access.rights import require
from bot.answering.adapter_files import verified_files
from bot.commands.communities import describe, find_community
from bot.core import ModelIdentity
from feedback.database import Database
from feedback.errors import UsageError
from feedback.tables import Adapter, Community, Dataset, Deployment
from training.adapters import deployments, pruning, registry, rollout, verdicts
from training.errors import AdapterError
from training.examination.comparisons import LOSS, RIGHTLY
from training.settings import RolloutSettings

EVERYWHERE = "every community"
NEVER_DEPLOYED = "no adapter was ever put into service"


log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class AdapterSummary:
    """An adapter, or `base`; `serves` names the communities that it answers in, `run` is what made it."""

    label: str
    state: str
    base_model: str
    serves: tuple[str, ...]
    created_at: datetime | None
    metrics: dict[str, Any]
    pinned: bool = False
    run: int | None = None


@dataclass(frozen=True)
class Served:
    """A stretch of time in which an adapter served somebody; `until` None is still.

    `reason` is why it began, or of a canary that ended why it did.
    """

    whom: str
    since: datetime
    until: datetime | None
    decided_by: str
    reason: str


@dataclass(frozen=True)
class AdapterDetails:
    """Everything known about one adapter. `fault` says what is wrong with its files; "" is nothing."""

    label: str
    state: str
    base_model: str
    base_revision: str
    folder: str
    content_hash: str
    dataset: str
    run: int | None
    metrics: dict[str, Any]
    created_at: datetime
    deployments: tuple[Served, ...]
    fault: str
    pinned: bool = False


@dataclass(frozen=True)
class Serving:
    """Who is served by what; `adapter` is a label or `base`, `since` None is from the beginning.

    `reason` is why it serves, and of a canary how it stands; `share` is below 1 for a canary.
    """

    whom: str
    adapter: str
    since: datetime | None
    decided_by: str
    reason: str
    share: float = 1.0
    community_id: int | None = None


@dataclass(frozen=True)
class Switched:
    """Who serves whom now, and who did before; labels, or `base`."""

    before: str
    now: str
    whom: str
    changed: bool


@dataclass(frozen=True)
class Pinned:
    """Whether an adapter is kept whatever is pruned, and whether that is new."""

    label: str
    pinned: bool
    changed: bool


@dataclass(frozen=True)
class Figure:
    """One figure of an examination: the adapter's, and the base model's on the same questions if known."""

    name: str
    adapter: float
    base: float | None


def figures(metrics: dict[str, Any]) -> list[Figure]:
    """What the examination of an adapter found, the share of right answers first; empty when it had none."""
    found, base = metrics.get("candidate", {}), metrics.get("base", {})
    first = [name for name in (RIGHTLY, LOSS) if name in found]
    return [
        Figure(name, float(found[name]), float(base[name]) if name in base else None)
        for name in dict.fromkeys([*first, *found])
        if isinstance(found[name], int | float)
    ]


async def list_adapters(
    database: Database, *, retired: bool = False, only_of: int | None = None
) -> list[AdapterSummary]:
    """The base model first, then every adapter, with those whose files are gone if `retired`.

    `only_of` leaves out which other communities an adapter serves than the one with that id.
    """
    async with database.session(read_only=True) as session:
        serves = await _serves(session, only_of)
        adapters = await registry.list_adapters(session, retired=retired)
    base = AdapterSummary(registry.BASE, "", "", tuple(serves.get(None, [])), None, {})
    return [
        base,
        *(
            AdapterSummary(
                registry.label(adapter),
                adapter.state,
                adapter.base_model,
                tuple(serves.get(adapter.id, [])),
                adapter.created_at,
                adapter.metrics,
                adapter.pinned,
                adapter.run_id,
            )
            for adapter in adapters
        ),
    ]


async def serving_now(
    database: Database, rules: RolloutSettings, moment: datetime, *, only_of: int | None = None
) -> tuple[Serving, ...]:
    """Everyone's deployment first, then canaries, and those of single communities, by name.

    `only_of` leaves out the other communities than the one with that id.
    """
    async with database.session(read_only=True) as session:
        rows = await session.exec(
            select(Deployment, Adapter, Community)
            .outerjoin(Adapter, col(Adapter.id) == Deployment.adapter_id)
            .outerjoin(Community, col(Community.id) == Deployment.community_id)
            .where(col(Deployment.until).is_(None))
        )
        found = [
            (row, adapter, community)
            for row, adapter, community in rows
            if only_of is None or row.community_id in (None, only_of)
        ]
        standings = {
            row.id: (await rollout.look(session, row, rules, moment)).reason.en
            for row, _, _ in found
            if row.share < 1
        }
    told = [
        Serving(
            served_to(row, community),
            label_of(adapter),
            row.since,
            row.decided_by,
            standings.get(row.id, row.reason),
            row.share,
            row.community_id,
        )
        for row, adapter, community in found
    ]
    if not any(row.community_id is None and row.share == 1 for row, _, _ in found):
        told.insert(0, Serving(EVERYWHERE, label_of(None), None, "", NEVER_DEPLOYED))
    return tuple(sorted(told, key=lambda one: (one.whom != EVERYWHERE, one.whom)))


async def show(
    database: Database, data: Path, label: str, *, only_of: int | None = None
) -> AdapterDetails | None:
    """All about one adapter; None for the base model. Raises NotFound, saying what there is.

    `only_of` leaves out whom it served of the other communities than the one with that id.
    """
    async with database.session(read_only=True) as session:
        adapter = await registry.find(session, label)
        if adapter is None:
            return None
        dataset = await session.get(Dataset, adapter.dataset_id) if adapter.dataset_id else None
        rows = await session.exec(
            select(Deployment, Community)
            .outerjoin(Community, col(Community.id) == Deployment.community_id)
            .where(Deployment.adapter_id == adapter.id)
            .order_by(col(Deployment.id).desc())
        )
        deployments = tuple(
            Served(
                served_to(served, community),
                served.since,
                served.until,
                served.decided_by,
                served.outcome_reason or served.reason,
            )
            for served, community in rows
            if only_of is None or served.community_id in (None, only_of)
        )
    return AdapterDetails(
        label=registry.label(adapter),
        state=adapter.state,
        base_model=adapter.base_model,
        base_revision=adapter.base_revision,
        folder=adapter.folder,
        content_hash=adapter.content_hash,
        dataset=f"{dataset.name}@{dataset.version}" if dataset else "",
        run=adapter.run_id,
        metrics=adapter.metrics,
        created_at=adapter.created_at,
        deployments=deployments,
        fault=await asyncio.to_thread(_fault, data, adapter),
        pinned=adapter.pinned,
    )


async def switch(
    database: Database,
    data: Path,
    label: str,
    *,
    model: ModelIdentity,
    by: Actor,
    reason: str = "",
    community: str | None = None,
) -> Switched:
    """Let an adapter (or `base`) serve everyone, or one community, from now on.

    `model` is the one that is loaded. Raises NotFound; AdapterError when the files are damaged;
    AdapterRefused when it was trained on another model or revision; Conflict when it has had no verdict.
    """
    async with database.session(read_only=True) as session:
        adapter = await registry.find(session, label)
    await _refuse_unfit(data, adapter, model)  # hashing takes a while, so not under the write lock
    async with database.session() as session:
        home = await find_community(session, community) if community is not None else None
        community_id = home.id if home else None
        require(by, "adapter.switch", community_id)
        before = await deployments.serving(session, community_id)
        await deployments.switch(session, adapter, by=by.name, reason=reason, community_id=community_id)
        return _switched(before, adapter, home)


async def begin_canary(
    database: Database,
    data: Path,
    label: str,
    share: float,
    *,
    model: ModelIdentity,
    by: Actor,
    reason: str = "",
    community: str | None = None,
) -> float:
    """Let an adapter answer a share in (0, 1) of everyone's, or one community's, conversations; the share.

    What serves goes on with the rest, and an earlier canary there ends. Raises as `switch`, and UsageError
    for the base model and for a share that is none.
    """
    async with database.session(read_only=True) as session:
        adapter = await registry.find(session, label)
    if adapter is None:
        raise UsageError(
            "The base model is no canary; it serves where nothing else does.", "Name an adapter."
        )
    if not 0 < share < 1:
        raise UsageError(f"A canary's share is between 0 and 1, and {share:g} is not.", "0.1 is a tenth.")
    await _refuse_unfit(data, adapter, model)
    async with database.session() as session:
        home = await find_community(session, community) if community is not None else None
        community_id = home.id if home else None
        require(by, "adapter.switch", community_id)
        canary = await deployments.begin_canary(
            session, adapter, share, by=by.name, reason=reason, community_id=community_id
        )
        return canary.share


async def rollback(
    database: Database,
    data: Path,
    *,
    model: ModelIdentity,
    by: Actor,
    community: str | None = None,
) -> Switched:
    """Let what served before serve again. Raises as `switch`, and Conflict when nothing served before."""
    async with database.session() as session:
        home = await find_community(session, community) if community is not None else None
        community_id = home.id if home else None
        require(by, "adapter.switch", community_id)
        before = await deployments.serving(session, community_id)
        await deployments.rollback(session, by=by.name, community_id=community_id)
        after = await deployments.serving(session, community_id)
        await _refuse_unfit(data, after, model)
        return _switched(before, after, home)


async def pin(database: Database, label: str, *, by: Actor, pinned: bool = True) -> Pinned:
    """Keep an adapter whatever is pruned, or no longer. Raises NotFound, and Conflict for a retired one."""
    require(by, "adapter.curate", None)
    async with database.session() as session:
        adapter = await registry.find(session, label)
        if adapter is None:
            raise UsageError(
                "The base model is always there; only adapters are pinned.",
                "Name an adapter as name@version.",
            )
        changed = await registry.pin(session, adapter, by=by.name, pinned=pinned)
        return Pinned(registry.label(adapter), adapter.pinned, changed)


async def overrule(database: Database, label: str, *, promote: bool, by: Actor, reason: str) -> str:
    """Let a person's verdict stand instead of the gate's; the adapter's label. Raises as the registry's."""
    require(by, "adapter.curate", None)
    async with database.session() as session:
        adapter = await registry.find(session, label)
        if adapter is None:
            raise UsageError(
                "The base model has no verdict; only adapters have one.", "Name an adapter as name@version."
            )
        await verdicts.overrule(session, adapter, promote=promote, by=by.name, reason=reason)
        return registry.label(adapter)


async def prunable(database: Database, keep: int) -> list[str]:
    """The labels of what a `prune` would retire now."""
    async with database.session(read_only=True) as session:
        return [registry.label(adapter) for adapter in await pruning.prunable(session, keep)]


async def prune(database: Database, data: Path, *, keep: int, by: Actor) -> list[str]:
    """Retire what nobody needs and delete its files; the labels of what is gone. Raises AdapterError."""
    require(by, "adapter.curate", None)
    return [registry.label(adapter) for adapter in await pruning.prune(database, data, keep=keep, by=by.name)]


async def _refuse_unfit(data: Path, adapter: Adapter | None, model: ModelIdentity) -> None:
    """Raise AdapterError or AdapterRefused when the adapter cannot serve; the base model always can."""
    if adapter is not None:
        await asyncio.to_thread(verified_files, data, adapter, model)


async def _serves(session: AsyncSession, only_of: int | None) -> dict[int | None, list[str]]:
    """Who is served, by adapter id; None is the base model."""
    rows = await session.exec(
        select(Deployment, Community)
        .outerjoin(Community, col(Community.id) == Deployment.community_id)
        .where(col(Deployment.until).is_(None))
        .order_by(col(Deployment.community_id))
    )
    serves: dict[int | None, list[str]] = {}
    everyone = await deployments.serving(session)
    serves[everyone.id if everyone else None] = [EVERYWHERE]
    for deployment, community in rows:
        if community is None:
            if deployment.share < 1:
                serves.setdefault(deployment.adapter_id, []).append(served_to(deployment, None))
        elif only_of in (None, community.id):
            serves.setdefault(deployment.adapter_id, []).append(served_to(deployment, community))
    return serves


def whom(community: Community | None) -> str:
    """Who is served, for people; None is everyone."""
    return EVERYWHERE if community is None else community.name or describe(community)


def served_to(deployment: Deployment, community: Community | None) -> str:
    """Who a deployment serves, for people, and of a canary what share of their conversations."""
    name = whom(community)
    return name if deployment.share == 1 else f"{deployment.share:.0%} of {name}"


def label_of(adapter: Adapter | None) -> str:
    """`name@version`, or `base`."""
    return registry.BASE if adapter is None else registry.label(adapter)


def _switched(before: Adapter | None, after: Adapter | None, home: Community | None) -> Switched:
    return Switched(
        label_of(before), label_of(after), whom(home), changed=label_of(before) != label_of(after)
    )


def _fault(data: Path, adapter: Adapter) -> str:
    if adapter.state == "retired":  # that its files are gone is no fault
        return ""
    try:
        registry.verify(data, adapter)
    except AdapterError as error:
        log.warning("the files of an adapter are damaged", reason=error.problem)
        return error.problem
    return ""
