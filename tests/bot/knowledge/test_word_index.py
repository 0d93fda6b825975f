"""Which words of a question passages are searched by, on both databases."""

from __future__ import annotations

from collections.abc import Sequence

from bot.knowledge.knowledge import Knowledge
from bot.knowledge.word_index import WordIndex
from feedback.database import Database
from feedback.passages import Chunk
from feedback.tables import Passage
from tests.chronicle import Chronicle
from tests.shelf import shelve

COMMON = 3
"""How many passages make a word common here."""


async def _found(database: Database, chronicle: Chronicle, texts: Sequence[str], *words: str) -> list[str]:
    """What a search by these words finds among passages with these texts, best first; asked twice."""
    await shelve(database, chronicle.community_id, *map(Chunk, texts))
    await Knowledge(database, None).index()
    index = WordIndex(COMMON)
    async with database.session(read_only=True) as session:
        first = await index.search(session, chronicle.community_id, words, 10)
        again = await index.search(session, chronicle.community_id, words, 10)
        assert again == first
        return [(await session.get_one(Passage, found)).text for found in first]


async def test_a_rare_word_decides_and_a_common_one_beside_it_finds_nothing(
    database: Database, chronicle: Chronicle
) -> None:
    texts = ("bees hum", "bees sleep", "bees dance", "wasps dance")
    assert await _found(database, chronicle, texts, "bee", "wasp") == ["wasps dance"]


async def test_of_common_words_alone_the_newest_passages_that_hold_all_are_found(
    database: Database, chronicle: Chronicle
) -> None:
    texts = ("bees dance", "bees", "dance", "dance of the bees", "bees dance again")
    found = await _found(database, chronicle, texts, "bee", "danc")
    assert found == ["bees dance again", "dance of the bees", "bees dance"]


async def test_a_word_that_no_passage_holds_hides_none_that_hold_the_others(
    database: Database, chronicle: Chronicle
) -> None:
    texts = ("bees hum", "bees sleep", "bees dance")
    assert len(await _found(database, chronicle, texts, "bee", "zeppelin")) == COMMON
