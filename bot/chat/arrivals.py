"""What the record says about a message that has just arrived: all of it in one transaction.

Whether it is a question to us is the platform's to say; whether it has been answered, where it belongs and
what its community is set to stands in the record.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from bot.chat.context import ChatContext
from bot.commands import settings
from bot.commands.settings import CommunitySettings
from bot.questions import Place
from feedback import journal, open_questions
from feedback.tables import Community, Conversation

NO_TURN: Final = 2**31 - 1
"""Later than every turn."""


@dataclass(frozen=True)
class Arrival:
    """What is known about a message.

    `wanted` is whether it has had neither answer nor reason. `conversation` is the platform's id of the one
    that the message replied to is part of; None where it replies to none, or to nothing that was asked or
    answered. `answers` counts the answers in that conversation, as far as was asked for.
    """

    community: CommunitySettings
    wanted: bool
    conversation: str | None
    answers: int = 0


async def settings_or_arrival(
    context: ChatContext, place: Place, look: Callable[[], Awaitable[Arrival]]
) -> tuple[CommunitySettings, Arrival | None]:
    """The community's settings; where they are not fresh, with all else that `look` finds about the message.

    Messages of a community pass here in the order in which they came.
    """
    async with context.keyed_lock.of("arrival", place.community):
        known = context.communities.known(place)
        if known is not None:
            return known, None
        arrival = await look()
        return arrival.community, arrival


async def look_up(
    context: ChatContext, place: Place, message: str, *, replied_to: str | None = None, answers_up_to: int = 0
) -> Arrival:
    """What the record says about the platform's `message`; what its community is set to counts as fresh."""
    running = context.answers.find(place.community, message) is not None
    async with context.core.database.session(read_only=True) as session:
        row = await journal.community_of(session, place.platform, place.community)
        if row is None or row.id is None:  # nothing was ever asked there
            new = Community(platform=place.platform, external_id=place.community, name=place.community_name)
            return Arrival(await settings.view_of(session, new), not running, None)
        community = await settings.view_of(session, row)
        wanted = not running and await _is_wanted(session, row.id, message)
        found = await _conversation(session, row.id, replied_to) if replied_to is not None else None
        answers = 0
        if found is not None and answers_up_to:
            answers = len(await journal.history(session, found.id or 0, NO_TURN, answers_up_to))
    context.communities.note(place, community)
    return Arrival(community, wanted, found.external_id if found else None, answers)


async def _is_wanted(session: AsyncSession, community_id: int, message: str) -> bool:
    turn = await journal.turn_of_question(session, community_id, message)
    return turn is None or await open_questions.is_open(session, turn.id or 0)


async def _conversation(session: AsyncSession, community_id: int, message: str) -> Conversation | None:
    turn = await journal.turn_of_message(session, community_id, message)
    turn = turn or await journal.turn_of_question(session, community_id, message)
    if turn is None:
        return None
    return (await session.exec(select(Conversation).where(Conversation.id == turn.conversation_id))).one()
