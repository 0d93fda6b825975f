"""Markdown: headings, tables and what stands between them, as slices of the source.

CommonMark with tables, read by markdown-it-py. The words stay as they were written, for a model reads
Markdown; front matter gives the title at most, and pieces of HTML lose their tags.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

from bot.knowledge.documents.pieces import Block, Contents

_FRONT_MATTER: Final = re.compile(r"\A---[ \t]*\r?\n(.*?)^(?:---|\.\.\.)[ \t]*\r?$\n?", re.S | re.M)
_TITLE: Final = re.compile(r"^title:[ \t]*(['\"]?)(.+?)\1[ \t]*\r?$", re.M)
_COMMENT: Final = re.compile(r"<!--.*?(?:-->|\Z)", re.S)
_TAG: Final = re.compile(r"<[a-zA-Z/!][^>]*>")


def parse(text: str) -> Contents:
    """The blocks of a Markdown text."""
    title = ""
    front_matter = _FRONT_MATTER.match(text)
    if front_matter is not None:
        named = _TITLE.search(front_matter[1])
        title = named[2] if named is not None else ""
        text = text[front_matter.end() :]
    blocks = tuple(_blocks(text))
    headings = [block.text for block in blocks if block.kind == "heading" and block.level == 1]
    return Contents("markdown", title or (headings[0] if headings else ""), blocks)


def _blocks(text: str) -> Iterator[Block]:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    tokens = MarkdownIt("commonmark").enable("table").parse("\n".join(lines))
    for place, token in enumerate(tokens):
        if token.level or token.nesting < 0 or token.map is None:
            continue
        source = "\n".join(lines[slice(*token.map)]).strip("\n")
        if token.type == "heading_open":
            yield Block("heading", _words(tokens[place + 1]), int(token.tag[1]))
        elif token.type == "table_open":
            yield Block("table", source)
        elif token.type == "html_block":
            yield from _of_html(source)
        elif token.type != "hr" and source.strip():
            yield Block("prose", source)


def _words(inline: Token) -> str:
    """A heading without its marks."""
    return "".join(
        " " if part.type in ("softbreak", "hardbreak") else part.content
        for part in inline.children or ()
        if part.type not in ("html_inline", "image")
    ).strip()


def _of_html(source: str) -> Iterator[Block]:
    text = _TAG.sub("", _COMMENT.sub("", source)).strip()
    if text:
        yield Block("prose", text)
