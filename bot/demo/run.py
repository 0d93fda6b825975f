"""The demo: the whole service round a seeded community, in a folder of its own beside the real data.

No token, key, GPU or hub: platforms, remote servers and other databases that the settings name stay out.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from bot import service
from bot.commands import training
from bot.demo import finished_run, past, seed
from bot.pseudonym_key import pseudonym_key
from bot.questions import Place
from bot.service import ServiceReady
from bot.settings import Settings, load_settings
from feedback.database import Database, opened
from feedback.tables import now

FOLDER: Final = "demo"
HOME: Final = Place(seed.PLATFORM, seed.COMMUNITY, "", seed.NAME)

_TO_TRY: Final = """
What to try in the console:
  1. Ask one of the suggested questions. The adapter of a finished run answers; Adapters compares it with the
     base model, shows where it comes from, and rolls back.
  2. Give the answer a thumb; thumbs-down asks what was wrong.
  3. Review: approve, edit or reject what waits; some of it was found in the community's past talk.
  4. Runs: read the report of the first one. Retrain, if you like (ten to twenty minutes on two cores).
  5. Switch to the new adapter, compare, roll back.
The same from another terminal, with {variable}:
  thumbloop review list · thumbloop retrain · thumbloop adapter list · thumbloop adapter rollback
Ctrl-C stops. Everything lies in {folder}; delete it to start afresh."""


async def serve_demo(
    settings: Settings, *, on_ready: Callable[[ServiceReady], None], on_step: Callable[[str], None]
) -> str:
    """Seed the demo community and serve it until told to stop; a sentence about the run that this stopped.

    `on_step` hears what is done until the demo is ready. Raises ThumbloopError.
    """
    demo = demo_settings(settings.data / FOLDER).model_copy(update={"web": settings.web})
    began = now()
    on_step("Seeding the community")
    database = await opened(demo.database_url)
    try:
        await seed.seed(database, pseudonym_key(demo))
        on_step("Putting its first run in")
        if left_out := await finished_run.put_in(database, demo, finished_run.packaged()):
            on_step(left_out)
        on_step("Importing a little of its past")
        await past.import_past(database, pseudonym_key(demo))
    finally:
        await database.close()
    to_try = _TO_TRY.format(variable=f"THUMBLOOP_DATA={demo.data}", folder=demo.data)

    def ready(service_ready: ServiceReady) -> None:
        on_ready(ServiceReady(service_ready.console_url, [*service_ready.lines, to_try]))

    present = await asyncio.to_thread(demo.model_choice.present)
    on_step("Loading the model" if present else "Preparing the model, once: about a minute")
    await service.serve(demo, on_ready=ready, home=HOME, to_try=seed.questions_to_try())
    database = await opened(demo.database_url)
    try:
        return await stopped_run(database, began)
    finally:
        await database.close()


async def stopped_run(database: Database, since: datetime) -> str:
    """What becomes of the run that was stopped since then; empty where none was."""
    runs = await training.history(database, limit=1)
    if not runs or runs[0].state != "cancelled" or (runs[0].finished_at or since) < since:
        return ""
    return f"Run {runs[0].run}: {runs[0].verdict}"


def demo_settings(data: Path) -> Settings:
    """The settings with everything in `data`, and nothing that reaches beyond this machine.

    They go into this process's environment, because its training processes must see the same.
    """
    os.environ |= {
        "THUMBLOOP_DATA": str(data),
        "THUMBLOOP_RECORD__DATABASE_URL": "",
        "THUMBLOOP_REMOTE__URL": "",
        "THUMBLOOP_DISCORD__TOKEN": "",
        "THUMBLOOP_TELEGRAM__TOKEN": "",
        "THUMBLOOP_API__KEYS": "[]",
    }
    return load_settings()
