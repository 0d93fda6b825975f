"""Bringing pairs in from a file, and taking them out.

An imported pair becomes an answered turn of a community on the platform "import", approved by whoever
imported it: nothing trains without a review. A turn's platform id is the hash of its texts, so the same file
imported twice changes nothing, and an import cut short is finished by running it again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal

from sqlalchemy import insert, inspect
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import col, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from bot.access.actor import Actor
from bot.access.rights import require
from feedback import journal, review
from feedback.database import Database
from feedback.errors import UsageError
from feedback.tables import Conversation, Member, Review, Turn, now
from feedback.words import MODES, Platform
from training.data.pairs import TrainingPair, read_pairs, write_pairs

PLATFORM: Final[Platform] = "import"
AT_ONCE: Final = 500
"""Pairs written in one transaction: the write lock is held for well under a second."""

What = Literal["approved", "all"]
OnProgress = Callable[[int, int], None]
"""Called with the pairs done and the pairs in all."""


@dataclass(frozen=True)
class Imported:
    """What an import did: pairs in the file, those that were new, those that had been there already."""

    file: str
    community: str
    pairs: int
    new: int
    known: int
    held_out: bool


@dataclass(frozen=True)
class Exported:
    """What an export wrote."""

    file: str
    what: What
    pairs: int


async def import_pairs(
    database: Database,
    file: Path,
    *,
    imported_by: Actor,
    community: str | None = None,
    held_out: bool = False,
    on_progress: OnProgress = lambda done, total: None,
) -> Imported:
    """Import every pair of a file, or none when a line of it is bad. `community` None is the file's name.

    Where `export_pairs` wrote the file, modes are kept, and what was held out there is held out here.
    Raises PairsError naming the line; UsageError for a file without pairs.
    """
    require(imported_by, "data.import", None)
    total = sum(1 for _ in read_pairs(file))  # reads it all before anything is written
    if total == 0:
        raise UsageError(f"{file} holds no pairs.", "Put one pair on each line.")
    external_id = community or file.stem
    async with database.session() as session:
        home = await journal.community(session, PLATFORM, external_id, name=external_id)
        home.training_allowed = True
        session.add(home)
    done = new = 0
    pairs = read_pairs(file)
    while batch := list(islice(pairs, AT_ONCE)):
        async with database.session() as session:
            new += await _write(session, home.id or 0, batch, imported_by.name, held_out)
        done += len(batch)
        on_progress(done, total)
    if new:
        async with database.session() as session:
            journal.audit(
                session, imported_by.name, "data.import", f"community {home.id}", pairs=total, new=new
            )
    return Imported(str(file), external_id, total, new, total - new, held_out)


async def export_pairs(database: Database, file: Path, *, what: What = "approved") -> Exported:
    """Write pairs to a file, whole or not at all: the approved ones that may train, or every answered turn.

    Turns of members who opted out stay here. Held-out turns are in; `lineage.held_out` marks them.
    Raises PairsError when the file cannot be written.
    """
    async with database.session(read_only=True) as session:
        turns = _approved(session) if what == "approved" else _answered(session)
        pairs = [_pair(turn) async for turn in turns]
    return Exported(str(file), what, write_pairs(file, pairs))


async def _write(
    session: AsyncSession,
    community_id: int,
    pairs: Sequence[TrainingPair],
    imported_by: str,
    held_out: bool,
) -> int:
    """Write a batch; how many of its pairs were new."""
    moment = now()
    conversations = await _conversations(session, community_id, {_question_id(pair) for pair in pairs})
    turns = {
        _content_id(pair): Turn(
            community_id=community_id,
            conversation_id=conversations[_question_id(pair)],
            external_id=_content_id(pair),
            state="answered",
            question=pair.instruction,
            input=pair.input,
            answer=pair.output,
            approved_answer=pair.output,
            mode=lineage["mode"] if lineage.get("mode") in MODES else "default",
            language=pair.language,
            task_type=pair.task_type,
            asked_at=moment,
            answered_at=moment,
            review_state="approved",
            held_out=held_out or lineage.get("held_out") is True,
        ).model_dump(exclude={"id"})
        for pair in pairs
        for lineage in [pair.lineage or {}]
    }
    table = inspect(Turn).local_table  # a statement on the table, not on the class, is compiled once for all
    once = _insert(session)(table).on_conflict_do_nothing(index_elements=["community_id", "external_id"])
    rows = await session.exec(once.returning(table.c.id), params=list(turns.values()))
    new = rows.scalars().all()
    if new:
        reviews: list[dict[str, Any]] = [
            {"turn_id": turn_id, "reviewer": imported_by, "decision": "approve", "answer": "", "note": ""}
            for turn_id in new
        ]
        await session.exec(insert(Review), params=[{**row, "decided_at": moment} for row in reviews])
    return len(new)


async def _conversations(session: AsyncSession, community_id: int, external_ids: set[str]) -> dict[str, int]:
    """The conversations of those platform ids, made where there is none yet.

    A dataset never splits a conversation, so each question has its own, shared by its several answers.
    """
    moment = now()
    await session.exec(
        _insert(session)(Conversation)
        .values(
            [
                {"community_id": community_id, "external_id": external_id, "started_at": moment}
                for external_id in sorted(external_ids)  # in one order, so that two imports cannot deadlock
            ]
        )
        .on_conflict_do_nothing(index_elements=["community_id", "external_id"])
    )
    rows = await session.exec(
        select(Conversation.external_id, Conversation.id).where(
            Conversation.community_id == community_id, col(Conversation.external_id).in_(external_ids)
        )
    )
    return {external_id: conversation_id or 0 for external_id, conversation_id in rows}


def _insert(session: AsyncSession) -> Any:
    return sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert


def _question_id(pair: TrainingPair) -> str:
    return _hash([pair.instruction, pair.input])


def _content_id(pair: TrainingPair) -> str:
    """The platform id of an imported pair: a hash of its texts, which are what makes it that pair."""
    return _hash([pair.instruction, pair.input, pair.output])


def _hash(texts: list[str]) -> str:
    return f"sha256:{hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:32]}"


async def _approved(session: AsyncSession) -> AsyncIterator[Turn]:
    async for approved in review.approved_turns(session):
        yield approved.turn


async def _answered(session: AsyncSession) -> AsyncIterator[Turn]:
    after = 0
    while True:
        page = (
            select(Turn)
            .outerjoin(Member, col(Member.id) == Turn.member_id)
            .where(
                col(Turn.id) > after,
                Turn.state == "answered",
                or_(col(Turn.member_id).is_(None), col(Member.opted_out).is_(False)),
            )
            .order_by(col(Turn.id))
            .limit(AT_ONCE)
        )
        turns = (await session.exec(page)).all()
        for turn in turns:
            yield turn
            after = turn.id or after
        if len(turns) < AT_ONCE:
            return


def _pair(turn: Turn) -> TrainingPair:
    return TrainingPair(
        instruction=turn.question,
        input=turn.input,
        output=turn.approved_answer or turn.answer,
        task_type=turn.task_type,
        language=turn.language,
        lineage={"turn": turn.id, "review": turn.review_state, "mode": turn.mode, "held_out": turn.held_out},
    )
