"""Adapters and their datasets that go: what nobody needs any more, and what dead processes left half-done."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from sqlalchemy.orm import aliased
from sqlmodel import col, exists, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from feedback.database import Database
from feedback.journal import audit
from feedback.tables import Adapter, Dataset, Deployment, Run
from training import files
from training.adapters import deployments, registry
from training.errors import AdapterError


async def prunable(session: AsyncSession, keep: int) -> list[Adapter]:
    """The adapters that nobody needs: all but the last `keep` of each name, and but those that are needed.

    Needed is what serves anybody, what one rollback would bring back, what is pinned, and what still waits
    for its verdict.
    """
    needed = {adapter.id for adapter in await deployments.in_service(session)}
    for community_id in (await session.exec(select(Deployment.community_id).distinct())).all():
        needed.update(
            deployment.adapter_id for deployment in (await deployments.standing(session, community_id))[-2:]
        )
    found: list[Adapter] = []
    kept: dict[str, int] = {}
    for adapter in await registry.list_adapters(session):
        kept[adapter.name] = kept.get(adapter.name, 0) + 1
        recent = kept[adapter.name] <= keep
        if not (recent or adapter.pinned or adapter.state == "candidate" or adapter.id in needed):
            found.append(adapter)
    return found


async def prune(database: Database, data: Path, *, keep: int, by: str) -> list[Adapter]:
    """Retire what is `prunable` and delete its files; the adapters retired.

    The datasets that only such adapters learnt go, too, but for the last `keep` of each name. The record is
    changed first, so nobody can switch to what is being deleted; files that a process left behind by dying in
    between go with the next call. Raises AdapterError when they cannot be deleted.
    """
    async with database.session() as session:
        await registry.lock_changes(session)
        gone = await prunable(session, keep)
        for adapter in gone:
            adapter.state = "retired"
            session.add(adapter)
            audit(session, by, "adapter.retire", registry.label(adapter), content_hash=adapter.content_hash)
        await session.flush()
        retired = (await session.exec(select(Adapter).where(Adapter.state == "retired"))).all()
        unread = [data / dataset.folder for dataset in await _unread(session, keep)]
    places = [*(registry.folder(data, adapter) for adapter in retired), *unread]
    await asyncio.to_thread(_clear_away, data, places)
    return gone


async def _unread(session: AsyncSession, keep: int) -> list[Dataset]:
    """The datasets whose files nobody reads any more; their rows go on to tell the lineage."""
    newer = aliased(Dataset)
    learnt_by = col(Adapter.dataset_id) == Dataset.id
    newer_ones = select(func.count()).where(newer.name == Dataset.name, newer.version > Dataset.version)
    unread = select(Dataset).where(
        exists().where(learnt_by, col(Adapter.state) == "retired"),
        ~exists().where(learnt_by, col(Adapter.state) != "retired"),
        ~exists().where(col(Run.dataset_id) == Dataset.id, col(Run.state) == "running"),
        newer_ones.scalar_subquery() >= keep,
    )
    return list((await session.exec(unread)).all())


async def sweep(database: Database, data: Path) -> list[Path]:
    """Remove what processes that died left of adapters, half-written or never listed; the paths removed.

    Of the unlisted ones only those go whose run this record knows to have ended: a folder that belongs to
    another database, or to nothing known, is nobody's to delete.
    """
    async with database.session() as session:
        await registry.lock_changes(session)  # nobody is between placing a folder and listing it
        listed = set((await session.exec(select(Adapter.folder))).all())
        ended = (await session.exec(select(Run).where(Run.state != "running"))).all()
        stray = await asyncio.to_thread(_unlisted, data, listed, {registry.made_in(run) for run in ended})
        await asyncio.to_thread(_clear_away, data, stray)
    return sorted([*stray, *await asyncio.to_thread(files.sweep, data / registry.ADAPTERS)])


def _unlisted(data: Path, listed: set[str], ended: set[str]) -> list[Path]:
    """The adapters' folders that no row names and whose manifest says that they were made in `ended`."""
    found = []
    for manifest in (data / registry.ADAPTERS).glob(f"*/*/{files.MANIFEST}"):
        if manifest.parent.relative_to(data).as_posix() in listed or not manifest.parent.name.isdigit():
            continue
        with suppress(OSError, ValueError, TypeError, KeyError):  # unreadable is not known to be ours
            if json.loads(manifest.read_bytes())["run"] in ended:
                found.append(manifest.parent)
    return found


def _clear_away(data: Path, folders: Sequence[Path]) -> None:
    with files.faults_explained("Deleting retired adapters in", data / registry.ADAPTERS, AdapterError):
        for place in folders:
            files.discard(place)
