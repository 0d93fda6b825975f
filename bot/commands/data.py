"""Bringing pairs in from a file, and taking them out.

An imported pair becomes an answered turn of a community on the platform "import", approved by whoever
imported it: nothing trains without a review. What the file says was said before it becomes turns of the same
conversation, which wait for no review. A turn's platform id is the hash of its texts, so the same file
imported twice changes nothing, and an import cut short is finished by running it again.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final, Literal

from sqlalchemy import func, insert, inspect
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import and_, col, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from bot.access.actor import Actor
from bot.access.rights import require
from feedback import conversations, journal, passages
from feedback.conversations import Spoken
from feedback.database import Database
from feedback.errors import UsageError
from feedback.tables import CONTEXT, Community, Conversation, Review, Turn, now
from feedback.words import MODES, Platform
from training.data.dataset import history
from training.data.language import language_of_pair
from training.data.pair_files.reading import PairFile
from training.data.pair_files.writing import write_pairs
from training.data.pairs import TrainingPair

PLATFORM: Final[Platform] = "import"
AT_ONCE: Final = 500
"""Pairs written in one transaction: the write lock is held for well under a second."""
HISTORY_TURNS: Final = 10
"""Earlier turns that go out with each pair: more than a prompt or a training pair has by default."""
_KEY: Final = re.compile(r"sha256:[0-9a-f]{32}")

What = Literal["approved", "all"]
OnProgress = Callable[[int, int], None]
"""Called with the pairs done and the pairs in all."""


@dataclass(frozen=True)
class Imported:
    """What an import did: pairs in the file, those that were new, those that had been there already.

    `left_out` are the columns of the file that were not taken. `persona` is the system text that all its
    pairs have, when the community speaks with it now.
    """

    file: str
    community: str
    pairs: int
    new: int
    known: int
    held_out: bool
    left_out: tuple[str, ...] = ()
    persona: str = ""


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

    Where `export_pairs` wrote the file, conversations, their order and modes are kept, and what was held out
    there is held out here. A system text that all pairs have in common becomes the persona of a community
    that has none. Raises PairsError naming the line; UsageError for a file without pairs.
    """
    require(imported_by, "data.import", None)
    seen = _survey(file)  # reads it all before anything is written
    external_id = community or file.stem
    async with database.session() as session:
        home = await journal.community(session, PLATFORM, external_id, name=external_id)
        home.training_allowed = True
        home.persona = home.persona or seen.persona
        session.add(home)
    left_out = seen.left_out
    if seen.has_personas and (not seen.persona or home.persona != seen.persona):
        left_out = (*left_out, "system")
    done = new = 0
    pairs = iter(PairFile(file))
    while batch := list(islice(pairs, AT_ONCE)):
        async with database.session() as session:
            new += await _write(session, home.id or 0, batch, imported_by.name, held_out)
        done += len(batch)
        on_progress(done, seen.pairs)
    if new:
        async with database.session() as session:
            journal.audit(
                session, imported_by.name, "data.import", f"community {home.id}", pairs=seen.pairs, new=new
            )
    persona = "" if home.persona != seen.persona else seen.persona
    return Imported(
        str(file), external_id, seen.pairs, new, seen.pairs - new, held_out, tuple(sorted(left_out)), persona
    )


async def export_pairs(database: Database, file: Path, *, what: What = "approved") -> Exported:
    """Write pairs to a file, whole or not at all: the approved ones that may train, or every answered turn.

    A conversation's pairs come one after the other, each with what was said before it. Turns of members who
    opted out stay here. Held-out turns are in; `lineage.held_out` marks them. Raises PairsError when the file
    cannot be written.
    """
    async with database.session(read_only=True) as session:
        keys = await _conversation_keys(session)
        said = conversations.with_something_approved if what == "approved" else conversations.answered
        found = [
            list(_exported(conversation, what, keys[conversation[0].conversation]))
            async for conversation in said(session)
        ]
    # by their first pair: conversations are numbered in no order when an import makes many at once
    found = sorted(filter(None, found), key=lambda of_one: (of_one[0].lineage or {})["turn"])
    pairs = chain.from_iterable(found)
    return Exported(str(file), what, write_pairs(file, pairs))


@dataclass(frozen=True)
class _Survey:
    pairs: int
    left_out: tuple[str, ...]
    persona: str
    has_personas: bool


def _survey(file: Path) -> _Survey:
    """What a file holds. Raises PairsError; UsageError for a file without pairs."""
    pairs = PairFile(file)
    total = 0
    personas: set[str] = set()
    for pair in pairs:
        total += 1
        if len(personas) < 2:  # two differ, and so no one is everybody's
            personas.add(str((pair.lineage or {}).get("persona") or ""))
    if total == 0:
        raise UsageError(f"{file} holds no pairs.", "Put one pair on each line.")
    persona = personas.pop() if len(personas) == 1 else ""
    return _Survey(total, tuple(pairs.left_out), persona, bool(persona or personas - {""}))


@dataclass(frozen=True)
class _Imported:
    """A turn to write: of a pair, or (`is_context`) of what was said before one."""

    pair: TrainingPair
    conversation: str
    id: str
    is_context: bool = False
    regenerates: str = ""


def _turns(pairs: Sequence[TrainingPair]) -> list[_Imported]:
    """The turns that pairs stand for, each conversation's in its order."""
    turns: dict[str, _Imported] = {}
    first: dict[tuple[str, str, str, str], str] = {}
    for pair in pairs:
        said = history(pair)
        key = _conversation_key(pair, said)
        for exchange in said:
            asked, context, answer = exchange["question"], exchange.get("input", ""), exchange["answer"]
            earlier = TrainingPair(asked, context, answer, language=language_of_pair(asked, answer))
            turn_id = _turn_id(earlier, key)
            turns.setdefault(turn_id, _Imported(earlier, key, turn_id, is_context=True))
        turn_id = _turn_id(pair, key)
        asked_first = first.setdefault((key, json.dumps(said), pair.instruction, pair.input), turn_id)
        turns[turn_id] = _Imported(
            pair, key, turn_id, regenerates="" if asked_first == turn_id else asked_first
        )
    return list(turns.values())


async def _write(
    session: AsyncSession,
    community_id: int,
    pairs: Sequence[TrainingPair],
    imported_by: str,
    held_out: bool,
) -> int:
    """Write a batch; how many of its pairs were new."""
    turns = _turns(pairs)
    conversation_ids = await _conversations(session, community_id, {turn.conversation for turn in turns})
    moment = now()
    rows = [
        Turn(
            community_id=community_id,
            conversation_id=conversation_ids[turn.conversation],
            external_id=turn.id,
            state="answered",
            question=turn.pair.instruction,
            input=turn.pair.input,
            answer=turn.pair.output,
            approved_answer="" if turn.is_context else turn.pair.output,
            mode=lineage["mode"] if lineage.get("mode") in MODES else "default",
            language=turn.pair.language,
            task_type=turn.pair.task_type,
            asked_at=moment,
            answered_at=moment,
            review_state=CONTEXT if turn.is_context else "approved",
            held_out=not turn.is_context and (held_out or lineage.get("held_out") is True),
        ).model_dump(exclude={"id"})
        for turn in turns
        for lineage in [turn.pair.lineage or {}]
    ]
    table = inspect(Turn).local_table  # a statement on the table, not on the class, is compiled once for all
    once = _insert(session)(table).on_conflict_do_nothing(index_elements=["community_id", "external_id"])
    written = await session.exec(once.returning(table.c.id, table.c.review_state), params=rows)
    new = [turn_id for turn_id, state in written if state != CONTEXT]
    new += await _approved_since(session, community_id, [turn for turn in turns if not turn.is_context])
    if new:
        reviews: list[dict[str, Any]] = [
            {"turn_id": turn_id, "reviewer": imported_by, "decision": "approve", "answer": "", "note": ""}
            for turn_id in new
        ]
        await session.exec(insert(Review), params=[{**row, "decided_at": moment} for row in reviews])
        await passages.follow(session, col(Turn.id).in_(new))
        await _join_answers(session, turns, conversation_ids)
    return len(new)


async def _approved_since(session: AsyncSession, community_id: int, turns: Sequence[_Imported]) -> list[int]:
    """The turns that an earlier import brought in as context, and this one as pairs: approved from now on."""
    found = await session.exec(
        select(Turn).where(
            Turn.community_id == community_id,
            col(Turn.external_id).in_([turn.id for turn in turns]),
            Turn.review_state == CONTEXT,
        )
    )
    changed = []
    for turn in found.all():
        turn.review_state, turn.approved_answer = "approved", turn.answer
        session.add(turn)
        changed.append(turn.id or 0)
    await session.flush()
    return changed


async def _join_answers(
    session: AsyncSession, turns: Sequence[_Imported], conversation_ids: dict[str, int]
) -> None:
    """Note of each further answer to the same question, after the same turns, which turn asked it first."""
    again = {turn.id: turn.regenerates for turn in turns if turn.regenerates}
    of_one_question = {
        conversation_ids[turn.conversation] for turn in turns if turn.conversation == _question_id(turn.pair)
    }
    several = (
        select(Turn.conversation_id)
        .where(col(Turn.conversation_id).in_(of_one_question))
        .group_by(col(Turn.conversation_id))
        .having(func.count() > 1)
    )
    answers = (
        select(Turn)
        .where(
            or_(
                col(Turn.conversation_id).in_(several),
                and_(
                    col(Turn.conversation_id).in_(conversation_ids.values()),
                    col(Turn.external_id).in_({*again, *again.values()}),
                ),
            )
        )
        .order_by(col(Turn.id))
    )
    first: dict[int, Turn] = {}
    by_id: dict[str, Turn] = {}
    for answer in (await session.exec(answers)).all():
        by_id[answer.external_id] = answer
        asked_first = first.setdefault(answer.conversation_id, answer)
        if answer.conversation_id not in of_one_question:
            asked_first = by_id.get(again.get(answer.external_id, ""), answer)
        if asked_first is not answer:
            answer.regenerates_id = asked_first.id
            session.add(answer)
    await session.flush()


async def _conversation_keys(session: AsyncSession) -> dict[int, str]:
    """What each conversation is called in files: the same in every export, and nothing of the platform's."""
    rows = await session.exec(
        select(Conversation.id, Conversation.external_id, Conversation.started_at, Community.platform).join(
            Community, col(Community.id) == Conversation.community_id
        )
    )
    return {
        number or 0: external_id if platform == PLATFORM else _hash([str(number), started_at.isoformat()])
        for number, external_id, started_at, platform in rows
    }


def _exported(conversation: Sequence[Spoken], what: What, key: str) -> Iterable[TrainingPair]:
    """The pairs of a conversation, each with the turns before it that nobody rejected."""
    kept: list[Spoken] = []
    for spoken in conversation:
        kept.append(spoken)
        if what == "all" or spoken.approved:
            said = conversations.earlier(kept, len(kept) - 1, HISTORY_TURNS)
            yield _pair(spoken, key, said)
        if spoken.review_state == "rejected":
            kept.pop()


def _pair(spoken: Spoken, key: str, said: Sequence[Spoken]) -> TrainingPair:
    lineage: dict[str, Any] = {
        "turn": spoken.turn,
        "review": spoken.review_state,
        "mode": spoken.mode,
        "held_out": spoken.held_out,
        "conversation": key,
    }
    if said:
        exchanges = [
            {"turn": one.turn, "question": one.question, "input": one.input, "answer": one.answer}
            for one in said
        ]
        lineage["history"] = json.dumps(exchanges, ensure_ascii=False)
    return TrainingPair(
        spoken.question, spoken.input, spoken.answer, spoken.task_type, spoken.language, lineage
    )


async def _conversations(session: AsyncSession, community_id: int, external_ids: set[str]) -> dict[str, int]:
    """The conversations of those platform ids, made where there is none yet.

    A dataset never splits a conversation, so each question that comes alone has its own, shared by its
    several answers.
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


def _conversation_key(pair: TrainingPair, said: Sequence[dict[str, Any]]) -> str:
    """The platform id of a pair's conversation: the exported one's, else a hash of what is said in it."""
    exported = (pair.lineage or {}).get("conversation")
    if isinstance(exported, str) and _KEY.fullmatch(exported):
        return exported
    if not said:
        return _question_id(pair)
    before = [text for one in said for text in (one["question"], one.get("input", ""), one["answer"])]
    return _hash([*before, pair.instruction, pair.input])


def _turn_id(pair: TrainingPair, conversation: str) -> str:
    """The platform id of an imported turn: a hash of its texts, and of the conversation it has a place in."""
    texts = [pair.instruction, pair.input, pair.output]
    return _hash(texts if conversation == _question_id(pair) else [conversation, *texts])


def _hash(texts: list[str]) -> str:
    return f"sha256:{hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:32]}"
