"""The demo community's past: a channel of theirs as DiscordChatExporter would write it, all made up.

Imported like any other talk, so that the review queue holds candidates with their evidence from the start.
"""

from __future__ import annotations

from functools import partial
from importlib import resources
from typing import Final

from bot.access.actor import Actor
from bot.commands import imports
from bot.demo import seed
from feedback.consent import pseudonym
from feedback.database import Database

IMPORTER: Final = Actor("demo", "past", "operator")


async def import_past(database: Database, key: bytes) -> int:
    """Bring the past in, once; how many candidates wait because of it."""
    with resources.as_file(resources.files("bot.demo").joinpath("past.json")) as export:
        (done,) = await imports.bring_in(
            database,
            export,
            imported_by=IMPORTER,
            pseudonym=partial(pseudonym, key=key),
            community=f"{seed.PLATFORM}:{seed.COMMUNITY}",
            agreed=True,
        )
    assert isinstance(done, imports.TalkImported), "an export of a channel is talk"
    return done.cards
