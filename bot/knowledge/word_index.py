"""Which passages of a community hold a question's words: FTS5's BM25 in SQLite, full text in PostgreSQL.

Both search `passage.stems`, whose first word is the community's own, so that no search looks beyond it. Words
that stand in very many passages say little and cost most; the rarest ones decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

MOST_WORDS: Final = 24
"""How many different words of a question are searched by."""

_SQLITE: Final = text(
    "SELECT passage.id, -passage_stems.rank FROM passage_stems"
    " JOIN passage ON passage.id = passage_stems.rowid"
    " WHERE passage_stems MATCH :query AND passage.community_id = :community"
    " ORDER BY passage_stems.rank LIMIT :most"
)
_POSTGRESQL: Final = text(
    "SELECT id, ts_rank(array_to_tsvector(string_to_array(stems, ' ')), CAST(:words AS tsquery)) AS score"
    " FROM passage WHERE community_id = :community"
    " AND array_to_tsvector(string_to_array(stems, ' ')) @@ CAST(:query AS tsquery)"
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
    own = own_word(community_id)
    connection = await session.connection()
    if connection.dialect.name == "sqlite":
        any_of = " OR ".join(f'"{word}"' for word in words)
        parameters = {"query": f'"{own}" AND ({any_of})'}
        statement = _SQLITE
    else:
        any_of = " | ".join(f"'{word}'" for word in words)
        parameters = {"query": f"'{own}' & ({any_of})", "words": any_of}
        statement = _POSTGRESQL
    found = await session.exec(statement, params={**parameters, "community": community_id, "most": most})  # type: ignore[call-overload]
    return {row[0]: row[1] for row in found}
