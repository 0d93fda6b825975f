"""PDF: the text of each page, under the headings of the document's outline. Pictures of text are not read.

PDFium (pypdfium2) reads it, Chrome's own reader, which takes a third of pypdf's time over the same pages.
Tables come as lines of text, for a PDF seldom says that they are tables.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection
from typing import Final

import pypdfium2 as pdfium

from bot.knowledge.documents.pieces import Block, Contents, Note, ParseLimits, Unreadable

_WRONG_PASSWORD: Final = 4
_OTHER_SECURITY: Final = 5
_DIVIDED: Final = re.compile("(\\w+)\x02(\\w+)")
"""A word that a hyphen divides at a line's end: PDFium leaves this mark for hyphen and line break together,
also where the hyphen is the word's own (`findings/pdfium_line_end_hyphens.sh`)."""
_WORDS: Final = re.compile(r"\w+(?:-\w+)*")
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
        raise Unreadable("broken") from None
    if len(document) > limits.pages:
        raise Unreadable("too many pages", str(len(document)))
    outline = _outline(document)
    blocks: list[Block] = []
    silent: list[int] = []
    for index, text in enumerate(_texts(document, limits)):
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


def _texts(document: pdfium.PdfDocument, limits: ParseLimits) -> list[str]:
    """The text of each page, words whole and lines joined where a sentence goes on. Raises Unreadable."""
    raw: list[str] = []
    left = limits.characters
    for index in range(len(document)):
        raw.append(_raw(document, index))
        left -= len(raw[-1])
        if left < 0:
            raise Unreadable("too much text")
    known = {word.lower() for text in raw for word in _WORDS.findall(text)}
    return [_joined(_DIVIDED.sub(lambda parts: _whole(parts, known), text)) for text in raw]


def _raw(document: pdfium.PdfDocument, index: int) -> str:
    """A page's text as PDFium gives it; "" for a page that cannot be loaded."""
    try:
        page = document[index]
        try:
            return str(page.get_textpage().get_text_bounded())
        finally:
            page.close()
    except pdfium.PdfiumError:
        return ""


def _whole(parts: re.Match[str], known: Collection[str]) -> str:
    """A divided word, with its hyphen where it has one elsewhere, or where no small letter follows."""
    joined, hyphenated = parts[1] + parts[2], f"{parts[1]}-{parts[2]}"
    if joined.lower() in known:
        return joined
    return hyphenated if hyphenated.lower() in known or not parts[2][0].islower() else joined


def _joined(text: str) -> str:
    lines = [stripped for line in text.splitlines() if (stripped := line.strip())]
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
