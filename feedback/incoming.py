"""What platforms deliver, written down before it is confirmed to them, so that a crash loses none of it.

An update is stored, begun where its work must not be done twice, and finished. After a crash, `unfinished`
gives what is to be done again. Of a finished one the number alone is kept, for `KNOWN_FOR`: platforms deliver
again what they think was not received, and not always in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import Update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import ReturningInsert
from sqlmodel import col, delete, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from feedback.tables import IncomingUpdate, now
from feedback.words import Platform

KNOWN_FOR: Final = timedelta(days=2)
"""How long the number of a finished update is kept: Telegram keeps what it could not deliver for a day."""


@dataclass(frozen=True)
class Incoming:
    """An update as it was delivered: the platform's id of it, its JSON, and the pseudonym of who sent it."""

    external_id: str
    payload: str
    pseudonym: str = ""


@dataclass(frozen=True)
class Unfinished:
    """An update that a former process did not finish; whether its work had `begun`."""

    external_id: str
    payload: str
    begun: bool


async def store(session: AsyncSession, platform: Platform, updates: Sequence[Incoming]) -> list[str]:
    """Write updates down; the ids of those that had not been delivered before, in their order."""
    if not updates:
        return []
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    rows = [IncomingUpdate(platform=platform, **asdict(one)).model_dump(exclude={"id"}) for one in updates]
    written: ReturningInsert[tuple[str]] = (
        insert(IncomingUpdate)
        .values(rows)
        .on_conflict_do_nothing(index_elements=("platform", "external_id"))
        .returning(col(IncomingUpdate.external_id))
    )
    new = set((await session.exec(written)).scalars().all())
    return [one.external_id for one in updates if one.external_id in new]


async def begin(session: AsyncSession, platform: Platform, external_id: str) -> None:
    """Note that the work of an update begins, which a crash may leave half done and nobody may repeat."""
    await session.exec(_the_one(platform, external_id).values(begun_at=now()))


async def finish(session: AsyncSession, platform: Platform, external_id: str) -> bool:
    """Empty an update that has been handled; False when it had been before."""
    finished = await session.exec(
        _the_one(platform, external_id)
        .where(col(IncomingUpdate.handled_at).is_(None))
        .values(handled_at=now(), payload="", pseudonym="")
    )
    return finished.rowcount > 0


async def unfinished(session: AsyncSession, platform: Platform) -> list[Unfinished]:
    """What a former process received and did not finish, in the order in which it came."""
    found = await session.exec(
        select(IncomingUpdate)
        .where(IncomingUpdate.platform == platform, col(IncomingUpdate.handled_at).is_(None))
        .order_by(col(IncomingUpdate.id))
    )
    return [Unfinished(row.external_id, row.payload, row.begun_at is not None) for row in found.all()]


async def prune(session: AsyncSession, platform: Platform) -> None:
    """Forget the numbers of updates that the platform will not deliver again."""
    await session.exec(
        delete(IncomingUpdate).where(
            col(IncomingUpdate.platform) == platform,
            col(IncomingUpdate.handled_at) < now() - KNOWN_FOR,
        )
    )


def _the_one(platform: Platform, external_id: str) -> Update:
    return update(IncomingUpdate).where(
        col(IncomingUpdate.platform) == platform, col(IncomingUpdate.external_id) == external_id
    )
