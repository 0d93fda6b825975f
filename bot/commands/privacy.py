"""What a member may decide about their words; the rules are `feedback.consent`'s.

A member decides for themselves, so no role is asked for; nothing here writes down somebody new.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from bot.access.actor import Actor
from feedback import consent, imported, journal
from feedback.database import Database
from feedback.tables import Member
from feedback.words import Platform


@dataclass(frozen=True)
class Forgotten:
    """What was erased: the number of turns; `request` is the ledger's row that datasets follow."""

    turns: int
    request: int


async def is_opted_out(database: Database, member: Actor) -> bool:
    """Whether the member keeps out of training."""
    async with database.session(read_only=True) as session:
        row = await _find(session, member)
    return row is not None and row.opted_out


async def set_opted_out(database: Database, member: Actor, opted_out: bool) -> None:
    """Keep the member's words out of training from now on, or let them in again."""
    async with database.session() as session:
        # somebody who has not asked anything yet may still want to stay out
        row = await _find(session, member) or await _new(session, member)
        if opted_out:
            await consent.opt_out(session, row.id or 0)
        else:
            await consent.opt_in(session, row.id or 0)


async def export(database: Database, member: Actor) -> dict[str, Any] | None:
    """Everything kept about the member, ready for JSON; None when that is nothing."""
    async with database.session(read_only=True) as session:
        row = await _find(session, member)
        return await consent.export_member(session, row.id or 0) if row else None


async def forget(database: Database, member: Actor) -> Forgotten | None:
    """Erase the member's words and what leads back to them; None when nothing is kept."""
    async with database.session() as session:
        row = await _find(session, member)
        if row is None and await imported.has_words_of(session, member.platform, member.pseudonym):
            # whoever spoke in imported talk need not have asked the bot anything
            row = await _new(session, member)
        if row is None:
            return None
        request = await consent.forget(session, row.id or 0)
        return Forgotten(len(request.turns), request.id or 0)


async def erase_question(
    database: Database, platform: Platform, community: str, external_id: str
) -> list[str]:
    """Erase the turns of a question that was deleted where it was asked; the messages that showed answers."""
    async with database.session() as session:
        row = await journal.community_of(session, platform, community)
        turn = await journal.turn_of_question(session, row.id or 0, external_id) if row else None
        if turn is None:
            return []
        messages: list[str] = []
        for answer in await journal.answers_to(session, turn):
            await consent.erase_turn(session, answer.id or 0, actor="member")
            messages += await journal.messages_of(session, answer.id or 0)
        return messages


async def _find(session: AsyncSession, member: Actor) -> Member | None:
    rows = select(Member).where(Member.platform == member.platform, Member.pseudonym == member.pseudonym)
    return (await session.exec(rows)).one_or_none()


async def _new(session: AsyncSession, member: Actor) -> Member:
    row = Member(platform=member.platform, pseudonym=member.pseudonym)
    session.add(row)
    await session.flush()
    return row
