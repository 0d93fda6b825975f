"""The rows of a community's documents: what was given, what was found through it, and how each is faring.

Functions on a session; the passages of a document are `feedback.passages`' to replace. A refusal is kept by
its reason, so that it can be said in any language later.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, get_args

from sqlalchemy.orm import aliased
from sqlmodel import col, delete, func, or_, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from bot.errors import DocumentRefused, NotFetched, Obstacle, Refusal
from feedback import journal, passages
from feedback.errors import NotFound
from feedback.passages import Chunk
from feedback.tables import Document, Passage, now

SourceKind = Literal["upload", "file", "folder", "url", "sitemap", "feed"]
LISTS: Final[tuple[SourceKind, ...]] = ("folder", "sitemap", "feed")
"""What has no text of its own, but documents found through it."""
Failure = DocumentRefused | NotFetched


@dataclass(frozen=True)
class Entry:
    """A document to be written down; `source_id` is the folder, sitemap or feed that it was found through."""

    community_id: int
    source_kind: SourceKind
    address: str
    added_by: str
    title: str = ""
    source_id: int | None = None
    content_hash: str = ""
    etag: str = ""
    last_modified: str = ""


@dataclass(frozen=True)
class DocumentView:
    """A document for people; a folder, sitemap or feed counts the `documents` found through it, and theirs.

    `state` is "ready", "reading" while its documents are being read (or that was broken off), or "refused".
    `refused` counts the refused among its documents.
    """

    id: int
    source_kind: SourceKind
    address: str
    title: str
    state: str
    error: Failure | None
    documents: int
    refused: int
    passages: int
    added_by: str
    added_at: datetime
    refreshed_at: datetime | None


async def find(session: AsyncSession, community_id: int, named: str) -> Document:
    """The document of that id or address. Raises NotFound."""
    same = [col(Document.address) == named]
    if named.isascii() and named.isdigit() and len(named) < 10:
        same.append(col(Document.id) == int(named))
    wanted = (
        select(Document).where(Document.community_id == community_id, or_(*same)).order_by(col(Document.id))
    )
    found = (await session.exec(wanted)).first()
    if found is None:
        raise NotFound("document", named, "`thumbloop knowledge list` shows those of this community.")
    return found


async def given_with(session: AsyncSession, community_id: int, named: str) -> Document:
    """The document of that id or address, or what it was found through. Raises NotFound."""
    row = await find(session, community_id, named)
    source = await session.get(Document, row.source_id) if row.source_id is not None else None
    return source or row


async def at(session: AsyncSession, community_id: int, addresses: Collection[str]) -> dict[str, Document]:
    """The documents at those addresses, by address."""
    rows = select(Document).where(
        Document.community_id == community_id, col(Document.address).in_(list(addresses))
    )
    return {row.address: row for row in await session.exec(rows)}


async def found_through(session: AsyncSession, source_id: int) -> list[Document]:
    """The documents found through a folder, sitemap or feed, in the order in which they were."""
    rows = select(Document).where(Document.source_id == source_id).order_by(col(Document.id))
    return list(await session.exec(rows))


async def given(session: AsyncSession, community_id: int | None) -> list[Document]:
    """What was given itself, in this community or (None) in all."""
    rows = select(Document).where(col(Document.source_id).is_(None)).order_by(col(Document.id))
    if community_id is not None:
        rows = rows.where(Document.community_id == community_id)
    return list(await session.exec(rows))


async def write(
    session: AsyncSession, entry: Entry, chunks: Sequence[Chunk], *, state: str = "ready"
) -> tuple[Document, bool]:
    """Write a document with its pieces in place of the former ones; whether it is new."""
    row, is_new = await _row(session, entry)
    if row.source_kind not in LISTS:
        await _remove_found_through(session, row)
    row.title, row.content_hash, row.state, row.error = entry.title, entry.content_hash, state, ""
    row.etag, row.last_modified, row.refreshed_at = entry.etag, entry.last_modified, now()
    session.add(row)
    await passages.replace_chunks(session, row, chunks)
    return row, is_new


async def write_unchanged(session: AsyncSession, entry: Entry) -> None:
    """Write down that a document was looked at and is as it was."""
    row, _ = await _row(session, entry)
    row.refreshed_at = now()
    if entry.content_hash:
        row.etag, row.last_modified = entry.etag, entry.last_modified
    session.add(row)


async def write_refused(session: AsyncSession, entry: Entry, error: Failure) -> None:
    """Write down that a document is not taken. One that was read before keeps its passages, and says so."""
    row, is_new = await _row(session, entry)
    if is_new or row.state == "reading":
        row.state, row.title = "refused", row.title or entry.title
    row.error, row.refreshed_at = kept(error), now()
    session.add(row)


async def write_lost(session: AsyncSession, row: Document, error: Failure) -> None:
    """Write down that a document is not there any more; what it said is forgotten."""
    row.state, row.error, row.content_hash, row.etag, row.last_modified = "refused", kept(error), "", "", ""
    row.refreshed_at = now()
    session.add(row)
    await session.exec(delete(Passage).where(col(Passage.document_id) == row.id))


async def remove(session: AsyncSession, row: Document) -> int:
    """Delete a document with its passages, and all that were found through it; how many documents."""
    assert row.id is not None, "a stored document has its id"
    found = await _remove_found_through(session, row)
    await session.exec(delete(Passage).where(col(Passage.document_id) == row.id))
    await session.exec(delete(Document).where(col(Document.id) == row.id))
    return 1 + found


async def ready(session: AsyncSession, document_id: int, etag: str, last_modified: str) -> None:
    """Write down that all documents of a folder, sitemap or feed are read."""
    values: dict[str, Any] = {"state": "ready", "error": "", "refreshed_at": now()}
    values |= {"etag": etag, "last_modified": last_modified}
    await session.exec(update(Document).where(col(Document.id) == document_id).values(**values))


async def passages_of(session: AsyncSession, row: Document) -> list[Passage]:
    """A document's passages in their order."""
    rows = select(Passage).where(Passage.document_id == row.id).order_by(col(Passage.position))
    return list(await session.exec(rows))


async def count_passages(session: AsyncSession, row: Document) -> int:
    """How many passages a document has, with those of the documents found through it."""
    counted = (
        select(func.count(col(Passage.id)))
        .join(Document, col(Document.id) == Passage.document_id)
        .where((col(Document.id) == row.id) | (col(Document.source_id) == row.id))
    )
    return (await session.exec(counted)).one()


async def views(
    session: AsyncSession, community_id: int, *, source_id: int | None = None
) -> list[DocumentView]:
    """What was given, or with `source_id` what was found through that; in the order of their ids."""
    inner = aliased(Document)
    own = select(func.count(col(Passage.id))).where(Passage.document_id == Document.id).scalar_subquery()
    theirs = (
        select(func.count(col(Passage.id)))
        .join(inner, col(inner.id) == Passage.document_id)
        .where(inner.source_id == Document.id)
        .scalar_subquery()
    )
    documents = select(func.count(col(inner.id))).where(inner.source_id == Document.id).scalar_subquery()
    refused = (
        select(func.count(col(inner.id)))
        .where(inner.source_id == Document.id, inner.error != "")
        .scalar_subquery()
    )
    rows = (
        select(Document, own + theirs, documents, refused)
        .where(Document.community_id == community_id, col(Document.source_id) == source_id)
        .order_by(col(Document.id))
    )
    return [view(row, *numbers) for row, *numbers in (await session.exec(rows)).all()]


def view(row: Document, passages: int, documents: int = 0, refused: int = 0) -> DocumentView:
    """A document for people."""
    assert row.id is not None, "a stored document has its id"
    return DocumentView(
        id=row.id,
        source_kind=kind_of(row),
        address=row.address,
        title=row.title,
        state=row.state,
        error=failure(row),
        documents=documents,
        refused=refused,
        passages=passages,
        added_by=row.added_by,
        added_at=row.added_at,
        refreshed_at=row.refreshed_at,
    )


def kind_of(row: Document) -> SourceKind:
    """How a document came."""
    assert row.source_kind in get_args(SourceKind), "written here alone"
    return row.source_kind  # type: ignore[return-value]


def kept(error: Failure) -> str:
    """An error as a row keeps it."""
    return f"{'document' if isinstance(error, DocumentRefused) else 'address'}: {error.why}: {error.detail}"


def failure(row: Document) -> Failure | None:
    """The error that a row keeps."""
    of, _, rest = row.error.partition(": ")
    why, _, detail = rest.partition(": ")
    if of == "document" and why in get_args(Refusal):
        return DocumentRefused(name_of(row.address), why, detail)  # type: ignore[arg-type]
    if of == "address" and why in get_args(Obstacle):
        return NotFetched(row.address, why, detail)  # type: ignore[arg-type]
    return None


def name_of(address: str) -> str:
    """The last part of a path or an address, by which people know it."""
    return address.rstrip("/").rpartition("/")[2] or address


async def _row(session: AsyncSession, entry: Entry) -> tuple[Document, bool]:
    fresh = Document(
        community_id=entry.community_id,
        source_kind=entry.source_kind,
        address=entry.address,
        added_by=entry.added_by,
        source_id=entry.source_id,
        state="reading",
    )
    row, is_new = await journal.insert_once(session, fresh, "community_id", "address")
    # whoever adds the same at the same time waits, and then replaces what we wrote instead of doubling it
    await session.exec(select(Document.id).where(Document.id == row.id).with_for_update())
    if entry.source_id is None:
        row.source_id, row.source_kind = None, entry.source_kind  # given itself now, however it was found
    return row, is_new


async def _remove_found_through(session: AsyncSession, row: Document) -> int:
    found = select(Document.id).where(Document.source_id == row.id)
    ids = list(await session.exec(found))
    await session.exec(delete(Passage).where(col(Passage.document_id).in_(ids)))
    await session.exec(delete(Document).where(col(Document.id).in_(ids)))
    return len(ids)
