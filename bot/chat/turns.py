"""Which turn a message or a button is about, and whose it is.

Every turn is looked up within the community where somebody refers to it, whatever number they give.
"""

from __future__ import annotations

from bot.questions import Place
from feedback import journal
from feedback.database import Database
from feedback.errors import NotFound
from feedback.tables import Conversation, Turn


async def turn_at(database: Database, place: Place, turn_id: int) -> tuple[Turn, str]:
    """The turn and the platform's id of its conversation.

    Raises NotFound for another community's turn, and, where `place` names a conversation, for one outside of
    it and its topics (`conversation/…`).
    """
    async with database.session(read_only=True) as session:
        row = await journal.community_of(session, place.platform, place.community)
        turn = await journal.turn_in(session, turn_id, row)
        conversation = (await session.get_one(Conversation, turn.conversation_id)).external_id
    if place.conversation and not f"{conversation}/".startswith(f"{place.conversation}/"):
        raise NotFound("turn", turn_id, "It belongs to another conversation.")
    return turn, conversation


async def turn_shown_by(database: Database, place: Place, message: str) -> Turn | None:
    """The turn whose answer that message of the platform shows, if it shows one."""
    async with database.session(read_only=True) as session:
        row = await journal.community_of(session, place.platform, place.community)
        return await journal.turn_of_message(session, row.id or 0, message) if row else None


async def turn_asked_by(database: Database, place: Place, message: str) -> Turn | None:
    """The turn that was asked by that message of the platform, if it asked something."""
    async with database.session(read_only=True) as session:
        row = await journal.community_of(session, place.platform, place.community)
        return await journal.turn_of_question(session, row.id or 0, message) if row else None
