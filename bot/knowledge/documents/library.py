"""The documents of communities: added, listed, read anew, removed.

What is given may be a file's contents, a file, a folder, or an address; and what stands at an address may be
a document, or a sitemap or feed that lists documents. What is given is a row of its own, and what is found
through it names it as its source. Each document is written as soon as it is read, so that an addition which
was broken off goes on where it was, and what has not changed is not read again. Leaves to others: who may
(`bot.commands.knowledge`), rows (`catalogue`), parsing (`sandbox`), fetching (`fetching`), and how passages
are indexed (`bot.knowledge`).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal

from bot.errors import DocumentRefused, NotFetched
from bot.knowledge.documents import catalogue
from bot.knowledge.documents.catalogue import DocumentView, Entry, Failure, SourceKind, kind_of, name_of
from bot.knowledge.documents.fetching import Fetcher, parsed
from bot.knowledge.documents.folders import documents_in
from bot.knowledge.documents.pieces import Note, Parsed
from bot.knowledge.documents.sandbox import Sandbox
from bot.knowledge.knowledge import Indexing, Knowledge
from feedback.database import Database
from feedback.journal import audit
from feedback.passages import Chunk
from feedback.tables import Document, Passage
from training.data.language import language_of

AT_ONCE: Final = 8
"""Files of a folder that are read together, and written in one transaction."""
_MAY_PASS: Final = ("unknown host", "unreachable", "too long", "status")
"""Obstacles behind which there may be something another time."""
_LIST_FORMATS: Final[tuple[Literal["sitemap", "feed"], ...]] = ("sitemap", "feed")


@dataclass(frozen=True)
class Upload:
    """A file that somebody sent: its name, by which the community knows it, and what it holds."""

    name: str
    content: bytes


Given = Upload | Path | str
"""A file sent, a file or folder of this machine, or an address of the web."""


@dataclass(frozen=True)
class Progress:
    """How far an addition is: documents read, or passages indexed; 0 in all is not known yet."""

    step: Literal["reading", "indexing"]
    done: int
    total: int
    name: str = ""


OnProgress = Callable[[Progress], None]


@dataclass
class Outcome:
    """What an addition or a refresh did: how many documents are new, changed, as they were, gone.

    `refused` are those not taken, with why; `skipped` counts by kind what was left aside; `notes` say what
    was left out of documents that were taken, by their names. `error` is why the document itself could not be
    read anew.
    """

    document_id: int = 0
    source_kind: SourceKind = "file"
    address: str = ""
    title: str = ""
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    passages: int = 0
    refused: list[tuple[str, Failure]] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    notes: list[tuple[str, Note]] = field(default_factory=list)
    error: Failure | None = None


class Library:
    """Adds and keeps the documents of all communities. `knowledge` indexes what they say, where it is on."""

    def __init__(
        self, database: Database, sandbox: Sandbox, fetcher: Fetcher, knowledge: Knowledge | None
    ) -> None:
        self._database = database
        self._sandbox = sandbox
        self._fetcher = fetcher
        self._knowledge = knowledge

    async def add(
        self,
        community_id: int,
        given: Given,
        *,
        by: str,
        on_progress: OnProgress = lambda progress: None,
    ) -> Outcome:
        """Add what is given, or read it anew if it is there; searchable when this returns.

        `by` is who adds it, as the audit names them. Documents found through a folder, sitemap or feed that
        are refused stand in the outcome. Raises DocumentRefused and NotFetched for what was given itself,
        DatabaseError.
        """
        task = _Addition(self._database, self._sandbox, self._fetcher, community_id, by, on_progress)
        if isinstance(given, Upload):
            await task.contents("upload", given.name, given.name, given.content)
        elif isinstance(given, Path):
            await task.path(given)
        else:
            await task.address(str(parsed(given)))
        await self._finish(task.outcome, community_id, by, "add", on_progress)
        return task.outcome

    async def refresh(
        self,
        community_id: int | None,
        named: str | None = None,
        *,
        by: str,
        on_progress: OnProgress = lambda progress: None,
    ) -> list[Outcome]:
        """Read anew what was given, in one community or (None) in all, or only the one `named` there.

        One that was found through a folder, sitemap or feed is read anew with all of that. What cannot be
        read keeps its passages, except what is gone. Files that were sent stay as they are. Raises NotFound,
        DatabaseError.
        """
        async with self._database.session(read_only=True) as session:
            if named is not None and community_id is not None:
                rows = [await catalogue.given_with(session, community_id, named)]
            else:
                rows = await catalogue.given(session, community_id)
        outcomes = []
        for row in rows:
            if row.source_kind == "upload":
                continue
            task = _Addition(self._database, self._sandbox, self._fetcher, row.community_id, by, on_progress)
            await task.again(row)
            await self._finish(task.outcome, row.community_id, by, "refresh", on_progress)
            outcomes.append(task.outcome)
        return outcomes

    async def documents(self, community_id: int) -> list[DocumentView]:
        """What was given to a community, in the order in which it was."""
        async with self._database.session(read_only=True) as session:
            return await catalogue.views(session, community_id)

    async def document(
        self, community_id: int, named: str
    ) -> tuple[DocumentView, list[DocumentView], list[Passage]]:
        """A document, what was found through it, and its passages in their order. Raises NotFound."""
        async with self._database.session(read_only=True) as session:
            row = await catalogue.find(session, community_id, named)
            found = await catalogue.views(session, community_id, source_id=row.id)
            own = await catalogue.passages_of(session, row)
            refused = sum(one.error is not None for one in found)
            total = len(own) + sum(one.passages for one in found)
            return catalogue.view(row, total, len(found), refused), found, own

    async def remove(self, community_id: int, named: str, *, by: str) -> DocumentView:
        """Take a document out with all that was found through it; the next answer knows nothing of it.

        Raises NotFound, DatabaseError.
        """
        async with self._database.session() as session:
            row = await catalogue.find(session, community_id, named)
            documents = await catalogue.remove(session, row)
            audit(session, by, "knowledge.remove", f"document {row.id}", documents=documents)
            return catalogue.view(row, 0, documents - 1)

    async def _finish(
        self, outcome: Outcome, community_id: int, by: str, deed: str, on_progress: OnProgress
    ) -> None:
        """Index what is new, count what is there, and note who did it."""
        if self._knowledge is not None:

            def tell(indexing: Indexing) -> None:
                on_progress(Progress("indexing", indexing.done, indexing.total))

            await self._knowledge.index(community_id, on_progress=tell)
        async with self._database.session() as session:
            row = (await catalogue.at(session, community_id, [outcome.address])).get(outcome.address)
            if row is None or row.id is None:  # somebody removed it meanwhile
                return
            outcome.document_id, outcome.title = row.id, row.title
            outcome.passages = await catalogue.count_passages(session, row)
            audit(
                session,
                by,
                f"knowledge.{deed}",
                f"document {row.id}",
                added=outcome.added,
                changed=outcome.changed,
                removed=outcome.removed,
                refused=len(outcome.refused),
            )


@dataclass(frozen=True)
class _Read:
    """A document that was read: its row's entry, and its pieces, None where they are as they were."""

    entry: Entry
    chunks: list[Chunk] | None
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class _List:
    """A sitemap or feed that was read, and the addresses that it lists."""

    entry: Entry
    links: list[str]


class _Addition:
    """One addition to one community, or one refresh of what was given to it."""

    def __init__(
        self,
        database: Database,
        sandbox: Sandbox,
        fetcher: Fetcher,
        community_id: int,
        by: str,
        on_progress: OnProgress,
    ) -> None:
        self.outcome = Outcome()
        self._database = database
        self._sandbox = sandbox
        self._fetcher = fetcher
        self._community_id = community_id
        self._by = by
        self._on_progress = on_progress

    async def again(self, row: Document) -> None:
        """Read a document anew; what goes wrong stands in the outcome."""
        self.outcome.address, self.outcome.source_kind = row.address, kind_of(row)
        try:
            if row.source_kind == "folder":
                await self._folder(Path(row.address))
            elif row.source_kind == "file":
                await self.path(Path(row.address))
            else:
                await self.address(row.address)
        except (DocumentRefused, NotFetched) as error:
            self.outcome.error = error

    async def path(self, path: Path) -> None:
        """A file or a folder of this machine. Raises DocumentRefused."""
        path = path.expanduser().absolute()
        address = str(path)
        if await asyncio.to_thread(path.is_dir):
            await self._folder(path)
            return
        try:
            content = await asyncio.to_thread(self._content, path)
        except DocumentRefused as error:
            await self._failed(self._entry("file", address), error, lost=error.why == "not there")
            raise
        await self.contents("file", address, path.name, content)

    async def contents(self, kind: SourceKind, address: str, name: str, content: bytes) -> None:
        """A document whose bytes are at hand. Raises DocumentRefused."""
        self._on_progress(Progress("reading", 0, 1, name))
        entry = self._entry(kind, address)
        known = await self._known([address])
        try:
            read = await self._read(entry, name, content, known.get(address))
        except DocumentRefused as error:
            await self._failed(entry, error)
            raise
        await self._write([read])
        self._on_progress(Progress("reading", 1, 1, name))

    async def address(self, address: str) -> None:
        """A document, sitemap or feed at an address. Raises DocumentRefused, NotFetched."""
        self._on_progress(Progress("reading", 0, 0, address))
        row = (await self._known([address])).get(address)
        entry = self._entry("url", address)
        try:
            found = await self._page(entry, row)
        except (DocumentRefused, NotFetched) as error:
            await self._failed(entry, error, lost=error.why == "gone")
            raise
        if isinstance(found, _List):
            began = await self._begin(replace(found.entry, etag="", last_modified=""))
            await self._listed(began, found.links, (found.entry.etag, found.entry.last_modified))
        elif row is not None and row.source_kind in _LIST_FORMATS and found.chunks is None:
            assert row.id is not None, "a stored document has its id"
            async with self._database.session(read_only=True) as session:
                known = await catalogue.found_through(session, row.id)
            await self._listed(row, [one.address for one in known], (row.etag, row.last_modified))
        else:
            await self._write([found])
            self._on_progress(Progress("reading", 1, 1, address))

    async def _page(self, entry: Entry, row: Document | None) -> _Read | _List:
        """What stands at an entry's address. Raises DocumentRefused, NotFetched."""
        etag, last_modified = ("", "") if row is None or row.error else (row.etag, row.last_modified)
        fetched = await self._fetcher.fetch(entry.address, etag=etag, last_modified=last_modified)
        if fetched is None:
            return _Read(entry, None)
        entry = replace(
            entry,
            content_hash=hashlib.sha256(fetched.content).hexdigest(),
            etag=fetched.etag,
            last_modified=fetched.last_modified,
        )
        if _is_as_it_was(row, entry.content_hash):
            return _Read(entry, None)
        found = await self._sandbox.parse(fetched.content, name_of(entry.address))
        entry = replace(entry, title=found.title or entry.title)
        if found.format not in _LIST_FORMATS:
            return _Read(entry, _chunks(found, fetched.url), found.notes)
        self.outcome.notes += [(name_of(entry.address), note) for note in found.notes]
        return _List(replace(entry, source_kind=found.format), self._of_one_site(entry.address, found))

    async def _folder(self, path: Path) -> None:
        try:
            listing = await asyncio.to_thread(documents_in, path)
        except OSError as error:
            refused = DocumentRefused(path.name, "not there", error.strerror or "")
            # a disk may be missing for a while: what the folder held is kept
            await self._failed(self._entry("folder", str(path)), refused)
            raise refused from None
        row = await self._begin(self._entry("folder", str(path), title=path.name))
        self.outcome.skipped = listing.skipped
        names = {str(file): file.relative_to(listing.folder).as_posix() for file in listing.files}
        self._on_progress(Progress("reading", 0, len(names)))
        for begin in range(0, len(listing.files), AT_ONCE):
            batch = listing.files[begin : begin + AT_ONCE]
            known = await self._known([str(file) for file in batch])
            read = await asyncio.gather(
                *(self._file(file, names[str(file)], row, known.get(str(file))) for file in batch)
            )
            await self._write([one for one in read if one is not None])
            self._on_progress(Progress("reading", begin + len(batch), len(names), names[str(batch[-1])]))
        await self._end(row, set(names), set(), ("", ""))

    async def _file(self, file: Path, name: str, source: Document, known: Document | None) -> _Read | None:
        """A file of a folder, or None when it is refused, which is then written down."""
        entry = self._entry("file", str(file), source=source)
        try:
            content = await asyncio.to_thread(self._content, file)
            return await self._read(entry, name, content, known)
        except DocumentRefused as error:
            await self._failed(entry, error)
            return None

    async def _listed(self, source: Document, addresses: Sequence[str], validators: tuple[str, str]) -> None:
        """The documents that a sitemap or feed lists, and those that sitemaps within it list.

        `validators` are its ETag and Last-Modified, kept when it was read to its end and has no lists within,
        which could change while it does not.
        """
        waiting = deque(dict.fromkeys(addresses))
        listed, gone = set(waiting), set[str]()
        is_whole, has_lists = True, False
        done = 0
        while waiting:
            address = waiting.popleft()
            self._on_progress(Progress("reading", done, done + len(waiting) + 1, address))
            done += 1
            row = (await self._known([address])).get(address)
            entry = self._entry("url", address, source=source)
            try:
                found = await self._page(entry, row)
            except (DocumentRefused, NotFetched) as error:
                if error.why == "gone" and row is not None:
                    gone.add(address)
                else:
                    # it may be a sitemap itself, and nobody knows then what it lists
                    is_unknown = (row is None or row.state == "refused") and error.why in _MAY_PASS
                    is_whole = is_whole and not is_unknown
                    await self._failed(entry, error)
                continue
            if isinstance(found, _Read):
                await self._write([found])
                continue
            has_lists = True
            room = max(0, self._sandbox.limits.links - len(listed))
            more = [link for link in found.links if link not in listed][:room]
            listed.update(more)
            waiting.extend(more)
        self._on_progress(Progress("reading", done, done))
        is_plain = is_whole and not has_lists
        await self._end(source, listed if is_whole else None, gone, validators if is_plain else ("", ""))

    async def _begin(self, entry: Entry) -> Document:
        """Write down that a folder, sitemap or feed is being read."""
        self.outcome.address, self.outcome.source_kind = entry.address, entry.source_kind
        async with self._database.session() as session:
            row, _ = await catalogue.write(session, entry, [], state="reading")
        return row

    async def _end(
        self,
        source: Document,
        listed: Collection[str] | None,
        gone: Collection[str],
        validators: tuple[str, str],
    ) -> None:
        """Forget what is gone and what is no longer listed (None: nobody knows), and say that all is read."""
        assert source.id is not None, "a stored document has its id"
        self.outcome.address, self.outcome.source_kind = source.address, kind_of(source)
        async with self._database.session() as session:
            for row in await catalogue.found_through(session, source.id):
                if row.address in gone or (listed is not None and row.address not in listed):
                    self.outcome.removed += await catalogue.remove(session, row)
            await catalogue.ready(session, source.id, *validators)

    async def _read(self, entry: Entry, name: str, content: bytes, known: Document | None) -> _Read:
        """A document parsed, unless it is what it was. Raises DocumentRefused."""
        content_hash = hashlib.sha256(content).hexdigest()
        if _is_as_it_was(known, content_hash):
            return _Read(entry, None)
        found = await self._sandbox.parse(content, name)
        if found.format in _LIST_FORMATS:
            raise DocumentRefused(name, "unsupported", "a list of addresses; give its own address")
        entry = replace(entry, title=found.title or entry.title, content_hash=content_hash)
        return _Read(entry, _chunks(found, ""), found.notes)

    async def _write(self, documents: Sequence[_Read]) -> None:
        async with self._database.session() as session:
            for one in documents:
                if one.entry.source_id is None:
                    self.outcome.address, self.outcome.source_kind = one.entry.address, one.entry.source_kind
                if one.chunks is None:
                    self.outcome.unchanged += 1
                    await catalogue.write_unchanged(session, one.entry)
                    continue
                _, is_new = await catalogue.write(session, one.entry, one.chunks)
                self.outcome.added += is_new
                self.outcome.changed += not is_new
                self.outcome.notes += [(name_of(one.entry.address), note) for note in one.notes]

    async def _failed(self, entry: Entry, error: Failure, *, lost: bool = False) -> None:
        """Write down what is not taken: a document of a list always, what was given itself if it is known."""
        async with self._database.session() as session:
            row = (await catalogue.at(session, entry.community_id, [entry.address])).get(entry.address)
            if entry.source_id is not None:
                self.outcome.refused.append((name_of(entry.address), error))
                await catalogue.write_refused(session, entry, error)
            elif row is not None and lost:
                await catalogue.write_lost(session, row, error)
            elif row is not None:
                await catalogue.write_refused(session, entry, error)

    async def _known(self, addresses: Sequence[str]) -> dict[str, Document]:
        async with self._database.session(read_only=True) as session:
            return await catalogue.at(session, self._community_id, addresses)

    def _content(self, path: Path) -> bytes:
        """A file's bytes. Raises DocumentRefused."""
        most = self._sandbox.limits.file_mib
        try:
            if path.stat().st_size > most * 1024 * 1024:
                raise DocumentRefused(path.name, "too large", f"at most {most} MiB are read")
            return path.read_bytes()
        except OSError as error:
            raise DocumentRefused(path.name, "not there", error.strerror or "") from None

    def _entry(
        self, kind: SourceKind, address: str, *, title: str = "", source: Document | None = None
    ) -> Entry:
        return Entry(
            community_id=self._community_id,
            source_kind=kind,
            address=address,
            added_by=self._by,
            title=title or name_of(address),
            source_id=source.id if source is not None else None,
        )

    def _of_one_site(self, address: str, found: Parsed) -> list[str]:
        """The addresses that a list gives; a sitemap speaks for its own host alone (sitemaps.org)."""
        links = []
        elsewhere: Counter[str] = Counter()
        for link in found.links:
            try:
                url = parsed(link)
            except NotFetched:
                elsewhere["no addresses"] += 1
                continue
            if found.format == "sitemap" and url.host != parsed(address).host:
                elsewhere["of other sites"] += 1
            else:
                links.append(str(url))
        self.outcome.skipped = dict(Counter(self.outcome.skipped) + elsewhere)
        return links


def _is_as_it_was(row: Document | None, content_hash: str) -> bool:
    """Whether a document need not be read again; a sitemap or feed is, for what it lists."""
    if row is None or row.source_kind in _LIST_FORMATS:
        return False
    return row.content_hash == content_hash and row.state == "ready" and not row.error


def _chunks(found: Parsed, url: str) -> list[Chunk]:
    """The pieces as passages are made of; with a `url`, each links to its place there."""
    language = language_of("\n".join(piece.text for piece in found.pieces[:5]))
    chunks = []
    for piece in found.pieces:
        place = piece.anchor or (f"page={piece.page}" if piece.page else "")
        link = f"{url}#{place}" if url and place else url
        chunks.append(Chunk(piece.text, piece.titles, piece.page, link, language))
    return chunks
