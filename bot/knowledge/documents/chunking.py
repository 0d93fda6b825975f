"""A document's blocks cut into pieces of a size: by headings, then paragraphs, then sentences.

semantic-text-splitter does the cutting: it is kept, written in Rust, and looks for the largest unit that fits
(paragraph, line, Unicode sentence, word); pysbd, which knows Polish abbreviations, has not been kept since
2021. A table stays whole; one beyond the size is cut between rows and keeps its head. Pieces never cross a
heading or a page, so that each has one place to point at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from semantic_text_splitter import MarkdownSplitter, TextSplitter

from bot.knowledge.documents.pieces import Block, Contents, Parsed, ParseLimits, Piece, Unreadable

_UNKEPT: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
"""Control characters and halves of characters: no text has them, and PostgreSQL refuses some."""
MOST_OF_A_TITLE: Final = 200
"""Characters kept of a heading: each of its pieces repeats it."""
_TABLE_RULE: Final = re.compile(r"^\|?(?:\s*:?-+:?\s*\|)*\s*:?-+:?\s*\|?\s*$")


class Chunker:
    """Cuts documents into pieces of at most so many characters."""

    def __init__(self, characters: int) -> None:
        self._most = characters
        self._prose, self._markdown = TextSplitter(characters), MarkdownSplitter(characters)

    def cut(self, contents: Contents, limits: ParseLimits) -> Parsed:
        """The document in pieces. Raises Unreadable when it says nothing, or too much."""
        if sum(len(block.text) for block in contents.blocks) > limits.characters:
            raise Unreadable("too much text")
        pieces = tuple(self._pieces(contents))
        if not pieces and not contents.links:
            raise Unreadable("no text")
        return Parsed(contents.format, _title(contents.title), pieces, contents.links, contents.notes)

    def _pieces(self, contents: Contents) -> Iterator[Piece]:
        titles: list[tuple[int, str]] = []
        section: list[Block] = []
        for block in contents.blocks:
            begins = block.kind == "heading"
            if section and (begins or block.page != section[0].page or block.kind == "pair"):
                yield from self._of_section(section, titles, contents)
                section = []
            if begins:
                titles = [title for title in titles if title[0] < block.level]
                titles.append((block.level, _title(block.text)))
            else:
                section.append(block)
        if section:
            yield from self._of_section(section, titles, contents)

    def _of_section(
        self, section: Sequence[Block], titles: Sequence[tuple[int, str]], contents: Contents
    ) -> Iterator[Piece]:
        above = tuple(text for _, text in titles if text)
        whole = "\n\n".join(_clean(block.text) for block in section)
        first = section[0]
        for text in [whole] if len(whole) <= self._most else self._parts(section, contents):
            if text.strip():
                yield Piece(above, text.strip("\n"), first.page, first.anchor)

    def _parts(self, section: Sequence[Block], contents: Contents) -> Iterator[str]:
        """A section that is too long for one piece: runs of prose cut by sense, tables by themselves."""
        splitter = self._prose if contents.format in ("pdf", "text", "pairs") else self._markdown
        run: list[str] = []
        for block in section:
            text = _clean(block.text)
            if block.kind != "table":
                run.append(text)
                continue
            yield from splitter.chunks("\n\n".join(run))
            run = []
            yield from self._table(text)
        yield from splitter.chunks("\n\n".join(run))

    def _table(self, text: str) -> Iterator[str]:
        if len(text) <= self._most:
            yield text
            return
        lines = text.split("\n")
        rule = next((place for place, line in enumerate(lines) if _TABLE_RULE.match(line)), -1)
        head = lines[: rule + 1]
        rows: list[str] = []
        for line in lines[rule + 1 :]:
            if rows and len("\n".join([*head, *rows, line])) > self._most:
                yield "\n".join([*head, *rows])
                rows = []
            rows.append(line)
        yield from (
            self._prose.chunks("\n".join([*head, *rows])) if len(rows) < 2 else ["\n".join([*head, *rows])]
        )


def _title(text: str) -> str:
    return " ".join(_clean(text).split())[:MOST_OF_A_TITLE]


def _clean(text: str) -> str:
    return _UNKEPT.sub("", text)
