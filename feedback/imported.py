"""What imports brought in: each import's row, the evidence of candidates from talk, whose words they are.

Leaves to others: reading files (`imports/`), and taking an import back, which erases words (`consent`).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Select
from sqlalchemy.orm import aliased
from sqlmodel import and_, col, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from feedback.errors import NotFound
from feedback.journal import audit
from feedback.tables import Candidate, DataImport, ImportedVoice, Member, Turn, now


async def begin(
    session: AsyncSession,
    *,
    community_id: int,
    source: str,
    format: str,
    file_hash: str,
    imported_by: str,
) -> DataImport:
    """The import of that file into that community; one that was interrupted, or is done, is the same one."""
    known = select(DataImport).where(
        DataImport.community_id == community_id,
        DataImport.file_hash == file_hash,
        col(DataImport.undone_at).is_(None),
    )
    found = (await session.exec(known.order_by(col(DataImport.id)).limit(1))).one_or_none()
    if found is None:
        found = DataImport(
            community_id=community_id,
            source=source,
            format=format,
            file_hash=file_hash,
            imported_by=imported_by,
        )
        session.add(found)
        await session.flush()
    return found


async def reached(session: AsyncSession, import_id: int, done: int) -> None:
    """Note how many of the file's records are in, so that an interrupted import goes on after them."""
    row = await session.get_one(DataImport, import_id)
    row.done = max(row.done, done)
    session.add(row)
    await session.flush()


async def finish(session: AsyncSession, import_id: int, counts: dict[str, Any]) -> None:
    """Note that a file is in, and what it held; one that was imported again keeps its first counts."""
    row = await session.get_one(DataImport, import_id)
    if row.state == "running":
        row.state, row.counts, row.finished_at = "done", counts, now()
        session.add(row)
        audit(session, row.imported_by, "data.import", f"import {import_id}", **counts)
        await session.flush()


async def find(session: AsyncSession, import_id: int) -> DataImport:
    """The import of that number. Raises NotFound."""
    row = await session.get(DataImport, import_id)
    if row is None:
        raise NotFound("import", import_id, "`thumbloop import --list` shows those that there are.")
    return row


async def imports(session: AsyncSession) -> list[DataImport]:
    """Every import, the newest first; those taken back stay, and say so."""
    return list((await session.exec(select(DataImport).order_by(col(DataImport.id).desc()))).all())


async def candidates(session: AsyncSession, turn_ids: Collection[int]) -> dict[int, Candidate]:
    """The evidence of those turns that were found in talk, by turn."""
    rows = await session.exec(select(Candidate).where(col(Candidate.turn_id).in_(turn_ids)))
    return {row.turn_id: row for row in rows}


async def phrasings(session: AsyncSession, turn_id: int) -> list[Turn]:
    """The turns that ask otherwise what a candidate asks, oldest first."""
    rows = await session.exec(
        select(Turn)
        .where(
            Turn.regenerates_id == turn_id,
            col(Turn.import_id).is_not(None),
            Turn.state == "answered",
            col(Turn.id).in_(phrasing_ids()),
        )
        .order_by(col(Turn.id))
    )
    return list(rows.all())


async def questions_of(session: AsyncSession, turn_ids: Collection[int]) -> dict[int, list[str]]:
    """How the questions of those candidates are put otherwise, by turn."""
    rows = await session.exec(
        select(Turn.regenerates_id, Turn.question)
        .where(col(Turn.regenerates_id).in_(turn_ids), col(Turn.id).in_(phrasing_ids()))
        .order_by(col(Turn.id))
    )
    found: dict[int, list[str]] = {}
    for turn_id, question in rows:
        found.setdefault(turn_id or 0, []).append(question)
    return found


def phrasing_ids() -> Select[Any]:
    """Turns that follow a candidate, whatever has been decided since."""
    turn = aliased(Turn)
    return select(turn.id).where(
        col(turn.import_id).is_not(None), col(turn.regenerates_id).in_(select(Candidate.turn_id))
    )


def found_in_talk() -> Select[Any]:
    """Turns that people said to one another, which tell nothing about the bot's own answers."""
    turn, led = aliased(Turn), select(Candidate.turn_id)
    return select(turn.id).where(
        col(turn.import_id).is_not(None), or_(col(turn.id).in_(led), col(turn.regenerates_id).in_(led))
    )


def with_words_of_opted_out() -> Select[Any]:
    """Turns that hold words of a member who opted out, whoever asked them."""
    return (
        select(ImportedVoice.turn_id)
        .join(
            Member,
            and_(
                col(Member.platform) == ImportedVoice.platform,
                col(Member.pseudonym) == ImportedVoice.pseudonym,
            ),
        )
        .where(col(Member.opted_out).is_(True))
    )


def with_words_of(platform: str, pseudonym: str) -> Select[Any]:
    """Turns that hold somebody's words, and those that follow such a candidate: they share its answer."""
    theirs = select(ImportedVoice.turn_id).where(
        ImportedVoice.platform == platform, ImportedVoice.pseudonym == pseudonym
    )
    turn = aliased(Turn)
    follows = and_(col(turn.regenerates_id).in_(theirs), col(turn.import_id).is_not(None))
    return select(turn.id).where(or_(col(turn.id).in_(theirs), follows))


async def has_words_of(session: AsyncSession, platform: str, pseudonym: str) -> bool:
    """Whether anything imported holds words of that person."""
    theirs = select(ImportedVoice.id).where(
        ImportedVoice.platform == platform, ImportedVoice.pseudonym == pseudonym
    )
    return (await session.exec(theirs.limit(1))).first() is not None


async def opted_out(session: AsyncSession, platform: str) -> frozenset[str]:
    """The pseudonyms on a platform whose words are not to be taken."""
    rows = await session.exec(
        select(Member.pseudonym).where(Member.platform == platform, col(Member.opted_out).is_(True))
    )
    return frozenset(rows.all())
