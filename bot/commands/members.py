"""Members as far as privacy goes: who stays out of training, and how far each forget-me has come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlmodel import col, func, select

from bot.access.actor import Actor
from bot.access.rights import require
from feedback.database import Database
from feedback.tables import Member
from training.run.erasure import Erasure, erasures

SHOWN: Final = 50
"""Members of a page."""


@dataclass(frozen=True)
class OptedOut:
    """A member who stays out of training, by pseudonym."""

    member_id: int
    platform: str
    pseudonym: str


@dataclass(frozen=True)
class Privacy:
    """How many members the record knows and how many stay out; a page of these; the ledger of forget-me.

    `more` goes on behind the last of the page, None where there are no more.
    """

    members: int
    opted_out: int
    page: tuple[OptedOut, ...]
    more: int | None
    ledger: tuple[Erasure, ...]


async def privacy(database: Database, actor: Actor, *, after: int = 0) -> Privacy:
    """What there is to know, of members behind the one with the id `after`. Raises NotAllowed.

    Who was forgotten is no member any more: the ledger alone tells of them, without a name.
    """
    require(actor, "privacy.view", None)
    known = ~col(Member.pseudonym).startswith("forgotten:")
    out = col(Member.opted_out).is_(True)
    async with database.session(read_only=True) as session:
        members = (await session.exec(select(func.count()).select_from(Member).where(known))).one()
        opted_out = (await session.exec(select(func.count()).select_from(Member).where(known, out))).one()
        rows = (
            await session.exec(
                select(Member)
                .where(known, out, col(Member.id) > after)
                .order_by(col(Member.id))
                .limit(SHOWN + 1)
            )
        ).all()
        ledger = await erasures(session)
    page = [OptedOut(row.id or 0, row.platform, row.pseudonym) for row in rows[:SHOWN]]
    return Privacy(
        members, opted_out, tuple(page), page[-1].member_id if len(rows) > SHOWN else None, tuple(ledger)
    )
