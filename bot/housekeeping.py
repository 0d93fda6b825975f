"""Upkeep while the service runs: the approval rule, retention, forget-me, adapters kept ready and watched."""

from __future__ import annotations

import asyncio
import time
from dataclasses import astuple
from datetime import timedelta
from typing import Final

import structlog
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from bot import disk, logs
from bot.assistant import ADAPTERS, Assistant, refused_in_service
from bot.core import Core
from bot.errors import AdapterRefused
from bot.rollout import Rollout
from bot.settings import Settings
from bot.timetable import NEVER, is_time
from bot.uploads import Uploads
from feedback import consent, review, sign_in
from feedback.tables import Community
from training.adapters import deployments, registry
from training.data.mining import notes as mining_notes
from training.errors import AdapterError, PairsError
from training.run import erasure, lifecycle

log = structlog.get_logger(__name__)


MAINTAINED_EVERY: Final = timedelta(hours=24)
SIGN_INS_KEPT: Final = timedelta(days=7)
"""How long it can be seen that a link was used and a session has ended."""


class Housekeeping:
    """What is done every half-minute: the approval rule, retention, erasures, adapters ready and watched."""

    def __init__(self, core: Core, settings: Settings, assistant: Assistant) -> None:
        self._core = core
        self._settings = settings
        self._assistant = assistant
        self._rollout = Rollout(core)
        self._silent_runs = lifecycle.SilentRuns(core.database)
        self._maintained = NEVER

    async def tidy(self) -> None:
        """Do what is due now. Raises DatabaseError; the disk, which may be why, is looked at before that."""
        self._core.health.report(*astuple(await asyncio.to_thread(disk.look, self._core.data)))
        await self._approve_and_expire()
        await self._carry_out_erasures()
        await self._close_dead_runs()
        now_s = self._core.clock().timestamp()
        Uploads(self._core.data).delete_old(now_s)
        mining_notes.delete_old(self._core.data, now_s)
        await self._ready_adapters()
        await self._rollout.tidy()
        await self._maintain()

    async def _close_dead_runs(self) -> None:
        here = await lifecycle.close_dead(self._core.database, self._core.data)
        for run in [*here, *await self._silent_runs.close(time.monotonic())]:
            log.error("the process of a training run died", run=run)

    async def _approve_and_expire(self) -> None:
        record = self._settings.record
        async with self._core.database.session() as session:
            if record.auto_approve_min_votes:
                await review.apply_auto_approval(
                    session,
                    record.auto_approve_min_votes,
                    record.auto_approve_min_score,
                    claim_for=self._core.claim_for,
                )
            await self._expire(session)
            await sign_in.delete_old(session, self._core.clock() - SIGN_INS_KEPT)

    async def _expire(self, session: AsyncSession) -> None:
        """Erase what has been kept for as long as its community, or everybody, keeps it."""
        record, moment = self._settings.record, self._core.clock()
        own: dict[int, int] = {}
        if record.retention_days_of:
            rows = (await session.exec(select(Community))).all()
            for row in rows:
                for name in (str(row.id), f"{row.platform}:{row.external_id}"):
                    if name in record.retention_days_of:
                        own[row.id or 0] = record.retention_days_of[name]
        for community_id, days in own.items():
            if days:
                await consent.delete_expired(
                    session, moment - timedelta(days=days), community_id=community_id
                )
        if record.retention_days:
            await consent.delete_expired(
                session, moment - timedelta(days=record.retention_days), but=own.keys()
            )

    async def _maintain(self) -> None:
        """Once a day: logs put aside and pruned, the database's own upkeep."""
        moment = self._core.clock()
        if not is_time(self._maintained, MAINTAINED_EVERY, moment):
            return
        self._maintained = moment
        keep = self._settings.logs
        await asyncio.to_thread(
            logs.prune, self._core.data, timedelta(days=keep.days), round(keep.mib * 2**20), moment
        )
        await self._core.database.maintain()

    async def _carry_out_erasures(self) -> None:
        database = self._core.database
        try:
            if await erasure.is_due(database):
                rewritten = await erasure.carry_out(database, self._core.data)
                log.info("forget-me requests carried out", datasets=rewritten)
        except PairsError as error:  # tried again in half a minute
            log.error("a forget-me request could not be carried out", why=str(error))

    async def _ready_adapters(self) -> None:
        async with self._core.database.session(read_only=True) as session:
            in_service = await deployments.in_service(session)
        refused: list[str] = []
        for adapter in in_service:
            try:
                await self._assistant.make_ready(adapter)
            except Exception as error:  # whoever asks next is told; here it must not stop the others
                refused.append(registry.label(adapter))
                log.warning(
                    "an adapter in service is not ready", adapter=registry.label(adapter), why=str(error)
                )
                if isinstance(error, AdapterError | AdapterRefused):  # its own fault, not the server's
                    await self._rollout.refused(adapter, error.public)
        if refused:
            self._core.health.report(ADAPTERS, "degraded", refused_in_service(refused))
        else:
            self._core.health.report(ADAPTERS, "ok")
