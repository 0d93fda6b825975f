"""What a community's bot may look up: passages indexed, and found for a question.

One instance for a service. A passage is searchable from the next question on, whichever process brought it:
what waits is indexed before a search, and what is gone falls out because the record is asked last. Nothing
here ever looks beyond the community that it was asked for. Leaves to others: documents and their passages
(`documents/`), which answers are approved (`feedback.passages`), and how passages stand in a prompt
(`bot.answering.prompt`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache, partial
from typing import Any, Final, Literal

import numpy as np
import structlog
from sqlalchemy import bindparam, exists, insert, literal_column, update
from sqlmodel import SQLModel, col, delete, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from bot.answering.lookups import Lookups
from bot.knowledge.embedding import Embedder, Vectors
from bot.knowledge.learning import FIRST, MOST, Lesson, Wording, lesson
from bot.knowledge.projection import turned
from bot.knowledge.ranking import diversify, fuse
from bot.knowledge.stems import VERSION, stems
from bot.knowledge.vector_index import Asked, VectorIndex, square, stored, unpacked
from bot.knowledge.word_index import WordIndex, own_word
from feedback import passages
from feedback.database import Database
from feedback.errors import NotFound
from feedback.tables import Document, Passage, PassageVector, RetrievalProjection, now
from training.model.notes import Note
from training.model.reasoning import answer_of

AT_ONCE: Final = 256
"""Passages indexed in one transaction."""
BEFORE_A_QUESTION: Final = 128
"""Waiting passages that are indexed before a question is answered; `keep_indexed` comes to the rest."""
READ_AT_ONCE: Final = 32
"""So many of the passages that were found are read at once, best first."""
CHOICE: Final = 4
"""Out of so many times the sources that are wanted those are chosen that say different things."""
LOOK_S: Final = 10.0
"""How often it is looked whether passages wait that a question, the start or another process has left."""

LEARN_EVERY: Final = timedelta(days=1)
"""How old what a community's wordings taught may be before they are asked again."""

_PASSAGES: Final = SQLModel.metadata.tables["passage"]
_INDEXED: Final = (
    update(_PASSAGES)
    .where(_PASSAGES.c.id == bindparam("this"))
    .values(stems=bindparam("stemmed"), index_version=bindparam("by"))
)
_VECTORS: Final = insert(SQLModel.metadata.tables["passage_vector"])

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Source:
    """A passage that was found for a question, with all that is shown of it.

    `kind` is "approved" for an answer of the moderators (`turn_id`, `question`) and "document" for a piece of
    `document_id` (`title`, `title_path`, `page`). `score` orders sources of one question and means nothing
    between questions; `cosine` is its nearness to the question, None where words alone found it.
    """

    passage_id: int
    kind: Literal["approved", "document"]
    text: str
    content_hash: str
    score: float
    cosine: float | None = None
    question: str = ""
    title: str = ""
    title_path: tuple[str, ...] = ()
    page: int | None = None
    link: str = ""
    language: str = "en"
    turn_id: int | None = None
    document_id: int | None = None


@dataclass(frozen=True)
class RetrievalOptions:
    """How passages are chosen.

    `candidates` come from each of the two lists; `limit` are given; `trade_off` in [0, 1] is maximal marginal
    relevance's λ. `learns`: communities' wordings teach their retrieval daily, where that surely helps.
    """

    limit: int = 3
    candidates: int = 100
    trade_off: float = 0.9
    learns: bool = True


@dataclass(frozen=True)
class Indexing:
    """How far indexing is: passages done of those that waited, and seconds since it began."""

    done: int
    total: int
    seconds: float

    @property
    def rate(self) -> float:
        """Passages a second."""
        return self.done / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class _Found:
    """The best sources, best first, each text once; `worst` is the lowest score of all that was found."""

    sources: list[Source] = field(default_factory=list)
    worst: float = 0.0


@dataclass(frozen=True)
class _State:
    """What a search has to know of a community first, in one round trip.

    Whether passages wait to be indexed, when its wordings were learnt from, and its newest vector's id.
    """

    waits: bool
    learnt_at: datetime | None
    newest_vector: int


class Knowledge:
    """Finds passages; one instance for all communities of a service.

    Without an `embedder`, words alone are searched. `lookups` are told of each question.
    """

    def __init__(
        self,
        database: Database,
        embedder: Embedder | None,
        options: RetrievalOptions | None = None,
        lookups: Lookups | None = None,
    ) -> None:
        self.options = options or RetrievalOptions()
        self._lookups = lookups or Lookups()
        self._database = database
        self.embedder = embedder
        self._version = f"{VERSION} {embedder.name if embedder else ''}".strip()
        self._words = WordIndex()
        self._vectors = VectorIndex()
        self._embedding = asyncio.Lock()
        self._indexing = asyncio.Lock()
        self._looked_over = False
        self._projections: dict[int, tuple[datetime, Vectors | None]] = {}

    async def retrieve(
        self,
        community_id: int,
        question: str,
        language: str,
        *,
        limit: int | None = None,
        shows: Callable[[int], bool] = lambda turn_id: True,
    ) -> list[Source]:
        """The passages of this community that fit the question best, best first.

        Approved answers whose turn `shows` refuses are left out as if they had never been approved. Each text
        comes once, however many phrasings of its question were approved. Raises DatabaseError,
        EmbeddingFailed.
        """
        most = limit or self.options.limit
        with self._lookups.one():
            found = await self._found(community_id, question, language, most * CHOICE, shows)
        sources = found.sources

        @cache
        def words(place: int) -> set[str]:
            return set(stems(sources[place].text, sources[place].language))

        chosen = diversify(
            {place: one.score for place, one in enumerate(sources)},
            lambda one, other: _overlap(words(one), words(other)),
            limit=most,
            trade_off=self.options.trade_off,
            worst=found.worst,
        )
        return [sources[place] for place in chosen]

    async def index(
        self,
        community_id: int | None = None,
        *,
        most: int | None = None,
        on_progress: Callable[[Indexing], None] = lambda progress: None,
    ) -> int:
        """Index passages that wait, newest first, at most `most`; how many. Interrupted, it goes on later.

        `community_id` None indexes those of all communities. Raises DatabaseError.
        """
        async with self._indexing:
            await self._look_over()
            waiting = await self._count_waiting(community_id)
        total = waiting if most is None else min(waiting, most)
        began, done = asyncio.get_running_loop().time(), 0
        while done < total:
            # let go between batches: a question that comes meanwhile indexes what it needs at once
            async with self._indexing:
                batch = await self._waiting(community_id, min(AT_ONCE, total - done))
                if not batch:
                    break
                await self._index(batch)
            done += len(batch)
            on_progress(Indexing(done, total, asyncio.get_running_loop().time() - began))
        return done

    async def keep_indexed(self) -> None:
        """Index whatever waits, again and again, and learn daily; ends only when it is cancelled."""
        if self.embedder is not None:  # so that no question waits until the model is loaded
            await self._embed(self.embedder.questions, ["?"])
        while True:
            await self.index()
            for community_id in await self._due_to_learn():
                await self.learn(community_id)
            await asyncio.sleep(LOOK_S)

    async def learn(self, community_id: int) -> Lesson | None:
        """Learn from the wordings in which the community's answers were approved, and keep what surely helps.

        None where there are too few wordings, or no vectors. Raises DatabaseError.
        """
        if self.embedder is None:
            return None
        await self.index(community_id)
        async with self._database.session(read_only=True) as session:
            wordings = await _wordings(session, community_id)
        found = await lesson(wordings, partial(self._first_answers, community_id))
        async with self._database.session() as session:
            await session.merge(
                RetrievalProjection(
                    community_id=community_id,
                    index_version=self._version,
                    matrix=b"" if found is None or found.projection is None else stored(found.projection),
                    wordings=found.wordings if found else 0,
                    recall_before=found.before if found else 0.0,
                    recall_after=found.after if found else 0.0,
                    gain_low=found.gain_low if found else 0.0,
                    learnt_at=now(),
                )
            )
        if found is not None:
            log.info(
                "retrieval learnt from wordings",
                community=community_id,
                wordings=found.wordings,
                before=round(found.before, 3),
                after=round(found.after, 3),
                kept=found.projection is not None,
            )
        return found

    async def source(self, community_id: int, passage_id: int) -> Source:
        """A passage as it is now. Raises NotFound when there is none of that id in this community."""
        async with self._database.session(read_only=True) as session:
            found = await _read(session, community_id, [passage_id])
        if passage_id not in found:
            raise NotFound("passage", passage_id, "It may have been removed, or changed.")
        return _source(*found[passage_id], 0.0, None)

    async def _found(
        self, community_id: int, question: str, language: str, enough: int, shows: Callable[[int], bool]
    ) -> _Found:
        """What both searches bring, once everything that waits is indexed."""
        # meanwhile words are searched
        vectors = (
            asyncio.create_task(self._embed(self.embedder.questions, [question])) if self.embedder else None
        )
        try:
            search = partial(self._search, community_id, question, language, vectors, enough, shows)
            found = await search() if self._looked_over else None
            if found is None:
                await self.index(community_id, most=BEFORE_A_QUESTION)
                found = await search(whatever_waits=True) or _Found()
            return found
        finally:
            if vectors is not None:
                vectors.cancel()

    async def _search(
        self,
        community_id: int,
        question: str,
        language: str,
        vectors: asyncio.Task[Vectors] | None,
        enough: int,
        shows: Callable[[int], bool],
        *,
        whatever_waits: bool = False,
    ) -> _Found | None:
        """What both searches bring, in one transaction; None when passages wait to be indexed first.

        Of what they bring no more is read than gives `enough` sources.
        """
        most = self.options.candidates
        sources: dict[str, Source] = {}
        gone: set[int] = set()
        async with self._database.session(read_only=True) as session:
            state = await self._state(session, community_id)
            if state.waits and not whatever_waits:
                return None
            learnt = await self._projection(session, community_id, state.learnt_at)
            await self._vectors.catch_up(session, community_id, state.newest_vector)
            by_words, (nearness, cosines) = await asyncio.gather(
                self._words.search(session, community_id, _asked(question, language), most),
                self._nearest(community_id, vectors, learnt, most),
            )
            scores = fuse(by_words, nearness)
            ranked = list(scores)
            for first in range(0, len(ranked), READ_AT_ONCE):
                ids = ranked[first : first + READ_AT_ONCE]
                rows = await _read(session, community_id, ids)
                gone |= cosines.keys() & (set(ids) - rows.keys())
                for passage_id in ids:
                    if passage_id not in rows or not _shown(rows[passage_id][0], shows):
                        continue
                    source = _source(*rows[passage_id], scores[passage_id], cosines.get(passage_id))
                    sources.setdefault(source.text, source)
                if len(sources) >= enough:
                    break
        await self._vectors.drop(community_id, gone)
        return _Found(list(sources.values()), min(scores.values(), default=0.0))

    async def _nearest(
        self, community_id: int, vectors: asyncio.Task[Vectors] | None, learnt: Vectors | None, most: int
    ) -> tuple[dict[int, float], dict[int, float]]:
        if vectors is None:
            return {}, {}
        vector = (await vectors)[0]
        asked = Asked(vector, vector if learnt is None else turned(vector, learnt))
        return await self._vectors.nearest(community_id, asked, most)

    async def _state(self, session: AsyncSession, community_id: int) -> _State:
        # as a literal: PostgreSQL's plan for any version at all would go through every passage
        waits = exists().where(
            col(Passage.community_id) == community_id, col(Passage.index_version) == literal_column("''")
        )
        learnt_at = select(RetrievalProjection.learnt_at).where(
            RetrievalProjection.community_id == community_id,
            RetrievalProjection.index_version == self._version,
        )
        newest = select(func.max(PassageVector.id)).where(PassageVector.community_id == community_id)
        asked = select(waits, learnt_at.scalar_subquery(), newest.scalar_subquery())
        found, learnt, vector = (await session.exec(asked)).one()
        return _State(found, learnt, vector or 0)

    async def _projection(
        self, session: AsyncSession, community_id: int, learnt_at: datetime | None
    ) -> Vectors | None:
        """What is in service of what this community's wordings taught; read anew when it was learnt anew."""
        if learnt_at is None:
            return None
        known = self._projections.get(community_id)
        if known is None or known[0] != learnt_at:
            row = await session.get_one(RetrievalProjection, community_id)
            known = self._projections[community_id] = (learnt_at, square(row.matrix) if row.matrix else None)
        return known[1]

    async def _first_answers(
        self, community_id: int, wording: Wording, learnt: Vectors | None
    ) -> Sequence[str]:
        """The first answers that a wording finds without its own passage, by that projection."""
        most = self.options.candidates
        vector = wording.vectors[0]
        asked = Asked(vector, vector if learnt is None else turned(vector, learnt))
        async with self._database.session(read_only=True) as session:
            words = _asked(wording.question, wording.language)
            by_words = await self._words.search(session, community_id, words, most + 1)
            await self._vectors.catch_up(session, community_id)
            nearness, _ = await self._vectors.nearest(community_id, asked, most + 1)
            for scores in (by_words, nearness):
                scores.pop(wording.passage_id, None)
            ranked = list(fuse(by_words, nearness))
            texts = dict(
                (
                    await session.exec(
                        select(Passage.id, Passage.text).where(col(Passage.id).in_(ranked[: 10 * FIRST]))
                    )
                ).all()
            )
        return list(dict.fromkeys(texts[one] for one in ranked if one in texts))[:FIRST]

    async def _due_to_learn(self) -> list[int]:
        """The communities with approved answers that have not been learnt from for a day."""
        if self.embedder is None or not self.options.learns:
            return []
        lately = select(RetrievalProjection.community_id).where(
            RetrievalProjection.index_version == self._version,
            col(RetrievalProjection.learnt_at) > now() - LEARN_EVERY,
        )
        due = (
            select(Passage.community_id)
            .where(col(Passage.turn_id).is_not(None), col(Passage.community_id).not_in(lately))
            .distinct()
        )
        async with self._database.session(read_only=True) as session:
            return list((await session.exec(due)).all())

    async def _look_over(self) -> None:
        """Have passages indexed anew that another stemmer or embedder indexed; once in a process."""
        if self._looked_over:
            return
        other = col(Passage.index_version).not_in(("", self._version))
        async with self._database.session(read_only=True) as session:
            outdated = (await session.exec(select(Passage.id).where(other).limit(1))).first()
        if outdated is not None:
            async with self._database.session() as session:
                ids = select(Passage.id).where(other)
                await session.exec(delete(PassageVector).where(col(PassageVector.passage_id).in_(ids)))
                await session.exec(update(Passage).where(other).values(index_version=""))
        self._looked_over = True

    async def _count_waiting(self, community_id: int | None) -> int:
        counted = select(func.count()).select_from(Passage).where(Passage.index_version == "")
        if community_id is not None:
            counted = counted.where(Passage.community_id == community_id)
        async with self._database.session(read_only=True) as session:
            return (await session.exec(counted)).one()

    async def _waiting(self, community_id: int | None, most: int) -> list[Passage]:
        waiting = select(Passage).where(Passage.index_version == "").order_by(col(Passage.id).desc())
        if community_id is not None:
            waiting = waiting.where(Passage.community_id == community_id)
        async with self._database.session(read_only=True) as session:
            return list((await session.exec(waiting.limit(most))).all())

    async def _index(self, batch: Sequence[Passage]) -> None:
        words = await asyncio.to_thread(lambda: [_stems_of(passage) for passage in batch])
        texts = [(passage, text) for passage in batch for text in _embedded(passage)]
        rows: list[dict[str, Any]] = []
        if self.embedder is not None:
            vectors = await self._embed(self.embedder.passages, [text for _, text in texts])
            rows = [
                {"community_id": one.community_id, "passage_id": one.id, "vector": stored(vector)}
                for (one, _), vector in zip(texts, vectors, strict=True)
            ]
        async with self._database.session() as session:
            # whatever was removed meanwhile has nothing to be indexed
            ids = [passage.id for passage in batch]
            still = set(
                await session.exec(
                    select(Passage.id)
                    .where(col(Passage.id).in_(ids), Passage.index_version == "")
                    .with_for_update()
                )
            )
            indexed = [
                {"this": passage.id, "stemmed": stemmed}
                for passage, stemmed in zip(batch, words, strict=True)
                if passage.id in still
            ]
            if indexed:
                # on the connection, so that the batch goes to the database as one statement
                await (await session.connection()).execute(
                    _INDEXED, [one | {"by": self._version} for one in indexed]
                )
            rows = [row for row in rows if row["passage_id"] in still]
            if rows:
                await (await session.connection()).execute(_VECTORS, rows)

    async def _embed(self, embed: Callable[[Sequence[str]], Vectors], texts: Sequence[str]) -> Vectors:
        async with self._embedding:
            return await asyncio.to_thread(embed, texts)


async def _wordings(session: AsyncSession, community_id: int) -> list[Wording]:
    """Approved questions whose answer has several, with their vectors, in the order of their approval.

    Of the answers that were approved last, so that a large community's are not all read.
    """
    of_turns = (Passage.community_id == community_id, col(Passage.turn_id).is_not(None))
    several = (
        select(Passage.text)
        .where(*of_turns)
        .group_by(Passage.text)
        .having(func.count() > 1)
        .order_by(func.max(Passage.id).desc())
        .limit(MOST // 2)
    )
    approved = (*of_turns, col(Passage.text).in_(several))
    rows = await session.exec(
        select(Passage.id, Passage.question, Passage.text, Passage.language)
        .where(*approved)
        .order_by(col(Passage.id))
    )
    vectors: dict[int, list[Vectors]] = {}
    kept = await session.exec(
        select(PassageVector.passage_id, PassageVector.vector)
        .join(Passage, col(Passage.id) == PassageVector.passage_id)
        .where(*approved)
        .order_by(col(PassageVector.id))
    )
    for passage_id, vector in kept.all():
        vectors.setdefault(passage_id, []).append(unpacked(vector))
    return [
        Wording(passage_id, question, text, language, np.stack(vectors[passage_id]))
        for passage_id, question, text, language in rows.all()
        if passage_id in vectors
    ]


def note_of(source: Source) -> Note:
    """A source as a prompt holds it, titled by the question it answers or by where it stands."""
    if source.kind == "approved":
        return Note(source.question, source.text)
    page = f"p. {source.page}" if source.page is not None else ""
    return Note(" > ".join(part for part in (source.title, *source.title_path, page) if part), source.text)


async def sources_of(session: AsyncSession, community_id: int, turn_id: int) -> list[Source]:
    """The sources of an answer given before, as far as they still are what they were."""
    used = await passages.used_in(session, turn_id)
    found = await _read(session, community_id, [one.passage_id for one in used]) if used else {}
    return [
        _source(*found[one.passage_id], one.score, None)
        for one in used
        if one.passage_id in found and found[one.passage_id][0].content_hash == one.content_hash
    ]


async def _read(
    session: AsyncSession, community_id: int, ids: Iterable[int]
) -> dict[int, tuple[Passage, Document | None]]:
    """The passages of those ids that this community has, with their documents."""
    rows = await session.exec(
        select(Passage, Document)
        .outerjoin(Document, col(Document.id) == Passage.document_id)
        # by their ids: SQLite would go through all passages of the community, whose column has an index
        .where(col(Passage.id).in_(list(ids)), col(Passage.community_id) + 0 == community_id)
    )
    return {passage.id or 0: (passage, document) for passage, document in rows.all()}


def _source(passage: Passage, document: Document | None, score: float, cosine: float | None) -> Source:
    assert passage.id is not None, "a stored passage has its id"
    return Source(
        passage_id=passage.id,
        kind="document" if passage.document_id is not None else "approved",
        text=passage.text if passage.document_id is not None else answer_of(passage.text),
        content_hash=passage.content_hash,
        score=score,
        cosine=cosine,
        question=passage.question,
        title=document.title if document else "",
        title_path=tuple(passage.title_path.split("\n")) if passage.title_path else (),
        page=passage.page,
        link=passage.link or (document.address if document and document.source_kind == "url" else ""),
        language=passage.language,
        turn_id=passage.turn_id,
        document_id=passage.document_id,
    )


def _asked(question: str, language: str) -> list[str]:
    """The stems to search by: those of the question's language first, then the other's, for its texts."""
    other = "en" if language == "pl" else "pl"
    return [*stems(question, language), *stems(question, other)]


def _stems_of(passage: Passage) -> str:
    said = "\n".join((passage.question, passage.title_path, passage.text))
    return " ".join([own_word(passage.community_id), *stems(said, passage.language)])


def _embedded(passage: Passage) -> list[str]:
    """What vectors are made of: a question by itself as well, because that is what a new one looks like."""
    if passage.question:
        return [passage.question, f"{passage.question}\n{passage.text}"]
    return [f"{passage.title_path}\n{passage.text}".strip()]


def _shown(passage: Passage, shows: Callable[[int], bool]) -> bool:
    return passage.turn_id is None or shows(passage.turn_id)


def _overlap(one: set[str], other: set[str]) -> float:
    """Jaccard's similarity of two sets of words."""
    return len(one & other) / len(one | other) if one or other else 0.0
