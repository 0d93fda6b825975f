"""Links that sign people in to the console, and the sessions they become.

A token is 256 random bits and only its SHA-256 is kept: it needs no salt, since nobody can try so many. A
link is used once, by an update that only one of two callers can make. What a role allows is `bot.access`'s.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from sqlalchemy import ColumnElement
from sqlmodel import col, delete, or_, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from feedback.journal import audit
from feedback.tables import ConsoleSession, SignInLink, now

LINK_FOR: Final = timedelta(minutes=10)
SESSION_FOR: Final = timedelta(hours=12)
SEEN_EVERY: Final = timedelta(minutes=1)
"""How exactly it is kept when a session was last used; every request would be a write."""

Ended = Literal["signed out", "revoked", "role taken away", "forgotten"]


@dataclass(frozen=True)
class Identity:
    """Who signs in: what `tables.SignInLink` says of them."""

    platform: str
    pseudonym: str
    role: str
    community_id: int | None = None
    external_id: str = ""

    @property
    def name(self) -> str:
        """How the audit names them."""
        return f"{self.platform}:{self.pseudonym}" if self.pseudonym else self.platform


def identity_of(row: SignInLink | ConsoleSession) -> Identity:
    """Whose link or session it is."""
    return Identity(row.platform, row.pseudonym, row.role, row.community_id, row.external_id)


async def issue_link(session: AsyncSession, who: Identity, *, lasts: timedelta = LINK_FOR) -> str:
    """A new link's token; what the same person asked for before and did not use is void."""
    await session.exec(
        delete(SignInLink).where(
            col(SignInLink.platform) == who.platform,
            col(SignInLink.pseudonym) == who.pseudonym,
            col(SignInLink.used_at).is_(None),
        )
    )
    token, at = secrets.token_urlsafe(32), now()
    session.add(
        SignInLink(
            token_hash=_hash(token),
            platform=who.platform,
            pseudonym=who.pseudonym,
            external_id=who.external_id,
            role=who.role,
            community_id=who.community_id,
            created_at=at,
            expires_at=at + lasts,
        )
    )
    audit(session, who.name, "console.link", who.role)
    await session.flush()
    return token


async def redeem(
    session: AsyncSession, token: str, *, browser: str = "", lasts: timedelta = SESSION_FOR
) -> str | None:
    """The token of the session that the link opens; None when it is unknown, used or expired."""
    at = now()
    link_hash = _hash(token)
    used = await session.exec(
        update(SignInLink)
        .where(
            col(SignInLink.token_hash) == link_hash,
            col(SignInLink.used_at).is_(None),
            col(SignInLink.expires_at) > at,
        )
        .values(used_at=at)
    )
    if not used.rowcount:
        return None
    link = (await session.exec(select(SignInLink).where(SignInLink.token_hash == link_hash))).one()
    opened = secrets.token_urlsafe(32)
    session.add(
        ConsoleSession(
            token_hash=_hash(opened),
            platform=link.platform,
            pseudonym=link.pseudonym,
            external_id=link.external_id,
            role=link.role,
            community_id=link.community_id,
            browser=browser,
            created_at=at,
            seen_at=at,
            expires_at=at + lasts,
        )
    )
    audit(session, identity_of(link).name, "console.sign_in", link.role, browser=browser)
    await session.flush()
    return opened


async def find(session: AsyncSession, token: str) -> ConsoleSession | None:
    """The session with that token, while it lasts."""
    open_one = select(ConsoleSession).where(ConsoleSession.token_hash == _hash(token), *_lasting())
    return (await session.exec(open_one)).one_or_none()


async def note_seen(session: AsyncSession, session_id: int) -> None:
    """Keep that a session was used just now."""
    of_that = col(ConsoleSession.id) == session_id
    await session.exec(update(ConsoleSession).where(of_that).values(seen_at=now()))


async def open_sessions(session: AsyncSession, of: str | None = None) -> list[ConsoleSession]:
    """Every session that lasts, the one used last first; `of` is whose, as `Identity.name`."""
    found = await session.exec(
        select(ConsoleSession).where(*_lasting()).order_by(col(ConsoleSession.seen_at).desc())
    )
    return [row for row in found.all() if of is None or identity_of(row).name == of]


async def end(session: AsyncSession, session_id: int, why: Ended, *, by: str) -> bool:
    """End a session now; whether it still lasted."""
    ended = await session.exec(
        update(ConsoleSession)
        .where(col(ConsoleSession.id) == session_id, *_lasting())
        .values(ended_at=now(), ended_why=why)
    )
    if ended.rowcount:
        audit(session, by, "console.sign_out", f"session {session_id}", why=why)
        await session.flush()
    return bool(ended.rowcount)


async def change_role(session: AsyncSession, session_id: int, role: str) -> None:
    """Keep that the platform vouches for another role now."""
    of_that = col(ConsoleSession.id) == session_id
    await session.exec(update(ConsoleSession).where(of_that).values(role=role))


async def forget(session: AsyncSession, platform: str, pseudonym: str) -> None:
    """Delete every link and session of somebody who is forgotten: both hold their platform's id."""
    for table in (SignInLink, ConsoleSession):
        await session.exec(
            delete(table).where(col(table.platform) == platform, col(table.pseudonym) == pseudonym)
        )


async def delete_old(session: AsyncSession, older_than: datetime) -> int:
    """Delete links and sessions that expired or ended before that; how many there were."""
    links = await session.exec(delete(SignInLink).where(col(SignInLink.expires_at) < older_than))
    sessions = await session.exec(
        delete(ConsoleSession).where(
            or_(col(ConsoleSession.expires_at) < older_than, col(ConsoleSession.ended_at) < older_than)
        )
    )
    return links.rowcount + sessions.rowcount


def _lasting() -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return col(ConsoleSession.ended_at).is_(None), col(ConsoleSession.expires_at) > now()


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
