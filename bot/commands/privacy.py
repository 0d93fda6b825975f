"""What a member may decide about their words; the rules are `feedback.consent`'s.

Members are named by their pseudonym (`Assistant.pseudonym`); nothing here writes down somebody new.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from feedback import consent, journal
from feedback.database import Database
from feedback.tables import Member
from feedback.words import Platform


@dataclass(frozen=True)
class Forgotten:
    """What was erased: the number of turns; `request` is the ledger's row that datasets follow."""

    turns: int
    request: int


async def is_opted_out(database: Database, platform: Platform, pseudonym: str) -> bool:
    """Whether the member keeps out of training."""
    async with database.session(read_only=True) as session:
        member = await _find(session, platform, pseudonym)
    return member is not None and member.opted_out


async def set_opted_out(database: Database, platform: Platform, pseudonym: str, opted_out: bool) -> None:
    """Keep the member's words out of training from now on, or let them in again."""
    async with database.session() as session:
        # somebody who has not asked anything yet may still want to stay out
        member = await _find(session, platform, pseudonym) or await _new(session, platform, pseudonym)
        if opted_out:
            await consent.opt_out(session, member.id or 0)
        else:
            await consent.opt_in(session, member.id or 0)


async def export(database: Database, platform: Platform, pseudonym: str) -> dict[str, Any] | None:
    """Everything kept about the member, ready for JSON; None when that is nothing."""
    async with database.session(read_only=True) as session:
        member = await _find(session, platform, pseudonym)
        return await consent.export_member(session, member.id or 0) if member else None


async def forget(database: Database, platform: Platform, pseudonym: str) -> Forgotten | None:
    """Erase the member's words and what leads back to them; None when nothing is kept."""
    async with database.session() as session:
        member = await _find(session, platform, pseudonym)
        if member is None:
            return None
        request = await consent.forget(session, member.id or 0)
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


async def _find(session: AsyncSession, platform: Platform, pseudonym: str) -> Member | None:
    found = select(Member).where(Member.platform == platform, Member.pseudonym == pseudonym)
    return (await session.exec(found)).one_or_none()


async def _new(session: AsyncSession, platform: Platform, pseudonym: str) -> Member:
    member = Member(platform=platform, pseudonym=pseudonym)
    session.add(member)
    await session.flush()
    return member
