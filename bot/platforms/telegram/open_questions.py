"""Where each question under way was asked, kept in the record until it is answered.

Telegram cannot be asked about old messages, so this is all that a start knows of what the end of the former
process cut off. A private chat's id is its member's account: it is kept no longer than the question is open.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field

from bot.platforms.telegram.context import PLATFORM, Spot
from feedback import journal
from feedback.database import Database

PREFIX = "open:"


@dataclass
class OpenQuestion:
    """A question under way; `drawn` are the messages that show a part of its answer already.

    `text`, `asked` (seconds since 1970) and `regenerates` count until there is a turn, which says it all.
    """

    community: str
    external_id: str
    conversation: str
    member: str
    spot: Spot
    private: bool
    drawn: list[int] = field(default_factory=list)
    text: str = ""
    asked: float = field(default_factory=time.time)
    regenerates: int | None = None


async def keep(database: Database, question: OpenQuestion) -> None:
    """Keep it, or what was drawn since."""
    async with database.session() as session:
        await journal.move_bookmark(
            session, PLATFORM, PREFIX + question.external_id, json.dumps(asdict(question))
        )


async def drop(database: Database, external_id: str) -> None:
    """Forget it: it is answered, or nobody waits any more."""
    async with database.session() as session:
        await journal.drop_bookmark(session, PLATFORM, PREFIX + external_id)


async def all_open(database: Database) -> list[OpenQuestion]:
    """Every question that was under way when the former process ended."""
    async with database.session(read_only=True) as session:
        marks = await journal.bookmarks(session, PLATFORM)
    found = []
    for name, kept in marks.items():
        if name.startswith(PREFIX):
            values = json.loads(kept)
            found.append(OpenQuestion(**{**values, "spot": Spot(**values["spot"])}))
    return found
