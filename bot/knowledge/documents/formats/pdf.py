"""PDF: the text of each page, under the headings of the document's outline. Pictures of text are not read.

PDFium (pypdfium2) reads it, Chrome's own reader: pages of a manual take milliseconds, where pure Python takes
tenths of a second. Tables come as lines of text, for a PDF seldom says that they are tables.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Final

import pypdfium2 as pdfium

from bot.knowledge.documents.pieces import Block, Contents, Note, ParseLimits, Unreadable

_WRONG_PASSWORD: Final = 4
_OTHER_SECURITY: Final = 5
_HYPHENATED: Final = re.compile("[\ufffe\u00ad]\\s*")
"""PDFium's mark for a hyphen that only divides a word at a line's end."""
_SENTENCE_ENDS: Final = tuple(".:!?…")
_FULL_LINE: Final = 0.6
"""A line this long, against the longest of its page, is taken to go on in the next."""


def parse(content: bytes, limits: ParseLimits) -> Contents:
    """The blocks of a PDF, page by page. Raises Unreadable."""
    try:
        document = pdfium.PdfDocument(content)
    except pdfium.PdfiumError as error:
        if error.err_code in (_WRONG_PASSWORD, _OTHER_SECURITY):
            raise Unreadable("encrypted") from None
        raise Unreadable("broken", str(error)) from None
    if len(document) > limits.pages:
        raise Unreadable("too many pages", str(len(document)))
    outline = _outline(document)
    blocks: list[Block] = []
    silent: list[int] = []
    left = limits.characters
    for index in range(len(document)):
        text = _text(document, index)
        left -= len(text)
        if left < 0:
            raise Unreadable("too much text")
        if not text:
            silent.append(index + 1)
        blocks += _of_page(text, outline[index], index + 1)
    if len(silent) == len(document):
        raise Unreadable("no text", "its pages are pictures")
    notes = (Note("pages without text", len(silent), silent[0]),) if silent else ()
    return Contents("pdf", _title(document), tuple(blocks), notes=notes)


def _outline(document: pdfium.PdfDocument) -> defaultdict[int, list[tuple[int, str]]]:
    """Level (from 1) and title of the bookmarks, by the page that they lead to."""
    found: defaultdict[int, list[tuple[int, str]]] = defaultdict(list)
    for bookmark in document.get_toc():
        destination = bookmark.get_dest()
        index = destination.get_index() if destination is not None else None
        title = " ".join(bookmark.get_title().split())
        if index is not None and title:
            found[index].append((min(bookmark.level + 1, 6), title))
    return found


def _title(document: pdfium.PdfDocument) -> str:
    return str(document.get_metadata_value("Title")).strip()


def _text(document: pdfium.PdfDocument, index: int) -> str:
    """A page's text, lines joined where a sentence goes on; "" for a page that cannot be loaded."""
    try:
        page = document[index]
        try:
            text = page.get_textpage().get_text_bounded()
        finally:
            page.close()
    except pdfium.PdfiumError:
        return ""
    lines = [line.strip() for line in _HYPHENATED.sub("", text).splitlines()]
    return _joined([line for line in lines if line])


def _joined(lines: list[str]) -> str:
    longest = max(map(len, lines), default=0)
    text = ""
    for place, line in enumerate(lines):
        if place:
            before = lines[place - 1]
            goes_on = line[:1].islower() or (
                len(before) >= _FULL_LINE * longest and not before.endswith(_SENTENCE_ENDS)
            )
            text += " " if goes_on else "\n"
        text += line
    return text


def _of_page(text: str, headings: list[tuple[int, str]], page: int) -> list[Block]:
    """A page cut at the headings that its text shows; those that it doesn't stand above it."""
    blocks: list[Block] = []
    rest = text
    for level, title in headings:
        shown = re.search(r"\s+".join(map(re.escape, title.split())), rest)
        if shown is not None:
            before = rest[: shown.start()].strip()
            if before:
                blocks.append(Block("prose", before, page=page))
            rest = rest[shown.end() :]
        blocks.append(Block("heading", title, level, page))
    if rest.strip():
        blocks.append(Block("prose", rest.strip(), page=page))
    return blocks
