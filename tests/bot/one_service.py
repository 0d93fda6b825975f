"""A process with a service's schedule and nothing else: `python -m tests.bot.one_service URL DATA SECONDS`.

Looks again every so many seconds and says on stdout when it runs the jobs. On stdin, "take" has it look at
once who runs them, and any other line for jobs that are due, which it answers with "looked". Ends with its
input.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import structlog

from bot import schedule
from bot.schedule import Schedule
from bot.settings import ScheduleSettings
from feedback.database import Database
from training.settings import TrainingSettings


async def note_run(data: str) -> None:
    """A job that notes which process ran it."""
    with (Path(data) / "runs").open("a") as runs:
        runs.write(f"{os.getpid()}\n")


async def main(url: str, data: str, seconds: str) -> None:
    """Run until stdin ends."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    schedule.LOOK_AGAIN_SECONDS = float(seconds)  # type: ignore[misc]
    owned = asyncio.Event()

    async def tidy() -> None:
        if service._is_owner and not owned.is_set():
            owned.set()
            print("owner", flush=True)

    service = Schedule(Database(url), ScheduleSettings(), TrainingSettings(), Path(data), tidy)
    if await service.start():
        owned.set()
    print("owner" if owned.is_set() else "onlooker", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        if line.strip() == "take":
            await service._look_again()
            print("owner" if service._is_owner else "onlooker", flush=True)
            continue
        await service._scheduler._look()
        await asyncio.gather(*service._scheduler._executors["default"]._pending_futures)
        print("looked", flush=True)
    await service.stop()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
