"""Which approved answers and which pieces of documents may be retrieved, kept in step with the record.

Whatever changes a turn's review, its texts or its member's consent calls `follow` in the same transaction, so
that no answer outlives its approval by a moment. Leaves to others: how passages are indexed and found
(`bot.knowledge`); they come in unindexed. Held-out turns examine, so they never become passages.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, or_
from sqlmodel import col, delete, select
from sqlmodel.ext.asyncio.session import AsyncSession

from feedback import imported
from feedback.tables import Document, Member, Passage, RetrievalProjection, Turn, TurnPassage
from feedback.words import APPROVED_STATES


@dataclass(frozen=True)
class Chunk:
    """A piece of a document: `title_path` are the headings above it, outermost first; pages count from 1."""

    text: str
    title_path: tuple[str, ...] = ()
    page: int | None = None
    link: str = ""
    language: str = "en"


@dataclass(frozen=True)
class Used:
    """A passage that stands in a prompt, with its score by retrieval."""

    passage_id: int
    content_hash: str
    score: float


def content_hash(question: str, title_path: str, text: str) -> str:
    """What identifies a passage by what it says: SHA-256, in hex."""
    return hashlib.sha256("\0".join((question, title_path, text)).encode()).hexdigest()


async def follow(session: AsyncSession, *which: ColumnElement[bool]) -> None:
    """Make the passages of the turns that `which` selects be what those turns say now.

    An answer that stays as it was keeps its passage, and so its place in the index.
    """
    await session.flush()
    turns = (
        await session.exec(
            select(Turn)
            .outerjoin(Member, col(Member.id) == Turn.member_id)
            .where(
                *which,
                col(Turn.review_state).in_(APPROVED_STATES),
                col(Turn.approved_answer) != "",
                col(Turn.held_out).is_(False),
                or_(col(Turn.member_id).is_(None), col(Member.opted_out).is_(False)),
                col(Turn.id).not_in(imported.with_words_of_opted_out()),
            )
            .order_by(col(Turn.id))
        )
    ).all()
    wanted = {turn.id: _of_turn(turn) for turn in turns}
    present = (
        await session.exec(
            select(Passage.id, Passage.turn_id, Passage.content_hash)
            .join(Turn, col(Turn.id) == Passage.turn_id)
            .where(*which)
        )
    ).all()
    gone = []
    for passage_id, turn_id, present_hash in present:
        if turn_id in wanted and wanted[turn_id].content_hash == present_hash:
            del wanted[turn_id]
        else:
            gone.append(passage_id)
    await session.exec(delete(Passage).where(col(Passage.id).in_(gone)))
    session.add_all(wanted.values())
    await session.flush()


async def replace_chunks(session: AsyncSession, document: Document, chunks: Sequence[Chunk]) -> int:
    """Make `chunks` the document's passages; how many of them are new. The others keep their index."""
    assert document.id is not None, "a stored document has its id"
    present = (
        await session.exec(
            select(Passage).where(Passage.document_id == document.id).order_by(col(Passage.id))
        )
    ).all()
    reusable: dict[str, list[Passage]] = {}
    for passage in present:
        reusable.setdefault(passage.content_hash, []).append(passage)
    new = 0
    for position, chunk in enumerate(chunks):
        titles = "\n".join(chunk.title_path)
        kept = reusable.get(content_hash("", titles, chunk.text))
        if kept:
            passage = kept.pop(0)
            passage.position, passage.page, passage.link = position, chunk.page, chunk.link
        else:
            new += 1
            passage = Passage(
                community_id=document.community_id,
                document_id=document.id,
                position=position,
                text=chunk.text,
                title_path=titles,
                page=chunk.page,
                link=chunk.link,
                language=chunk.language,
                content_hash=content_hash("", titles, chunk.text),
            )
        session.add(passage)
    gone = [passage.id for left in reusable.values() for passage in left]
    await session.exec(delete(Passage).where(col(Passage.id).in_(gone)))
    await session.flush()
    return new


async def unlearn(session: AsyncSession, *which: ColumnElement[bool]) -> None:
    """Forget what retrieval learnt in the communities of the turns that `which` selects; it starts over."""
    communities = select(Turn.community_id).where(*which)
    await session.exec(
        delete(RetrievalProjection).where(col(RetrievalProjection.community_id).in_(communities))
    )


async def has_any(session: AsyncSession, community_id: int) -> bool:
    """Whether a community has anything to look up."""
    first = select(Passage.id).where(Passage.community_id == community_id).limit(1)
    return (await session.exec(first)).first() is not None


async def record_used(session: AsyncSession, turn_id: int, used: Sequence[Used]) -> None:
    """Note which passages stood in a turn's prompt, in their order there."""
    await session.exec(delete(TurnPassage).where(col(TurnPassage.turn_id) == turn_id))
    session.add_all(
        TurnPassage(
            turn_id=turn_id,
            passage_id=one.passage_id,
            content_hash=one.content_hash,
            place=place,
            score=one.score,
        )
        for place, one in enumerate(used, 1)
    )
    await session.flush()


async def used_in(session: AsyncSession, turn_id: int) -> list[Used]:
    """The passages that stood in a turn's prompt, in their order there."""
    rows = await session.exec(
        select(TurnPassage).where(TurnPassage.turn_id == turn_id).order_by(col(TurnPassage.place))
    )
    return [Used(row.passage_id, row.content_hash, row.score) for row in rows.all()]


async def with_passages(session: AsyncSession, turn_ids: Collection[int]) -> frozenset[int]:
    """Which of these turns had passages in their prompt."""
    some = select(TurnPassage.turn_id).where(col(TurnPassage.turn_id).in_(turn_ids)).distinct()
    return frozenset((await session.exec(some)).all())


def _of_turn(turn: Turn) -> Passage:
    question = f"{turn.question}\n\n{turn.input}" if turn.input else turn.question
    return Passage(
        community_id=turn.community_id,
        turn_id=turn.id,
        question=question,
        text=turn.approved_answer,
        language=turn.language,
        content_hash=content_hash(question, "", turn.approved_answer),
    )
