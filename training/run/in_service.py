"""What serves now in the communities that a candidate would serve: the adapter that it is compared with."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from feedback.database import Database
from feedback.tables import Adapter, Run
from training.adapters import deployments, registry
from training.data import candidates
from training.errors import AdapterError
from training.examination.reasons import Reason
from training.model.base_model import BaseModel, Known
from training.settings import TrainingSettings


@dataclass(frozen=True)
class InService:
    """The adapter in service, its verified folder (None where it cannot answer), and notes for the verdict.

    `adapter` None is the base model. `communities` are the numbers of those that the candidate would serve in
    its place; (None,) is everyone.
    """

    adapter: Adapter | None
    folder: Path | None
    notes: list[Reason]
    communities: tuple[int | None, ...]

    def continued(self, settings: TrainingSettings) -> Adapter | None:
        """The adapter that a training by `settings` continues; None: it begins with a fresh one."""
        wanted = settings.start_from == "current" and self.folder is not None
        return self.adapter if wanted else None

    def without(self, adapter: Adapter) -> InService:
        """The same, where `adapter` itself would be its own rival: then only the base model is."""
        serves_itself = self.adapter is not None and self.adapter.id == adapter.id
        return replace(self, folder=None) if serves_itself else self

    async def still_served(self, session: AsyncSession, run_id: int) -> list[int | None]:
        """Those of the communities in which this adapter still serves, and no canary came during the run."""
        began = (await session.exec(select(Run.started_at).where(Run.id == run_id))).one()
        left = []
        for community in self.communities:
            adapter = await deployments.serving(session, community)
            canary = await deployments.canary_of(session, community)
            is_same = (adapter and adapter.id) == (self.adapter and self.adapter.id)
            if is_same and (canary is None or canary.since < began):
                left.append(community)
        return left


async def find_in_service(
    database: Database, data: Path, settings: TrainingSettings, base: BaseModel | Known
) -> InService:
    """What serves where the candidate would. Where it cannot be used, the base model answers, as there."""
    async with database.session(read_only=True) as session:
        adapter, communities, notes = await _most_served(session, settings)
    if adapter is None:
        return InService(None, None, notes, communities)
    if (adapter.base_model, adapter.base_revision) != (base.name, base.revision):
        notes.append(
            Reason("other base model", {"adapter": registry.label(adapter), "base_model": adapter.base_model})
        )
        return InService(adapter, None, notes, communities)
    try:
        folder = await asyncio.to_thread(registry.verify, data, adapter)
    except AdapterError as error:
        notes.append(Reason("damaged", {"problem": error.problem}))
        return InService(adapter, None, notes, communities)
    return InService(adapter, folder, notes, communities)


async def _most_served(
    session: AsyncSession, settings: TrainingSettings
) -> tuple[Adapter | None, tuple[int | None, ...], list[Reason]]:
    """The adapter that serves most of the candidate's communities, these, and a note on every other one."""
    named = settings.own.communities
    own: list[int | None] = [*await candidates.communities(session, named)] if named else [None]
    served: dict[int | None, list[int | None]] = {}
    adapters: dict[int | None, Adapter | None] = {}
    for community in own:
        adapter = await deployments.serving(session, community)
        key = adapter.id if adapter else None
        adapters[key] = adapter
        served.setdefault(key, []).append(community)
    most = max(served, key=lambda key: len(served[key]))
    notes = [
        Reason("keeps serving", {"adapter": registry.label(other), "number": len(served[key])})
        if (other := adapters[key])
        else Reason("base keeps serving", {"number": len(served[key])})
        for key in served
        if key != most
    ]
    return adapters[most], tuple(served[most]), notes
