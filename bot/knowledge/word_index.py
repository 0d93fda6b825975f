"""Which passages of a community hold a question's words: FTS5's BM25 in SQLite, full text in PostgreSQL.

Both search `passage.stems`, whose first word is the community's own, so that no search looks beyond it. Words
that stand in very many passages say little and cost most; the rarest ones decide.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from math import log
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel.ext.asyncio.session import AsyncSession

COMMON: Final = 1000
"""A word in so many of a community's passages is searched by only where there is no rarer one."""
MOST_WORDS: Final = 24
"""How many different words of a question are searched by."""
MOST_PASSAGES: Final = 2000
"""Words are searched by, the rarest first, as long as together they stand in no more passages than this."""
STAYS_COMMON_S: Final = 600.0
"""For how long a word that was found common is not counted again: counting those takes longest."""
REMEMBERED: Final = 100_000
"""How many common words are remembered, of all communities together."""

_COUNT_BY_FTS5: Final = text(
    "SELECT value, (SELECT count(*) FROM (SELECT 1 FROM passage_stems"
    """ WHERE passage_stems MATCH :own || ' AND "' || value || '"' LIMIT :common))"""
    " FROM json_each(:words)"
)
_ANY_BY_FTS5: Final = text(
    "SELECT passage.id, -found.rank FROM (SELECT rowid, rank FROM passage_stems"
    " WHERE passage_stems MATCH :query ORDER BY rank LIMIT :most) AS found"
    " JOIN passage ON passage.id = found.rowid WHERE passage.community_id = :community ORDER BY found.rank"
)
_ALL_BY_FTS5: Final = text(
    "SELECT passage.id FROM passage_stems JOIN passage ON passage.id = passage_stems.rowid"
    " WHERE passage_stems MATCH :query AND passage.community_id = :community"
    " ORDER BY passage_stems.rowid DESC LIMIT :most"
)
_VECTOR: Final = "array_to_tsvector(string_to_array(stems, ' '))"
_EACH_BY_FULL_TEXT: Final = text(
    "SELECT word, ARRAY(SELECT id FROM passage WHERE community_id = :community"
    f" AND {_VECTOR} @@ CAST(quote_literal(:own) || ' & ' || quote_literal(word) AS tsquery) LIMIT :common)"
    " FROM unnest(CAST(:words AS text[])) AS word"
)
_ALL_BY_FULL_TEXT: Final = text(
    "SELECT id FROM passage"
    f" WHERE community_id = :community AND {_VECTOR} @@ CAST(:query AS tsquery) ORDER BY id DESC LIMIT :most"
)


def own_word(community_id: int) -> str:
    """The word that every passage of a community holds, and no other passage."""
    return f"community{community_id}"


class WordIndex:
    """Searches the words of passages, and remembers which are `common`: in so many of a community's."""

    def __init__(self, common: int = COMMON) -> None:
        self._least = common
        self._common: dict[tuple[int, str], float] = {}

    async def search(
        self, session: AsyncSession, community_id: int, stems: Sequence[str], most: int
    ) -> dict[int, float]:
        """The passages that hold any of the rarer words, with scores, best first, at most `most`.

        Where all words are common, the newest that hold all of them, one as good as the other.
        """
        words = list(dict.fromkeys(stems))[:MOST_WORDS]
        now = time.monotonic()
        common = [word for word in words if self._common.get((community_id, word), 0.0) > now]
        others = [word for word in words if word not in common]
        connection = await session.connection()
        found: dict[int, float] = {}
        if others:
            search = _by_fts5 if connection.dialect.name == "sqlite" else _by_full_text
            found, more = await search(connection, community_id, others, self._least, most)
            common += more
            if len(self._common) > REMEMBERED:
                self._common.clear()
            self._common |= {(community_id, word): now + STAYS_COMMON_S for word in more}
        if found or not common:
            return found
        return await _holding_all(connection, community_id, common, most)


async def _by_fts5(
    connection: AsyncConnection, community_id: int, words: Sequence[str], least: int, most: int
) -> tuple[dict[int, float], list[str]]:
    """Passages with BM25's scores, and which of the words are common."""
    own = f'"{own_word(community_id)}"'
    asked = {"own": own, "words": json.dumps(words), "common": least}
    counted = (await connection.execute(_COUNT_BY_FTS5, asked)).all()
    counts = {word: count for word, count in counted if count}
    common = [word for word, count in counts.items() if count >= least]
    # BM25 of every passage that holds a common word takes longer than people wait
    rarest = _rarest(counts, least)
    if not rarest:
        return {}, common
    any_of = " OR ".join(f'"{word}"' for word in rarest)
    query = {"query": f"{own} AND ({any_of})", "community": community_id, "most": most}
    return {row[0]: row[1] for row in await connection.execute(_ANY_BY_FTS5, query)}, common


async def _by_full_text(
    connection: AsyncConnection, community_id: int, words: Sequence[str], least: int, most: int
) -> tuple[dict[int, float], list[str]]:
    """Passages with BM25's weights of words but not its counts within a passage, and the common words.

    `ts_rank` has those counts and no weights.
    """
    asked = {"community": community_id, "own": own_word(community_id), "words": list(words), "common": least}
    each = (await connection.execute(_EACH_BY_FULL_TEXT, asked)).all()
    holding = {word: passages for word, passages in each if passages}
    counts = {word: len(passages) for word, passages in holding.items()}
    scores: dict[int, float] = {}
    for word in _rarest(counts, least):
        weight = log(1 + least / counts[word])
        for passage in holding[word]:
            scores[passage] = scores.get(passage, 0.0) + weight
    best = sorted(scores, key=lambda passage: (-scores[passage], passage))[:most]
    return (
        {passage: scores[passage] for passage in best},
        [word for word, count in counts.items() if count >= least],
    )


async def _holding_all(
    connection: AsyncConnection, community_id: int, words: Sequence[str], most: int
) -> dict[int, float]:
    sqlite = connection.dialect.name == "sqlite"
    quote, joint = ('"', " AND ") if sqlite else ("'", " & ")
    query = joint.join(f"{quote}{word}{quote}" for word in (own_word(community_id), *words))
    asked = {"query": query, "community": community_id, "most": most}
    found = await connection.execute(_ALL_BY_FTS5 if sqlite else _ALL_BY_FULL_TEXT, asked)
    return dict.fromkeys(found.scalars(), 1.0)


def _rarest(counts: dict[str, int], common: int) -> list[str]:
    """The words to search by, the rarest first; common ones never."""
    chosen: list[str] = []
    room = MOST_PASSAGES
    for word in sorted(counts, key=lambda word: counts[word]):
        room -= counts[word]
        if counts[word] >= common or (room < 0 and chosen):
            break
        chosen.append(word)
    return chosen
