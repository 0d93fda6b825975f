"""Watches what was put into service by itself: canaries promoted or ended, adapters that fail taken back.

The rules are those of `training.adapters` (`rollout` for votes, `faults` for what shows at once); here they
are asked every half-minute and carried out. Several services may do so at once: what one has done is done.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
from sqlalchemy import ColumnElement
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from bot.core import Core
from feedback.errors import Conflict
from feedback.signals import Audience
from feedback.tables import Adapter, Deployment, Turn
from feedback.text import Text
from training.adapters import deployments, faults, registry, rollout
from training.adapters.faults import Given
from training.errors import AdapterError

MOST_LOOKED_AT: Final = 40
"""Answers of a predecessor that say what is usual."""

_ROLLED_BACK: Final = Text("Rolled back: {why}.", "Wycofany: {why}.")
_CANNOT_BE_LOADED: Final = Text("it cannot be loaded: {why}", "nie da się go wczytać: {why}")

log = structlog.get_logger(__name__)


class Rollout:
    """Carries out the rules about canaries and adapters in service."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._settings = core.rollout

    async def tidy(self) -> None:
        """Ask every rule once. Raises DatabaseError."""
        async with self._core.database.session(read_only=True) as session:
            watched = list(
                (await session.exec(select(Deployment).where(col(Deployment.until).is_(None)))).all()
            )
        for row in watched:
            if row.adapter_id is not None and not await self._withdrawn_for_a_fault(row):
                await self._decide_by_votes(row)

    async def refused(self, adapter: Adapter, why: str) -> None:
        """An adapter in service cannot be loaded: take it back where something else would serve instead.

        Not where the model was exchanged, which is no fault of the adapter, nor where its predecessor is
        damaged, too, as when a disk is missing: then the base model answers until that is mended.
        """
        model = self._core.model
        if not self._settings.rollback or registry.other_base(adapter, model.base_model, model.base_revision):
            return
        async with self._core.database.session(read_only=True) as session:
            found = select(Deployment).where(
                Deployment.adapter_id == adapter.id, col(Deployment.until).is_(None)
            )
            rows = [row for row in (await session.exec(found)).all() if await self._has_better(session, row)]
        for row in rows:
            await self._withdraw(row, _CANNOT_BE_LOADED.filled(why=why.rstrip(".")))

    async def _has_better(self, session: AsyncSession, row: Deployment) -> bool:
        if row.share < 1:
            return True
        stack = await deployments.standing(session, row.community_id)
        if len(stack) < 2 or stack[-2].adapter_id is None:
            return False
        before = (await session.exec(select(Adapter).where(Adapter.id == stack[-2].adapter_id))).one()
        try:
            await asyncio.to_thread(registry.verify, self._core.data, before)
        except AdapterError:
            return False
        return True

    async def _withdrawn_for_a_fault(self, row: Deployment) -> bool:
        if not self._settings.rollback:
            return False
        async with self._core.database.session(read_only=True) as session:
            newest, before = await _given(session, row)
        found = await asyncio.to_thread(faults.fault, newest, before)
        if found is None:
            return False
        await self._withdraw(row, found)
        return True

    async def _withdraw(self, row: Deployment, why: Text) -> None:
        async with self._core.database.session() as session:
            await registry.lock_changes(session)
            still = (
                await session.exec(
                    select(Deployment)
                    .where(Deployment.id == row.id, col(Deployment.until).is_(None))
                    .execution_options(populate_existing=True)
                )
            ).one_or_none()
            if still is None:
                return
            adapter = (await session.exec(select(Adapter).where(Adapter.id == still.adapter_id))).one()
            label = registry.label(adapter)
            try:
                await rollout.withdraw(session, still, adapter, _ROLLED_BACK.filled(why=why))
            except Conflict as error:  # nothing served before, or what did is retired
                log.warning("an adapter cannot be taken back", adapter=label, why=str(error), fault=why.en)
                return
        log.error("an adapter was taken out of service by itself", adapter=label, why=why.en)

    async def _decide_by_votes(self, row: Deployment) -> None:
        moment = self._core.clock()
        async with self._core.database.session(read_only=True) as session:
            standing = (
                await rollout.look(session, row, self._settings, moment)
                if row.share < 1
                else await rollout.look_back(session, row, self._settings, moment)
            )
        if standing is None or standing.decision == "go on":
            return
        if standing.decision == "roll back" and not self._settings.rollback:
            return
        async with self._core.database.session() as session:
            done = await rollout.carry_out(session, standing)
        if done:
            log.info("votes decided on an adapter", adapter=standing.adapter, why=standing.reason.en)


async def _given(session: AsyncSession, row: Deployment) -> tuple[list[Given], list[Given]]:
    """The newest answers of a deployment's adapter since it began, and those that say what is usual.

    Beside a canary its predecessor answers at the same time, so failures and times can be compared; before a
    deployment to all it answered at another, when a model server may have been up, and fewer people asked.
    """
    audience = Audience(row.community_id)
    if row.share < 1:
        rival = await deployments.serving(session, row.community_id)
        since = col(Turn.asked_at) >= row.since
        return (
            await _answers(session, row.adapter_id, audience, since, limit=faults.WINDOW, beside=True),
            await _answers(
                session, rival.id if rival else None, audience, since, limit=MOST_LOOKED_AT, beside=True
            ),
        )
    stack = await deployments.standing(session, row.community_id)
    before = stack[-2].adapter_id if len(stack) > 1 else None
    return (
        await _answers(
            session, row.adapter_id, audience, col(Turn.asked_at) >= row.since, limit=faults.WINDOW
        ),
        await _answers(session, before, audience, col(Turn.asked_at) < row.since, limit=MOST_LOOKED_AT),
    )


async def _answers(
    session: AsyncSession,
    adapter_id: int | None,
    audience: Audience,
    when: ColumnElement[bool],
    *,
    limit: int,
    beside: bool = False,
) -> list[Given]:
    """The newest answers; failures and times only of those that were given `beside` the others."""
    of_it = col(Turn.adapter_id).is_(None) if adapter_id is None else col(Turn.adapter_id) == adapter_id
    states = ("answered", "failed") if beside else ("answered",)
    rows = await session.exec(
        select(Turn.answer, Turn.language, Turn.state, Turn.total_s)
        .where(of_it, audience.condition(), when, col(Turn.state).in_(states))
        .order_by(col(Turn.id).desc())
        .limit(limit)
    )
    return [
        Given(answer, language, state == "failed", seconds if beside else 0.0)
        for answer, language, state, seconds in rows
    ]
