"""Where each question under way was asked, in Telegram's words, so that the next start can finish its answer.

Telegram cannot be asked about old messages, so `feedback.open_questions` is all that a start knows of what
the end of the former process cut off. A private chat's id is its member's account: it is kept no longer than
the question is open.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from bot.platforms.telegram.context import PLATFORM, Spot
from bot.questions import Origin
from feedback import open_questions
from feedback.database import Database
from feedback.open_questions import Waiting


@dataclass
class OpenQuestion:
    """A question under way; `drawn` are the messages that show a part of its answer already."""

    community: str
    external_id: str
    spot: Spot
    private: bool
    drawn: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, waiting: Waiting) -> OpenQuestion:
        """What the record kept."""
        where = dict(waiting.shown_in)
        private = bool(where.pop("private"))
        return cls(
            waiting.community.external_id,
            waiting.turn.external_id,
            Spot(**where),
            private,
            [int(message) for message in waiting.drawn],
        )

    def origin(self, update: str = "") -> Origin:
        """What the record keeps together with the question, which the `update` brought."""
        where = {**asdict(self.spot), "private": self.private}
        return Origin(where, update=update, comes_again=True)


async def note_drawn(database: Database, question: OpenQuestion, drawn: list[int]) -> None:
    """Keep which messages show a part of the answer."""
    async with database.session() as session:
        await open_questions.note_drawn(
            session, PLATFORM, question.community, question.external_id, [str(message) for message in drawn]
        )
    question.drawn = drawn
