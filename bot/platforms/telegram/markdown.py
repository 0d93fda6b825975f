"""A model's Markdown as the HTML that Telegram takes; whatever is no Markdown stays text.

Telegram knows bold, italic, strike-through, code, links and quotes. Headings become bold lines, lists get
bullets, tables stand in a fixed-width block. The text between the tags grows no longer than the Markdown
was, but for a few line ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from html import escape
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token
from telegram.constants import MessageLimit

from bot.chat.splitting import split

ROOM: Final = 96
"""Characters of a message left for the line ends that rendering adds."""

MOST: Final = MessageLimit.MAX_TEXT_LENGTH - ROOM

_MARKS: Final = {"strong": "b", "em": "i", "s": "s"}


def pieces(text: str) -> list[str]:
    """Markdown in pieces that each fit one message. Telegram counts UTF-16 units, where an emoji is two."""
    found: list[str] = []
    for piece in split(text, MOST):
        too_long = len(piece.encode("utf-16-le")) // 2 > MOST
        found += split(piece, MOST // 2) if too_long else [piece]
    return found


def html_of(text: str) -> str:
    """Markdown as Telegram's HTML."""
    return "".join(_blocks(_parser().parse(text))).strip("\n")


@cache
def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"])


def _blocks(tokens: Sequence[Token]) -> Iterator[str]:
    """The HTML of each block; what Telegram has no tag for becomes text that looks like it."""
    lists: list[int | None] = []  # the next number of each list that is open, None for bullets
    quotes = 0
    in_table = False
    cells: list[str] = []
    for token in tokens:
        match token.type:
            case "inline":
                if in_table:
                    cells.append(escape(_plain(token.children or [])))
                else:
                    yield _inline(token.children or [])
            case "heading_open":
                yield "<b>"
            case "heading_close":
                yield "</b>\n\n"
            case "paragraph_close":
                yield "\n" if token.hidden or lists else "\n\n"
            case "bullet_list_open":
                lists.append(None)
            case "ordered_list_open":
                lists.append(int(token.attrGet("start") or 1))
            case "bullet_list_close" | "ordered_list_close":
                lists.pop()
                yield "" if lists else "\n"
            case "list_item_open":
                yield "  " * (len(lists) - 1) + _bullet(lists)
            case "fence" | "code_block":
                yield _code_block(token)
            case "blockquote_open":
                quotes += 1
                yield "<blockquote>" if quotes == 1 else ""  # Telegram does not nest them
            case "blockquote_close":
                quotes -= 1
                yield "</blockquote>\n" if quotes == 0 else ""
            case "hr":
                yield "———\n\n"
            case "table_open":
                in_table = True
                yield "<pre>"
            case "table_close":
                in_table = False
                yield "</pre>\n"
            case "tr_close":
                yield " | ".join(cells) + "\n"
                cells = []


def _inline(tokens: Sequence[Token]) -> str:
    """The HTML of what stands within a line."""
    found: list[str] = []
    for token in tokens:
        kind, _, side = token.type.rpartition("_")
        if kind in _MARKS:
            found.append(f"<{'/' if side == 'close' else ''}{_MARKS[kind]}>")
        elif token.type == "code_inline":
            found.append(f"<code>{escape(token.content)}</code>")
        elif token.type == "link_open":
            found.append(f'<a href="{escape(str(token.attrGet("href") or ""))}">')
        elif token.type == "link_close":
            found.append("</a>")
        elif token.type == "image":
            address = escape(str(token.attrGet("src") or ""))
            found.append(f'<a href="{address}">{escape(token.content) or address}</a>')
        elif token.type in ("softbreak", "hardbreak"):
            found.append("\n")
        else:
            found.append(escape(token.content, quote=False))
    return "".join(found)


def _plain(tokens: Sequence[Token]) -> str:
    return "".join(token.content for token in tokens)


def _bullet(lists: list[int | None]) -> str:
    number = lists[-1]
    if number is None:
        return "• "
    lists[-1] = number + 1
    return f"{number}. "


def _code_block(token: Token) -> str:
    language = token.info.strip().split(" ")[0]
    code = escape(token.content.rstrip("\n"), quote=False)
    if language:
        code = f'<code class="language-{escape(language)}">{code}</code>'
    return f"<pre>{code}</pre>\n\n"
