"""Questions whose answer is not shown yet: what the next start must know to finish them.

The row stands beside the turn, written in the transaction that writes the question down, so neither is there
without the other. While a process lives, `bot.chat.live_answers` knows what it is answering; this is
what is left when it dies. `consent` reaches the rows, because they hold platforms' ids of people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlmodel import col, delete, select, update
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from feedback.journal import insert_once
from feedback.tables import Community, Conversation, OpenQuestion, Turn
from feedback.words import Platform


@dataclass(frozen=True)
class Waiting:
    """An open question with its turn; the other fields are `tables.OpenQuestion`'s."""

    turn: Turn
    community: Community
    conversation: str
    asker: str
    shown_in: dict[str, Any]
    drawn: tuple[str, ...]


async def keep(session: AsyncSession, turn_id: int, *, asker: str, shown_in: dict[str, Any]) -> None:
    """Keep that an answer is awaited; of a question that is open already, only who asked is filled in."""
    row, _ = await insert_once(
        session, OpenQuestion(turn_id=turn_id, asker=asker, shown_in=shown_in), "turn_id"
    )
    if asker and not row.asker:
        row.asker = asker
        session.add(row)


async def note_drawn(
    session: AsyncSession, platform: Platform, community: str, external_id: str, drawn: list[str]
) -> None:
    """Keep which messages show a part of the answer; nothing when nobody waits for it any more."""
    of_that = col(OpenQuestion.turn_id).in_(_turns(platform, community, external_id))
    await session.exec(update(OpenQuestion).where(of_that).values(drawn=drawn))


async def drop(session: AsyncSession, platform: Platform, community: str, external_id: str) -> None:
    """Forget it: the answer, or why there is none, has been shown, or nobody waits any more."""
    of_that = col(OpenQuestion.turn_id).in_(_turns(platform, community, external_id))
    await session.exec(delete(OpenQuestion).where(of_that))


async def is_open(session: AsyncSession, turn_id: int) -> bool:
    """Whether somebody still waits for the answer of that turn."""
    found = select(OpenQuestion.id).where(OpenQuestion.turn_id == turn_id)
    return (await session.exec(found)).first() is not None


async def all_open(session: AsyncSession, platform: Platform) -> list[Waiting]:
    """Every open question of a platform, oldest first."""
    found = await session.exec(
        select(OpenQuestion, Turn, Community, Conversation.external_id)
        .join(Turn, col(Turn.id) == OpenQuestion.turn_id)
        .join(Community, col(Community.id) == Turn.community_id)
        .join(Conversation, col(Conversation.id) == Turn.conversation_id)
        .where(Community.platform == platform)
        .order_by(col(OpenQuestion.turn_id))
    )
    return [
        Waiting(turn, community, conversation, row.asker, row.shown_in, tuple(row.drawn))
        for row, turn, community, conversation in found.all()
    ]


async def give_up(session: AsyncSession) -> int:
    """Count turns without an answer as stopped where no open question waits for one; how many there were.

    One that is being answered elsewhere gets its answer all the same.
    """
    awaited = select(OpenQuestion.turn_id)
    given_up = await session.exec(
        update(Turn).where(col(Turn.state) == "asked", col(Turn.id).not_in(awaited)).values(state="cancelled")
    )
    return given_up.rowcount


def _turns(platform: Platform, community: str, external_id: str) -> SelectOfScalar[Any]:
    return (
        select(Turn.id)
        .join(Community, col(Community.id) == Turn.community_id)
        .where(
            Community.platform == platform,
            Community.external_id == community,
            Turn.external_id == external_id,
        )
    )
