"""Which passages of a community hold a question's words: FTS5's BM25 in SQLite, full text in PostgreSQL.

Both search `passage.stems`, whose first word is the community's own, so that no search looks beyond it. Words
that stand in very many passages say little and cost most; the rarest ones decide.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import log
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel.ext.asyncio.session import AsyncSession

COMMON: Final = 2000
"""A word in so many of a community's passages is searched by only where there is no rarer one."""
MOST_WORDS: Final = 24
"""How many different words of a question are searched by."""

_COUNT_BY_FTS5: Final = text(
    "SELECT value, (SELECT count(*) FROM (SELECT 1 FROM passage_stems"
    """ WHERE passage_stems MATCH :own || ' AND "' || value || '"' LIMIT :common))"""
    " FROM json_each(:words)"
)
_SQLITE: Final = text(
    "SELECT passage.id, -passage_stems.rank FROM passage_stems"
    " JOIN passage ON passage.id = passage_stems.rowid"
    " WHERE passage_stems MATCH :query AND passage.community_id = :community"
    " ORDER BY passage_stems.rank LIMIT :most"
)
_VECTOR: Final = "array_to_tsvector(string_to_array(stems, ' '))"
_COUNT: Final = text(
    "SELECT word, (SELECT count(*) FROM (SELECT FROM passage WHERE community_id = :community"
    f" AND {_VECTOR} @@ CAST(quote_literal(word) AS tsquery) LIMIT :common) AS holding)"
    " FROM unnest(CAST(:words AS text[])) AS word"
)
_POSTGRESQL: Final = text(
    "SELECT id, (SELECT sum(weight) FROM unnest(CAST(:words AS text[]), CAST(:weights AS float8[]))"
    " AS weighed (word, weight) WHERE word = ANY (string_to_array(stems, ' '))) AS score"
    f" FROM passage WHERE community_id = :community AND {_VECTOR} @@ CAST(:query AS tsquery)"
    " ORDER BY score DESC, id LIMIT :most"
)


def own_word(community_id: int) -> str:
    """The word that every passage of a community holds, and no other passage."""
    return f"community{community_id}"


async def search(
    session: AsyncSession, community_id: int, stems: Sequence[str], most: int
) -> dict[int, float]:
    """The passages that hold any of the words, with scores, best first, at most `most`."""
    words = list(dict.fromkeys(stems))[:MOST_WORDS]
    if not words:
        return {}
    connection = await session.connection()
    if connection.dialect.name == "sqlite":
        return await _by_fts5(connection, community_id, words, most)
    return await _by_full_text(connection, community_id, words, most)


async def _by_fts5(
    connection: AsyncConnection, community_id: int, words: Sequence[str], most: int
) -> dict[int, float]:
    own = f'"{own_word(community_id)}"'
    asked = {"own": own, "words": json.dumps(words), "common": COMMON}
    counts = (await connection.execute(_COUNT_BY_FTS5, asked)).all()
    # BM25 of every passage that holds a common word takes longer than people wait
    rare = [word for word, count in counts if 0 < count < COMMON]
    searched = rare or [word for word, count in counts if count]
    if not searched:
        return {}
    any_of = " OR ".join(f'"{word}"' for word in searched)
    query = f"{own} AND ({any_of})"
    found = await connection.execute(_SQLITE, {"query": query, "community": community_id, "most": most})
    return {row[0]: row[1] for row in found}


async def _by_full_text(
    connection: AsyncConnection, community_id: int, words: Sequence[str], most: int
) -> dict[int, float]:
    """BM25's weights of words without its counts within a passage, which `ts_rank` has and no weights."""
    asked = {"community": community_id, "words": list(words)}
    counts = (await connection.execute(_COUNT, asked | {"common": COMMON})).all()
    weights = {word: log(1 + COMMON / count) for word, count in counts if 0 < count < COMMON}
    # a question of common words alone is searched by them all the same
    weights = weights or {word: 1.0 for word, count in counts if count}
    if not weights:
        return {}
    any_of = " | ".join(f"'{word}'" for word in weights)
    found = await connection.execute(
        _POSTGRESQL,
        {
            "community": community_id,
            "words": list(weights),
            "weights": list(weights.values()),
            "query": f"'{own_word(community_id)}' & ({any_of})",
            "most": most,
        },
    )
    return {row[0]: row[1] for row in found}
