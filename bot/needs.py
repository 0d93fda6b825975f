"""Training when it is needed, between the times of the timetable: enough is new, answers are liked less, an
error recurs, or what an adapter learnt holds no more.

Looks once an hour, in the one service that runs the jobs. Each run says in `started_by` what called for it. A
need is only a reason to train; whether what comes of it serves is the gate's decision.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from bot import recurring_errors
from bot.commands import training as runs
from bot.recurring_errors import Kind
from bot.settings import ScheduleSettings
from bot.timetable import NEVER, is_time, quiet_hours
from feedback import signals
from feedback.database import Database
from feedback.plural import counted
from feedback.signals import Audience
from feedback.tables import now
from training.adapters import deployments, lineage, registry, sequential
from training.data import candidates
from training.run import due, lifecycle
from training.settings import TrainingSettings

LOOK_EVERY: Final = timedelta(hours=1)
RECENT: Final = timedelta(days=14)
"""Judged answers of these days are held against those of as many answers before them."""
CONFIDENCE: Final = 0.95

_ERRORS: Final[dict[Kind, tuple[str, str]]] = {
    "edited": ("edit", "edits"),
    "rejected": ("rejection", "rejections"),
    "wrong facts": ("vote for wrong facts", "votes for wrong facts"),
    "tone": ("vote against the tone", "votes against the tone"),
    "not helpful": ("vote for no help", "votes for no help"),
    "unsafe": ("vote for an unsafe answer", "votes for an unsafe answer"),
}

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Need:
    """An adapter that should be trained now, and why, as a run's `started_by` says it."""

    adapter: str
    why: str


class Needs:
    """Looks for needs and starts what they call for, one run at a time."""

    def __init__(
        self,
        database: Database,
        settings: ScheduleSettings,
        training: TrainingSettings,
        persona: str,
        data: Path,
    ) -> None:
        self._database = database
        self._settings = settings
        self._training = training
        self._persona = persona
        self._data = data
        self._looked_at = NEVER

    async def tidy(self) -> None:
        """Look if an hour has passed, and train what needs it; returns when that has ended.

        Raises DatabaseError, and UsageError for a community that there is not.
        """
        wanted = self._settings
        needs = (wanted.new_pairs, wanted.falling_approval, wanted.repeated_errors, wanted.changed_pairs)
        moment = now()
        if not any(needs) or not is_time(self._looked_at, LOOK_EVERY, moment):
            return
        self._looked_at = moment
        for need in await self.look(moment):
            if await lifecycle.under_way(self._database) is not None:
                return
            ended = await runs.run_and_wait(self._data, started_by=need.why, adapter_name=need.adapter)
            # not why: a topic is a word of members'
            log.info("a needed run ended", adapter=need.adapter, status=ended.status)

    async def look(self, moment: datetime) -> list[Need]:
        """The needs that there are now, one for an adapter at most; in quiet hours none."""
        quiet, found = quiet_hours(self._settings), list[Need]()
        if quiet is not None and quiet.include(moment):
            return found
        async with self._database.session(read_only=True) as session:
            for name in self._training.names:
                chosen = self._training.of_adapter(name)
                if not await due.is_due(session, chosen, self._persona):
                    continue
                why = (
                    await self._new_pairs(session, chosen)
                    or await self._recurring(session, chosen, moment)
                    or await self._changed(session, chosen)
                    or await self._falling(session, chosen, moment)
                )
                if why:
                    found.append(Need(name, why))
        return found

    async def _new_pairs(self, session: AsyncSession, chosen: TrainingSettings) -> str:
        if not self._settings.new_pairs:
            return ""
        number = await due.count_new_own_pairs(session, chosen, self._persona)
        return f"need: {counted(number, 'new approved pair')}" if number >= self._settings.new_pairs else ""

    async def _recurring(self, session: AsyncSession, chosen: TrainingSettings, moment: datetime) -> str:
        least = self._settings.repeated_errors
        if not least:
            return ""
        named = chosen.own.communities
        communities = await candidates.communities(session, named) if named else None
        found = await recurring_errors.look(
            session, moment, community_ids=list(communities) if communities else None, least=least
        )
        if not found:
            return ""
        worst = found[0]
        said = counted(worst.number, *_ERRORS[worst.kind])
        return f"need: {said} about “{worst.topic}” in {recurring_errors.DAYS} days"

    async def _changed(self, session: AsyncSession, chosen: TrainingSettings) -> str:
        if not self._settings.changed_pairs:
            return ""
        named = chosen.own.communities
        for community_id in [*await candidates.communities(session, named)] if named else [None]:
            adapter = await deployments.serving(session, community_id)
            if adapter is None or adapter.name != chosen.adapter_name:
                continue
            number = await lineage.count_changed(session, adapter)
            if number >= self._settings.changed_pairs:
                return f"need: {counted(number, 'pair')} that {registry.label(adapter)} learnt changed since"
        return ""

    async def _falling(self, session: AsyncSession, chosen: TrainingSettings, moment: datetime) -> str:
        if not self._settings.falling_approval:
            return ""
        named = chosen.own.communities
        communities = [*await candidates.communities(session, named)] if named else [None]
        for community_id in communities:
            adapter = await deployments.serving(session, community_id)
            audience, serving = Audience(community_id), adapter.id if adapter else None
            recent = await signals.approval(session, serving, audience, since=moment - RECENT)
            before = await signals.approval(session, serving, audience, until=moment - RECENT)
            blocks = sequential.blocks(recent, before[-len(recent) :] if recent else [], 0.5)
            found = await asyncio.to_thread(sequential.difference, blocks, 1 - CONFIDENCE)
            if found.upper <= 0:
                fell = round(-100 * found.estimate)
                return f"need: approval fell by about {fell} points in {RECENT.days} days"
        return ""
