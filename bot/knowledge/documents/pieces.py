"""What a document consists of: blocks as a parser finds them, pieces as they are kept and retrieved.

The process that parses loads it, and what comes out of that process has these shapes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bot.errors import Refusal

Format = Literal["markdown", "html", "pdf", "docx", "text", "pairs", "sitemap", "feed"]
"""What a file turned out to be; `pairs` is a CSV or TSV of questions and answers."""
BlockKind = Literal["heading", "prose", "table", "pair"]
NoteKind = Literal["rows without answer", "pages without text", "links beyond the limit"]


@dataclass(frozen=True)
class Block:
    """A heading (`level` 1 to 6), prose or a table as Markdown, or a question with its answer.

    `page` counts from 1 and is None where a format has no pages; `anchor` is the fragment that leads to the
    block, "" where there is none.
    """

    kind: BlockKind
    text: str
    level: int = 0
    page: int | None = None
    anchor: str = ""


@dataclass(frozen=True)
class Note:
    """What was left out of a document that was taken: `count` rows or pages, the first at `first`."""

    kind: NoteKind
    count: int
    first: int


@dataclass(frozen=True)
class Contents:
    """A file as its parser read it; a sitemap or feed has `links` and no blocks."""

    format: Format
    title: str = ""
    blocks: tuple[Block, ...] = ()
    links: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class Piece:
    """A part of a document that is retrieved as one: its text, and the headings above it, outermost first."""

    titles: tuple[str, ...]
    text: str
    page: int | None = None
    anchor: str = ""


@dataclass(frozen=True)
class Parsed:
    """A document cut into pieces, or the addresses that a sitemap or a feed lists."""

    format: Format
    title: str
    pieces: tuple[Piece, ...]
    links: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class ParseLimits:
    """What one parse may take, and how long its pieces may be, in characters.

    Bytes of the file; seconds, of the clock and of the processor; MiB of memory beside what the parsers
    themselves occupy; pages of a PDF; MiB that a compressed file may unfold to; characters of text in all;
    addresses of a sitemap or a feed.
    """

    file_mib: int = 64
    seconds: float = 120.0
    memory_mib: int = 1024
    pages: int = 3000
    expanded_mib: int = 256
    characters: int = 20_000_000
    links: int = 1000
    piece_characters: int = 1000


class Unreadable(Exception):
    """A parser's reason not to take a file; `detail` says more, such as what the file is instead.

    It never leaves the parsing process: there it becomes a `bot.errors.DocumentRefused`, which has the name.
    """

    def __init__(self, reason: Refusal, detail: str = "") -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(reason, detail)
