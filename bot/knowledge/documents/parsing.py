"""A file's bytes into pieces: recognised, parsed, cut. `parser_process` runs it apart."""

from __future__ import annotations

from bot.knowledge.documents.chunking import Chunker
from bot.knowledge.documents.formats import docx, html, links, markdown, pairs, pdf, text
from bot.knowledge.documents.pieces import Contents, Parsed, ParseLimits, Unreadable
from bot.knowledge.documents.recognition import MIB, recognise


def parse(content: bytes, limits: ParseLimits, chunker: Chunker) -> Parsed:
    """The file in pieces, or what it lists. Raises Unreadable."""
    if len(content) > limits.file_mib * MIB:
        raise Unreadable("too large")
    return chunker.cut(_contents(content, limits), limits)


def _contents(content: bytes, limits: ParseLimits) -> Contents:
    kind, decoded = recognise(content, limits)
    match kind:
        case "pdf":
            return pdf.parse(content, limits)
        case "docx":
            return docx.parse(content)
        case "sitemap" | "feed":
            return links.parse(decoded, kind, limits)
        case "html":
            return html.parse(decoded)
        case "pairs":
            return pairs.parse(decoded)
        case "markdown":
            return markdown.parse(decoded)
        case "text":
            return text.parse(decoded)
