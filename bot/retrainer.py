"""Training runs that a person asks for: each in a process of its own, one at a time, stopped at the end."""

from __future__ import annotations

import asyncio

import structlog

from bot.access.actor import Actor
from bot.access.rights import require
from bot.commands import training as runs
from bot.core import Core
from bot.settings import Settings
from training.errors import RunUnderWay

log = structlog.get_logger(__name__)


class Retrainer:
    """Starts training runs that a person asks for, one at a time, and stops the one under way at the end."""

    def __init__(self, core: Core, settings: Settings) -> None:
        self.settings = settings.training
        self._core = core
        self._persona = settings.persona
        self._under_way: asyncio.Task[runs.Ended] | None = None
        self._before = 0
        """The newest run when the one under way was started; 0 where there was none."""

    async def start(self, started_by: Actor, adapter_name: str | None = None) -> None:
        """Start a run of that adapter. Raises as `runs.refuse_to_start`."""
        require(started_by, "run.start", started_by.community_id)
        await runs.refuse_to_start(self._core.database, self.settings, self._persona, adapter_name)
        newest = await self._newest()
        if self._under_way is not None and newest != self._before:
            await asyncio.wait({self._under_way})  # its run has ended, only its process is still leaving
        if self._is_under_way():  # begun, but not in the record yet
            raise RunUnderWay
        self._before = newest
        self._under_way = asyncio.create_task(
            runs.run_and_wait(self._core.data, started_by=started_by.name, adapter_name=adapter_name)
        )
        self._under_way.add_done_callback(_log_end)

    async def is_starting(self) -> bool:
        """Whether the process of a run works that is not in the record yet."""
        return self._is_under_way() and await self._newest() == self._before

    async def stop(self) -> None:
        """Tell the run under way to stop, and wait until it has tidied up."""
        if self._under_way is not None:
            self._under_way.cancel()
            await asyncio.gather(self._under_way, return_exceptions=True)

    def _is_under_way(self) -> bool:
        return self._under_way is not None and not self._under_way.done()

    async def _newest(self) -> int:
        newest = await runs.newest(self._core.database)
        return newest.run if newest is not None else 0


def _log_end(task: asyncio.Task[runs.Ended]) -> None:
    if not task.cancelled() and task.exception() is None:
        log.info("training run ended", status=task.result().status, said=task.result().said)
