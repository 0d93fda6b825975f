"""Documents that tests start from, written down as the library does once it has read them."""

from __future__ import annotations

from bot.knowledge.documents import catalogue
from bot.knowledge.documents.catalogue import Entry, SourceKind
from feedback.database import Database
from feedback.passages import Chunk


async def shelve(
    database: Database,
    community_id: int,
    *chunks: Chunk,
    address: str = "guide.md",
    title: str = "A guide",
    kind: SourceKind = "upload",
) -> int:
    """The id of a document with these pieces, new or in place of what stood at its address."""
    async with database.session() as session:
        entry = Entry(community_id, kind, address, "mo", title)
        document, _ = await catalogue.write(session, entry, chunks)
    assert document.id is not None, "a stored document has its id"
    return document.id
