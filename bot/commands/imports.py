"""Bringing in what others wrote, one way in for all of it: looking first, then pairs, ratings and talk.

A file is recognised by its content (`feedback.imports`). Pairs, preferences and ratings become turns
(`data.import_pairs`); talk becomes candidates that wait in the review queue, each with its evidence, in the
community that it took place in. What an import made is known by its number, and can be taken back.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from typing import Any, Final, Literal, get_args

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from bot.access.actor import Actor
from bot.access.rights import require
from bot.commands import data
from bot.commands.communities import find_community
from bot.commands.mining import OnProgress, Pseudonym, Talk, mine_apart, mine_talk, name_of
from feedback import consent, imported, journal
from feedback.database import Database
from feedback.errors import NotFound, UsageError
from feedback.imports import layouts
from feedback.imports.recognising import Found, Recognised, recognise
from feedback.imports.records import Broken, Message, Options, Pair, People, Preference, Rating, Record
from feedback.imports.sources import content_hash
from feedback.tables import (
    PHRASING,
    Candidate,
    Community,
    ImportedVoice,
    Turn,
    now,
)
from feedback.words import LANGUAGES, TASK_TYPES, Platform
from training.data.language import language_of_pair
from training.data.mining.answers import Answer
from training.data.mining.answers import Candidate as Card
from training.data.mining.notes import Notes
from training.data.pair_files.kinds import ENDINGS
from training.data.pair_files.reading import PairFile
from training.data.pairs import TrainingPair
from training.model.reasoning import answer_of

LOOKED_AT: Final = 2_000
"""Records of each file that a preview reads."""
SHOWN: Final = 3
BROKEN_SHOWN: Final = 20
CARDS_AT_ONCE: Final = 100
"""Cards written in one transaction."""


@dataclass(frozen=True)
class FileFound:
    """A file that was recognised: what it is, and what its first records look like."""

    name: str
    format: str
    title: str
    kind: str
    size: int
    community: str
    records: int
    is_whole: bool
    examples: tuple[str, ...]
    left_out: dict[str, int]


@dataclass(frozen=True)
class Preview:
    """What a path holds, before anything is written. `broken` are the first broken records that were met."""

    path: str
    files: tuple[FileFound, ...]
    unknown: tuple[str, ...]
    broken: tuple[str, ...]
    needs_agreement: bool


@dataclass(frozen=True)
class TalkImported:
    """What an import of talk did. `cards` wait in the queue; `known` were there before, or decided already.

    `left_out` counts messages by why they were not taken.
    """

    file: str
    community: str
    format: str
    import_id: int
    messages: int
    threads: int
    questions: int
    cards: int
    known: int
    phrasings: int
    left_out: dict[str, int] = field(default_factory=dict)
    broken: int = 0
    broken_at: tuple[str, ...] = ()
    before: str = ""


@dataclass(frozen=True)
class ImportView:
    """An import as a list shows it."""

    import_id: int
    source: str
    format: str
    community: str
    state: str
    turns: int
    by: str
    started_at: datetime
    file_hash: str


Result = data.Imported | TalkImported


def look(path: Path, options: Options | None = None) -> Preview:
    """What a path holds. Raises UsageError for what is nothing known, and for one that is not there."""
    recognised = _recognise(path, options)
    files, broken = [], []
    for one in recognised.found:
        people = People(lambda external_id: external_id)
        records = list(islice(one.read(people), LOOKED_AT))
        whole = len(records) < LOOKED_AT
        bad = [record for record in records if isinstance(record, Broken)]
        broken += [f"{name_of(one)}, {record.place}: {record.reason}" for record in bad]
        good = [record for record in records if not isinstance(record, Broken)]
        files.append(
            FileFound(
                name_of(one),
                one.format.name,
                one.format.title,
                one.format.kind,
                one.source.size,
                one.community_name or one.community,
                len(good),
                whole,
                tuple(_example(record) for record in good[:SHOWN]),
                dict(people.left_out),
            )
        )
    return Preview(
        str(path),
        tuple(files),
        recognised.unknown,
        tuple(broken[:BROKEN_SHOWN]),
        any(one.format.kind == "talk" for one in recognised.found),
    )


async def bring_in(
    database: Database,
    path: Path,
    *,
    imported_by: Actor,
    pseudonym: Pseudonym,
    data_folder: Path | None = None,
    options: Options | None = None,
    community: str | None = None,
    held_out: bool = False,
    agreed: bool = False,
    strict: bool = False,
    apart: bool = False,
    on_progress: OnProgress = lambda what, done, total: None,
) -> list[Result]:
    """Write down what a path holds; running it again changes nothing, and finishes what was interrupted.

    Talk is mined in a process of its own if it is to be `apart`. What was found in it is noted in
    `data_folder` until it is in, so that it goes on there; None notes nothing.

    `community` names the community that it belongs to; left out, talk goes to the one that it took place in,
    and pairs to one named like the file. `agreed` says that the community agreed to its talk being used.
    Raises UsageError for what is nothing known, and for talk that nobody vouched for.
    """
    require(imported_by, "data.import", None)
    recognised = await asyncio.to_thread(_recognise, path, options)
    results: list[Result] = []
    talk = [one for one in recognised.found if one.format.kind == "talk"]
    if talk and not agreed:
        raise UsageError(
            f"{path} holds what members said to one another.",
            "Ask the community first; an administrator then says so with --agreed.",
        )
    for one in recognised.found:
        if one.format.kind != "talk":
            results.append(
                await data.import_pairs(
                    database,
                    path if one.source.name == path.name else Path(name_of(one)),
                    imported_by=imported_by,
                    community=community
                    or (path.stem if len(recognised.found) > 1 else one.name.partition(" (")[0] or None),
                    held_out=held_out,
                    on_progress=lambda done, total: on_progress("importing", done, total),
                    reader=partial(_pairs, path, one, pseudonym, strict),
                    file_hash=await asyncio.to_thread(content_hash, [one.source]),
                    format=one.format.name,
                )
            )
    places = sorted(talk, key=lambda one: (one.platform, one.community))
    for _, of_place in groupby(places, key=lambda one: (one.platform, one.community)):
        results.append(
            await _import_talk(
                database,
                path,
                list(of_place),
                imported_by,
                pseudonym,
                data_folder,
                options,
                community,
                apart,
                on_progress,
            )
        )
    return results


async def imports(database: Database, actor: Actor) -> list[ImportView]:
    """Every import, the newest first."""
    require(actor, "data.import", None)
    async with database.session(read_only=True) as session:
        rows = await imported.imports(session)
        counts = Counter(
            (await session.exec(select(Turn.import_id).where(col(Turn.import_id).is_not(None)))).all()
        )
        communities = {row.id: row for row in (await session.exec(select(Community))).all()}
    return [
        ImportView(
            row.id or 0,
            row.source,
            row.format,
            communities[row.community_id].name or communities[row.community_id].external_id,
            row.state,
            counts[row.id],
            row.imported_by,
            row.started_at,
            row.file_hash,
        )
        for row in rows
    ]


async def undo(database: Database, import_id: int, actor: Actor) -> int:
    """Take an import back with everything made from it; how many turns were erased.

    Datasets are rewritten as after forget-me; adapters that learnt from it are named by their lineage.
    Raises NotFound, and Conflict for one that was taken back before.
    """
    require(actor, "data.import", None)
    async with database.session() as session:
        return await consent.take_back(session, import_id, actor=actor.name)


def _recognise(path: Path, options: Options | None) -> Recognised:
    try:
        return recognise(path, options)
    except OSError as error:
        raise UsageError(
            f"Reading {path} failed: {error.strerror or error}.",
            f"Name an export of a chat, or a file of pairs ({', '.join(ENDINGS)}).",
        ) from error


def _example(record: Record) -> str:
    match record:
        case Message(text=text):
            return text
        case Pair(question=question, answer=answer):
            return f"{question} → {answer}"
        case Preference(question=question, chosen=chosen, rejected=rejected):
            return f"{question} → {chosen} rather than {rejected}"
        case Rating(question=question, answer=answer, good=good):
            return f"{question} → {answer} ({ {True: 'good', False: 'bad', None: 'not rated'}[good] })"
        case Broken(place=place, reason=reason):
            return f"{place}: {reason}"


def _pairs(path: Path, found: Found, pseudonym: Pseudonym, strict: bool) -> data.Readable:
    """The pairs of a file: our own files by their own reader, which knows their lineage."""
    ours = (
        found.format is layouts.ALPACA
        and path.is_file()
        and path.suffix.lower() in ENDINGS
        and found.source.encoding() in ("utf-8", "utf-8-sig")
    )
    if ours:
        return PairFile(path, skip_broken=not strict)
    return _OthersPairs(found, pseudonym)


class _OthersPairs:
    """Pairs, preferences and ratings of others' files, to iterate over as often as needed."""

    def __init__(self, found: Found, pseudonym: Pseudonym) -> None:
        self._found = found
        self._pseudonym = pseudonym
        self.left_out: set[str] = set()
        self.broken: list[str] = []

    def __iter__(self) -> Iterator[data.Brought]:
        self.broken = []
        for record in self._found.read(People(lambda external_id: external_id)):
            if isinstance(record, Broken):
                self.broken.append(f"{record.place}: {record.reason}")
            elif (brought := self._brought(record)) is not None:
                yield brought

    def _brought(self, record: Record) -> data.Brought | None:
        match record:
            case Pair():
                return data.Brought(
                    _pair(record, record.answer, record.task_type, record.language, record.talk)
                )
            case Preference():
                return data.Brought(
                    _pair(record, record.rejected), state="edited", better=answer_of(record.chosen)
                )
            case Rating(is_label=True):
                return data.Brought(
                    _pair(record, record.answer), state="approved" if record.good else "rejected"
                )
            case Rating():
                rater = self._pseudonym(data.PLATFORM, record.rater or self._found.source.name)
                thumb: Literal[-1, 0, 1] = 1 if record.good else -1
                if record.good is None and not record.better:
                    thumb = 0
                return data.Brought(
                    _pair(record, record.answer),
                    state="waiting",
                    better=record.better,
                    thumb=thumb,
                    reason=record.reason,
                    rater=rater,
                )
        return None


def _pair(
    record: Pair | Preference | Rating, answer: str, task_type: str = "", language: str = "", talk: str = ""
) -> TrainingPair:
    """A record of others' as ours, reasoning taken out of its answer."""
    output = answer_of(answer)
    lineage: dict[str, Any] = {}
    if record.history:
        said = [{"question": asked, "answer": answer_of(told)} for asked, told in record.history]
        lineage["history"] = json.dumps(said, ensure_ascii=False)
    if record.system:
        lineage["persona"] = record.system
    if talk:
        lineage["conversation"] = talk
    return TrainingPair(
        record.question,
        record.input,
        output,
        task_type if task_type in TASK_TYPES else "qa",
        language if language in LANGUAGES else language_of_pair(record.question, output),
        lineage or None,
    )


async def _import_talk(
    database: Database,
    path: Path,
    files: list[Found],
    imported_by: Actor,
    pseudonym: Pseudonym,
    data_folder: Path | None,
    options: Options | None,
    community: str | None,
    apart: bool,
    on_progress: OnProgress,
) -> TalkImported:
    first = files[0]
    file_hash = await asyncio.to_thread(content_hash, [one.source for one in files])
    async with database.session() as session:
        home = await _home(session, first, path, community)
        row = await imported.begin(
            session,
            community_id=home.id or 0,
            source=path.name,
            format=first.format.name,
            file_hash=file_hash,
            imported_by=imported_by.name,
        )
        opted_out = await imported.opted_out(session, first.platform)
        name, import_id, home_id = home.name or home.external_id, row.id or 0, home.id or 0
        if row.state == "done":
            counts, when = row.counts, (row.finished_at or row.started_at).date().isoformat()
            return TalkImported(
                str(path), name, first.format.name, import_id, counts["messages"], counts["threads"],
                counts["questions"], 0, counts["cards"], 0, before=when,
            )  # fmt: skip
    talk = Talk(path, options, first.platform, first.community, pseudonym, opted_out, data_folder, file_hash)
    if apart:
        done = await mine_apart(talk, on_progress)
    else:
        done = await asyncio.to_thread(mine_talk, talk, on_progress)
    mined, broken = done.mined, done.broken
    new = known = phrasings = 0
    for start in range(0, len(mined.cards), CARDS_AT_ONCE):
        some = mined.cards[start : start + CARDS_AT_ONCE]
        async with database.session() as session:
            written = await _write_cards(session, home_id, import_id, first.platform, some)
        new, phrasings = new + written[0], phrasings + written[1]
        known += len(some) - written[0]
        on_progress("writing candidates", start + len(some), len(mined.cards))
    left_out = dict(sorted(done.left_out.items()))
    counts = {
        "messages": mined.messages,
        "threads": mined.threads,
        "questions": mined.questions,
        "cards": new,
        "broken": len(broken),
        "left_out": left_out,
    }
    async with database.session() as session:
        await imported.finish(session, import_id, counts)
    if data_folder is not None:
        Notes(data_folder, file_hash).delete()
    return TalkImported(
        str(path),
        name,
        first.format.name,
        import_id,
        mined.messages,
        mined.threads,
        mined.questions,
        new,
        known,
        phrasings,
        left_out,
        len(broken),
        tuple(broken[:BROKEN_SHOWN]),
    )


async def _home(session: AsyncSession, found: Found, path: Path, named: str | None) -> Community:
    """The community that talk belongs to: the one named, or where it took place; made on first sight.

    One that is made here may train, since whoever imports its talk vouched that it agreed.
    """
    if named is not None:
        try:
            return await find_community(session, named)
        except NotFound:
            platform, colon, external_id = named.partition(":")
            if not colon or platform not in get_args(Platform):
                platform, external_id = data.PLATFORM, named
            name = external_id
    elif found.community:
        platform, external_id = found.platform, found.community
        name = found.community_name
    else:
        platform, external_id, name = data.PLATFORM, path.stem, path.stem
    known = await journal.community_of(session, platform, external_id)
    if known is not None:
        return known
    home = await journal.community(session, platform, external_id, name=name)
    home.training_allowed = True
    session.add(home)
    await session.flush()
    return home


async def _write_cards(
    session: AsyncSession, community_id: int, import_id: int, platform: str, cards: Sequence[Card]
) -> tuple[int, int]:
    """Write candidates down; how many were new, and how many further phrasings they have."""
    ids = [[_turn_id(platform, *message) for message in card.messages] for card in cards]
    every = [one for some in ids for one in some]
    there = select(Turn.external_id).where(
        Turn.community_id == community_id, col(Turn.external_id).in_(every)
    )
    known = set((await session.exec(there)).all())
    new = phrasings = 0
    for card, own in zip(cards, ids, strict=True):
        if known.isdisjoint(own):
            phrasings += await _write_card(session, community_id, import_id, platform, card)
            new += 1
    return new, phrasings


async def _write_card(
    session: AsyncSession, community_id: int, import_id: int, platform: str, card: Card
) -> int:
    key = _turn_id(platform, card.talk, card.message)
    conversation = await journal.conversation(session, community_id, key)
    best = card.answers[0]
    moment = now()

    def turn(external_id: str, question: str, **more: Any) -> Turn:
        return Turn(
            community_id=community_id,
            conversation_id=conversation.id or 0,
            external_id=external_id,
            state="answered",
            question=question,
            input=card.input,
            answer=best.text,
            language=language_of_pair(question, best.text),
            import_id=import_id,
            asked_at=moment,
            answered_at=moment,
            **more,
        )

    lead = turn(key, card.question, queue_rank=1 + round((1 - card.score) * 1000))
    session.add(lead)
    await session.flush()
    lead_id = lead.id or 0
    session.add(
        Candidate(
            turn_id=lead_id,
            score=card.score,
            reasons=_reasons(best),
            answers=[
                {"text": one.text, "score": one.score, "reasons": _reasons(one)} for one in card.answers[1:]
            ],
            asked_at=datetime.fromtimestamp(card.at, UTC),
        )
    )
    session.add_all(
        ImportedVoice(turn_id=lead_id, platform=platform, pseudonym=voice) for voice in card.voices
    )
    for phrasing in card.phrasings:
        other = turn(
            _turn_id(platform, phrasing.talk, phrasing.message),
            phrasing.question,
            review_state=PHRASING,
            regenerates_id=lead_id,
        )
        session.add(other)
        await session.flush()
        session.add_all(
            ImportedVoice(turn_id=other.id or 0, platform=platform, pseudonym=voice)
            for voice in {phrasing.asker, best.author}
        )
    await session.flush()
    return len(card.phrasings)


def _reasons(answer: Answer) -> list[list[Any]]:
    return [[reason, count] for reason, count in answer.reasons]


def _turn_id(platform: str, talk: str, message: str) -> str:
    return f"talk:{hashlib.sha256(json.dumps([platform, talk, message]).encode()).hexdigest()[:32]}"
