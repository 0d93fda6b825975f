"""Bringing pairs in from a file, and taking them out.

An imported pair becomes an answered turn of a community on the platform "import", approved by whoever
imported it: nothing trains without a review. What the file says was said before it becomes turns of the same
conversation, which wait for no review. A turn's platform id is the hash of its texts, so the same file
imported twice changes nothing, and an import cut short is finished by running it again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from sqlalchemy import func, insert, inspect
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import and_, col, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from bot.access.actor import Actor
from bot.access.rights import require
from feedback import conversations, imported, journal, passages, votes
from feedback.conversations import Spoken
from feedback.database import Database
from feedback.errors import UsageError
from feedback.imports.sources import content_hash, sources
from feedback.tables import CONTEXT, Community, Conversation, Review, Turn, now
from feedback.words import MODES, Decision, Platform, ReviewState
from training.data.dataset import history
from training.data.language import language_of_pair
from training.data.pair_files.reading import PairFile
from training.data.pair_files.writing import write_pairs
from training.data.pairs import TrainingPair

PLATFORM: Final[Platform] = "import"
PAIRS: Final = "pairs"
"""The format of our own files."""
BROKEN_SHOWN: Final = 20
_DECISIONS: Final[dict[str, Decision]] = {"approved": "approve", "edited": "edit", "rejected": "reject"}
AT_ONCE: Final = 500
"""Pairs written in one transaction: the write lock is held for well under a second."""
HISTORY_TURNS: Final = 10
"""Earlier turns that go out with each pair: more than a prompt or a training pair has by default."""
_KEY: Final = re.compile(r"sha256:[0-9a-f]{32}")

State = Literal["approved", "edited", "rejected", "waiting"]
What = Literal["approved", "all"]
OnProgress = Callable[[int, int], None]
"""Called with the pairs done and the pairs in all."""


@dataclass(frozen=True)
class Brought:
    """A pair to write down, and what has been decided on it already.

    `better` is the answer that was preferred (state "edited") or suggested (state "waiting"); `thumb` is the
    vote of `rater`, a pseudonym, with its `reason`.
    """

    pair: TrainingPair
    state: State = "approved"
    better: str = ""
    thumb: Literal[-1, 0, 1] = 0
    reason: str = ""
    rater: str = ""


class Readable(Protocol):
    """Pairs to iterate over as often as needed; `left_out` are the columns that pairs have no room for."""

    left_out: set[str]

    def __iter__(self) -> Iterator[TrainingPair | Brought]:
        """The pairs in the order of the file."""


@dataclass(frozen=True)
class Imported:
    """What an import did: pairs in the file, those that were new, those that had been there already.

    `left_out` are the columns of the file that were not taken, `broken` says where its first broken records
    are, of `broken_records` in all. `persona` is the system text that all its pairs have, when the community
    speaks with it now. `waiting` of the pairs wait for a decision.
    """

    file: str
    community: str
    pairs: int
    new: int
    known: int
    held_out: bool
    left_out: tuple[str, ...] = ()
    persona: str = ""
    import_id: int = 0
    format: str = PAIRS
    waiting: int = 0
    broken_records: int = 0
    broken: tuple[str, ...] = ()


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
    reader: Callable[[], Readable] | None = None,
    file_hash: str = "",
    format: str = PAIRS,
) -> Imported:
    """Import every pair of a file. `community` None is the file's name.

    Of a file of ours, nothing is imported when a line of it is bad. `reader` reads what others wrote, in
    `format`; what it cannot read is counted, and the rest goes in.

    Where `export_pairs` wrote the file, conversations, their order and modes are kept, and what was held out
    there is held out here. A system text that all pairs have in common becomes the persona of a community
    that has none. Raises PairsError naming the line; UsageError for a file without pairs.
    """
    require(imported_by, "data.import", None)
    read = reader or (lambda: PairFile(file))
    seen = await asyncio.to_thread(_survey, file, read)  # reads it all before anything is written
    file_hash = file_hash or await asyncio.to_thread(content_hash, sources(file))
    external_id = community or Path(file.name.removesuffix(".gz")).stem
    async with database.session() as session:
        home = await journal.community(session, PLATFORM, external_id, name=external_id)
        home.training_allowed = True
        home.persona = home.persona or seen.persona
        session.add(home)
        row = await imported.begin(
            session,
            community_id=home.id or 0,
            source=file.name,
            format=format,
            file_hash=file_hash,
            imported_by=imported_by.name,
        )
        import_id, goes_on = row.id or 0, row.state == "running"
    left_out = seen.left_out
    if seen.has_personas and (not seen.persona or home.persona != seen.persona):
        left_out = (*left_out, "system")
    done = row.done if goes_on else 0
    new = 0
    pairs = islice(map(_brought, read()), done, None)
    while batch := list(islice(pairs, AT_ONCE)):
        async with database.session() as session:
            new += await _write(session, home.id or 0, import_id, batch, imported_by.name, held_out)
            await imported.reached(session, import_id, done + len(batch))
        done += len(batch)
        on_progress(done, seen.pairs)
    counts = {"pairs": seen.pairs, "new": new} | ({"broken": len(seen.broken)} if seen.broken else {})
    async with database.session() as session:
        await imported.finish(session, import_id, counts)
    persona = "" if home.persona != seen.persona else seen.persona
    return Imported(
        str(file),
        external_id,
        seen.pairs,
        new,
        seen.pairs - new,
        held_out,
        tuple(sorted(left_out)),
        persona,
        import_id,
        format,
        seen.waiting,
        len(seen.broken),
        tuple(seen.broken[:BROKEN_SHOWN]),
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
    waiting: int
    broken: list[str]


def _brought(one: TrainingPair | Brought) -> Brought:
    return one if isinstance(one, Brought) else Brought(one)


def _survey(file: Path, read: Callable[[], Readable]) -> _Survey:
    """What a file holds. Raises PairsError; UsageError for a file without pairs."""
    pairs = read()
    total = 0
    waiting = 0
    personas: set[str] = set()
    for brought in map(_brought, pairs):
        pair = brought.pair
        total += 1
        waiting += brought.state == "waiting"
        if len(personas) < 2:  # two differ, and so no one is everybody's
            personas.add(str((pair.lineage or {}).get("persona") or ""))
    broken: list[str] = getattr(pairs, "broken", [])
    if total == 0:
        why = f" {broken[0]}." if broken else ""
        raise UsageError(f"{file} holds no pairs.{why}", "Put one pair on each line.")
    persona = personas.pop() if len(personas) == 1 else ""
    has_personas = bool(persona or personas - {""})
    return _Survey(total, tuple(pairs.left_out), persona, has_personas, waiting, broken)


@dataclass(frozen=True)
class _Imported:
    """A turn to write: of a pair, or (`is_context`) of what was said before one."""

    pair: TrainingPair
    conversation: str
    id: str
    is_context: bool = False
    regenerates: str = ""
    brought: Brought | None = None

    @property
    def state(self) -> ReviewState:
        return self.brought.state if self.brought else CONTEXT

    @property
    def approved(self) -> str:
        return {"approved": self.pair.output, "edited": self.brought.better if self.brought else ""}.get(
            self.state, ""
        )


def _turns(brought: Sequence[Brought]) -> list[_Imported]:
    """The turns that pairs stand for, each conversation's in its order."""
    turns: dict[str, _Imported] = {}
    first: dict[tuple[str, str, str, str], str] = {}
    for one in brought:
        pair = one.pair
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
            pair, key, turn_id, regenerates="" if asked_first == turn_id else asked_first, brought=one
        )
    return list(turns.values())


async def _write(
    session: AsyncSession,
    community_id: int,
    import_id: int,
    pairs: Sequence[Brought],
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
            approved_answer=turn.approved,
            import_id=import_id,
            mode=lineage["mode"] if lineage.get("mode") in MODES else "default",
            language=turn.pair.language,
            task_type=turn.pair.task_type,
            asked_at=moment,
            answered_at=moment,
            review_state=turn.state,
            held_out=not turn.is_context and (held_out or lineage.get("held_out") is True),
        ).model_dump(exclude={"id"})
        for turn in turns
        for lineage in [turn.pair.lineage or {}]
    ]
    table = inspect(Turn).local_table  # a statement on the table, not on the class, is compiled once for all
    once = _insert(session)(table).on_conflict_do_nothing(index_elements=["community_id", "external_id"])
    columns = (table.c.id, table.c.review_state, table.c.approved_answer)
    written = await session.exec(once.returning(*columns), params=rows)
    new = [(turn_id, state, better) for turn_id, state, better in written if state != CONTEXT]
    decided = [turn for turn in turns if turn.state == "approved"]
    new += [(turn_id, "approved", "") for turn_id in await _approved_since(session, community_id, decided)]
    await _vote(session, community_id, turns)
    if new:
        reviews: list[dict[str, Any]] = [
            {
                "turn_id": turn_id,
                "reviewer": imported_by,
                "decision": _DECISIONS[state],
                "answer": better if state == "edited" else "",
                "note": "",
                "decided_at": moment,
            }
            for turn_id, state, better in new
            if state in _DECISIONS
        ]
        if reviews:
            await session.exec(insert(Review), params=reviews)
        await passages.follow(session, col(Turn.id).in_([turn_id for turn_id, _, _ in new]))
        await _join_answers(session, turns, conversation_ids)
    return len(new)


async def _vote(session: AsyncSession, community_id: int, turns: Sequence[_Imported]) -> None:
    """Give the thumbs that others gave; the same one twice is one."""
    rated = {turn.id: turn.brought for turn in turns if turn.brought and turn.brought.thumb}
    if not rated:
        return
    found = await session.exec(
        select(Turn.external_id, Turn.id).where(
            Turn.community_id == community_id, col(Turn.external_id).in_(rated)
        )
    )
    for external_id, turn_id in found.all():
        brought = rated[external_id]
        member = await journal.member(session, PLATFORM, brought.rater)
        await votes.vote(
            session,
            turn_id=turn_id or 0,
            member_id=member.id or 0,
            value=brought.thumb,
            reason=brought.reason,
            suggested_answer=brought.better,
        )


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
