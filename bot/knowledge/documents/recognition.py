"""What a file is, by its content: its name may lie or be missing.

Plain text is the last resort; what is neither text nor a format that we read is refused, as what it is.
"""

from __future__ import annotations

import codecs
import csv
import re
import zipfile
import zlib
from io import BytesIO
from typing import Final

from bot.knowledge.documents.pieces import Format, ParseLimits, Unreadable


def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


MIB: Final = 1024 * 1024
_PDF_WITHIN: Final = 1024
"""Readers accept a PDF whose header comes within so many bytes (ISO 32000-1, annex H.3.4.1)."""
_OLE: Final = bytes.fromhex("d0cf11e0a1b11ae1")
_ENCRYPTED_PACKAGE: Final = "EncryptedPackage".encode("utf-16-le")
_OFFICE: Final = {
    "word/": "docx",
    "xl/": "a spreadsheet (XLSX)",
    "ppt/": "a presentation (PPTX)",
    "META-INF/container.xml": "an e-book (EPUB)",
    "content.xml": "an OpenDocument file",
}
_BINARY: Final = {
    b"\x89PNG": "an image",
    b"\xff\xd8\xff": "an image",
    b"GIF8": "an image",
    b"II*\x00": "an image",
    b"MM\x00*": "an image",
    b"RIFF": "a sound, a film or an image",
    b"\x7fELF": "a program",
    b"MZ": "a program",
    b"7z\xbc\xaf": "an archive",
    b"Rar!": "an archive",
    b"BZh": "an archive",
    b"\xfd7zXZ": "an archive",
    b"\x28\xb5\x2f\xfd": "an archive",
    b"{\\rtf": "an RTF file",
    b"SQLite format 3": "a database",
}
_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_XML_ROOT: Final = re.compile(
    r"\s*(?:<\?xml[^>]*\?>|<!--.*?-->|<!DOCTYPE[^>\[]*>|\s)*<([\w:.-]+)", re.S | re.I
)
_LISTS: Final[dict[str, Format]] = {
    "urlset": "sitemap",
    "sitemapindex": "sitemap",
    "rss": "feed",
    "rdf": "feed",
    "feed": "feed",
}
_HTML_TAGS: Final = _names(
    "html head body main article section div p h1 h2 h3 h4 h5 h6 ul ol dl table title meta header nav span"
)
_CLOSING_TAG: Final = re.compile(r"</(?:p|div|h[1-6]|body|html|ul|ol|table|article|section|main)\s*>", re.I)
_MARKDOWN: Final = re.compile(
    r"^(?:#{1,6} \S|```|~~~|(?:[-*+]|\d{1,3}[.)]) \S|> |\|.*\|\s*$|(?:={3,}|-{3,})\s*$)"
    r"|\[[^\]\n]+\]\([^)\s]+\)|\*\*\S",
    re.M,
)
QUESTION_HEADS: Final = frozenset({"question", "questions", "q", "pytanie", "pytania", "prompt"})
ANSWER_HEADS: Final = frozenset(
    {"answer", "answers", "a", "odpowiedź", "odpowiedzi", "odpowiedz", "response"}
)
_DELIMITERS: Final = ",;\t"
_ROWS_LOOKED_AT: Final = 50
_ASKING: Final = 0.6
"""Two columns without a head are questions and answers where so many of the first end in a question mark."""


def recognise(content: bytes, limits: ParseLimits) -> tuple[Format, str]:
    """The format, and the decoded text where it is one of text ("" for PDF and DOCX). Raises Unreadable."""
    if not content.strip(b"\x00 \t\r\n\f\v"):
        raise Unreadable("empty")
    if b"%PDF-" in content[:_PDF_WITHIN]:
        return "pdf", ""
    if content.startswith(b"PK\x03\x04"):
        return _of_archive(content, limits), ""
    if content.startswith(_OLE):
        if _ENCRYPTED_PACKAGE in content:
            raise Unreadable("encrypted")
        raise Unreadable("unsupported", "an Office file from before 2007")
    if content.startswith(b"\x1f\x8b"):
        content = _unpacked(content, limits)
        text = _decoded(content)
        kind = _of_text(text)
        if kind != "sitemap":  # the one that servers keep packed as a file
            raise Unreadable("unsupported", "an archive")
        return kind, text
    for start, what in _BINARY.items():
        if content.startswith(start):
            raise Unreadable("unsupported", what)
    text = _decoded(content)
    return _of_text(text), text


def dialect(text: str) -> tuple[str, bool] | None:
    """The delimiter of a table of questions and answers, and whether a row names them, or None."""
    for delimiter in _DELIMITERS:
        try:
            rows = _first_rows(text, delimiter)
        except csv.Error:
            continue
        if not rows:
            continue
        heads = {cell.strip().lower() for cell in rows[0]}
        if heads & QUESTION_HEADS and heads & ANSWER_HEADS and len(rows[0]) > 1:
            return delimiter, True
        asking = sum(row[0].rstrip().endswith("?") for row in rows)
        if all(len(row) == 2 for row in rows) and asking >= _ASKING * len(rows):
            return delimiter, False
    return None


def _first_rows(text: str, delimiter: str) -> list[list[str]]:
    rows = csv.reader(text.splitlines(keepends=True), delimiter=delimiter, strict=True)
    found = []
    for row in rows:
        if any(cell.strip() for cell in row):
            found.append(row)
        if len(found) == _ROWS_LOOKED_AT:
            break
    return found


def _of_text(text: str) -> Format:
    root = _XML_ROOT.match(text[:4000])
    if root is not None:
        name = root[1].lower().rpartition(":")[2]
        if name in _LISTS:
            return _LISTS[name]
        if name in _HTML_TAGS:
            return "html"
        if text.lstrip().startswith("<?xml") or name == "svg":
            raise Unreadable("unsupported", "an XML file")
    if len(_CLOSING_TAG.findall(text[:100_000])) >= 3 and text.lstrip().startswith("<"):
        return "html"
    if dialect(text) is not None:
        return "pairs"
    return "markdown" if _MARKDOWN.search(text) else "text"


def _of_archive(content: bytes, limits: ParseLimits) -> Format:
    """DOCX, after a look at what it unfolds to: `zipfile` reads no more than the archive declares."""
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        raise Unreadable("broken", str(error)) from None
    if any(entry.flag_bits & 1 for entry in entries):
        raise Unreadable("encrypted")
    if sum(entry.file_size for entry in entries) > limits.expanded_mib * MIB:
        raise Unreadable("expands too much")
    for part, what in _OFFICE.items():
        if any(entry.filename.startswith(part) for entry in entries):
            if what != "docx":
                raise Unreadable("unsupported", what)
            return "docx"
    raise Unreadable("unsupported", "an archive")


def _unpacked(content: bytes, limits: ParseLimits) -> bytes:
    most = limits.expanded_mib * MIB
    try:
        unpacked = zlib.decompressobj(wbits=31).decompress(content, most + 1)
    except zlib.error as error:
        raise Unreadable("broken", str(error)) from None
    if len(unpacked) > most:
        raise Unreadable("expands too much")
    return unpacked


def _decoded(content: bytes) -> str:
    """Text by its byte order mark, as UTF-8, or as its letters suggest. Raises Unreadable for others."""
    for mark, encoding in _BOMS:
        if content.startswith(mark):
            return content.decode(encoding, errors="replace")
    if b"\x00" in content[:8192]:
        raise Unreadable("unsupported", "a binary file")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        pass
    controls = len(content) - len(content.translate(None, _CONTROLS))
    if controls > _CONTROLS_MOST * len(content):
        raise Unreadable("unsupported", "a binary file")
    texts = [content.decode(encoding, errors="replace") for encoding in _ENCODINGS]
    return max(texts, key=lambda text: sum(map(text.count, _POLISH)) - sum(map(text.count, _UNLIKELY)))


_CONTROLS: Final = bytes(set(range(32)) - set(b"\t\n\r\f\x1b"))
_CONTROLS_MOST: Final = 0.002
_ENCODINGS: Final = ("cp1250", "iso8859_2", "cp1252")
"""What files of our two languages are in, if not in UTF-8; of equals the first is taken."""
_POLISH: Final = "ąćęłńóśźżĄĆĘŁŃÓŚŹŻ"
_UNLIKELY: Final = "\ufffd±¶¹Ľľ" + "".join(map(chr, range(0x80, 0xA0)))
