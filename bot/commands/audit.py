"""The audit, read: who did what to what, the newest first, found by who, what or whom it was about."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlmodel import col, or_, select

from bot.access.actor import Actor
from bot.access.rights import require
from feedback.database import Database
from feedback.tables import Audit

SHOWN: Final = 50
"""Entries of a page."""


@dataclass(frozen=True)
class Entry:
    """One line of the audit."""

    entry_id: int
    at: datetime
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]


@dataclass(frozen=True)
class AuditPage:
    """Entries, the newest first; `older` goes on before the last of them, None where there are no more."""

    entries: tuple[Entry, ...]
    older: int | None


async def entries(
    database: Database, actor: Actor, *, search: str = "", before: int | None = None
) -> AuditPage:
    """A page of the audit, of what came before the entry `before`. Raises NotAllowed.

    `search` is a subject ("turn 12"), or how an actor ("discord:3f") or an action ("review.") begins.
    """
    require(actor, "audit.view", None)
    found = select(Audit).order_by(col(Audit.id).desc()).limit(SHOWN + 1)
    if before is not None:
        found = found.where(col(Audit.id) < before)
    if search := search.strip():
        found = found.where(
            or_(
                col(Audit.subject) == search,
                col(Audit.actor).startswith(search, autoescape=True),
                col(Audit.action).startswith(search, autoescape=True),
            )
        )
    async with database.session(read_only=True) as session:
        rows = (await session.exec(found)).all()
    shown = [
        Entry(row.id or 0, row.at, row.actor, row.action, row.subject, row.detail) for row in rows[:SHOWN]
    ]
    return AuditPage(tuple(shown), shown[-1].entry_id if len(rows) > SHOWN else None)
