"""What a platform remembers over a restart, such as the hash of the commands that it has uploaded."""

from __future__ import annotations

from sqlalchemy import or_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from feedback.journal import insert_once
from feedback.tables import PlatformState, now
from feedback.words import Platform


async def recall(session: AsyncSession, platform: Platform, key: str) -> str | None:
    """What was remembered under that key; None when nothing was."""
    found = select(PlatformState.value).where(PlatformState.platform == platform, PlatformState.key == key)
    return (await session.exec(found)).one_or_none()


async def recall_all(session: AsyncSession, platform: Platform, *prefixes: str) -> dict[str, str]:
    """What was remembered under keys that begin in one of these ways, by key."""
    begins = or_(*(col(PlatformState.key).startswith(prefix, autoescape=True) for prefix in prefixes))
    found = select(PlatformState.key, PlatformState.value).where(PlatformState.platform == platform, begins)
    return dict((await session.exec(found)).all())


async def remember(session: AsyncSession, platform: Platform, key: str, value: str) -> None:
    """Remember it, in place of what stood there before."""
    row, is_new = await insert_once(
        session, PlatformState(platform=platform, key=key, value=value), "platform", "key"
    )
    if not is_new and row.value != value:
        row.value, row.changed_at = value, now()
        session.add(row)
