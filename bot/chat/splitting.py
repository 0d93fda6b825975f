"""A long answer as messages of a platform: split between paragraphs, and never so that it looks broken.

Works on Markdown as models write it. A code block that goes on in the next message is closed here and opened
again there, with its language; a link stays whole. No text is lost: without the added fences and the white
space at the seams, the messages together are the answer.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_FENCE = re.compile(r"^ {0,3}(?P<marks>`{3,}|~{3,})(?P<info>[^\n`]*)$")
_LINK = re.compile(r"!?\[[^\]\n]{0,300}\]\([^)\s]{1,1500}\)|<https?://[^>\s]+>|https?://\S+")
_SENTENCE_END = re.compile(r"[.!?…]['\")\]]*\s")
_JOINERS: Final = "\u200d\ufe0f"
_LEAST_FILL: Final = 0.4
"""The share of a message that must be filled before a nicer place to split is worth a shorter message."""


def split(text: str, limit: int) -> list[str]:
    """`text` in messages of at most `limit` characters, none of them empty.

    `limit` is at least 100, for the fences need room.
    """
    if limit < 100:
        raise ValueError(f"messages of {limit} characters are too short to split into; use 100 or more")
    messages: list[str] = []
    rest = text.strip("\n")
    opener = ""  # the fence that is open where `rest` begins
    while rest.strip():
        head = f"{opener}\n" if opener else ""
        if len(head) + len(rest) <= limit:
            messages.append(head + rest.rstrip())
            break
        closing = _closing(opener)
        # what this message opens itself must fit as well; a fence's marks are rarely more than three
        room = limit - len(head) - max(len(closing), 4) - 1
        cut = _place(rest, room, inside=bool(opener))
        piece, rest = rest[:cut], rest[cut:]
        now_open = _open_fence(piece, opener)
        if now_open and now_open != opener and piece.rstrip().endswith(now_open):
            # nothing but the opener stands in this piece's block: let it begin in the next message
            start = piece.rstrip().rfind(now_open)
            if piece[:start].strip():
                rest, piece, now_open = piece[start:] + rest, piece[:start], opener
        body = head + piece.rstrip()
        if now_open:
            body = f"{body}\n{_closing(now_open)}"
        messages.append(body)
        opener = now_open
        rest = rest.lstrip("\n") if opener else rest.lstrip()
    return messages


def _closing(opener: str) -> str:
    match = _FENCE.match(opener)
    return match["marks"] if match else ""


def _open_fence(piece: str, opener: str) -> str:
    """The fence line that is open at the end of `piece`, when `opener` is open at its beginning."""
    for line in piece.split("\n"):
        match = _FENCE.match(line)
        if match is None:
            continue
        if not opener:
            opener = line
        elif not match["info"].strip() and line.strip().startswith(_closing(opener)):
            opener = ""
    return opener


def _place(text: str, room: int, *, inside: bool) -> int:
    """Where to cut `text` so that at most `room` characters come before it; at least one does."""
    window = text[: room + 1]
    least = int(room * _LEAST_FILL)
    for separator in ("\n",) if inside else ("\n\n", "\n"):
        at = window.rfind(separator, least)
        if at > 0 and not _within_link(text, at):
            return at
    if not inside:
        ends = [match.end() for match in _SENTENCE_END.finditer(window) if match.end() <= room]
        for end in reversed(ends):
            if end >= least and not _within_link(text, end):
                return end
    at = window.rfind(" ", 1)
    while at > 0:
        if not _within_link(text, at):
            return at
        at = window.rfind(" ", 1, at)
    link = _link_at(text, room)
    if link is not None and link[0] > 0 and link[1] - link[0] <= room:
        return link[0]
    return _whole_characters(text, room)


def _whole_characters(text: str, at: int) -> int:
    """`at`, moved back so as not to part a character from what is joined to it (accents, emoji)."""

    def joined(there: int) -> bool:
        return (
            text[there] in _JOINERS or text[there - 1] == "\u200d" or unicodedata.combining(text[there]) > 0
        )

    while at > 1 and joined(at):
        at -= 1
    return at


def _within_link(text: str, at: int) -> bool:
    return _link_at(text, at) is not None


def _link_at(text: str, at: int) -> tuple[int, int] | None:
    """Start and end of the link that a cut at `at` would break."""
    start = max(0, at - 2000)
    for match in _LINK.finditer(text, start, min(len(text), at + 2000)):
        if match.start() < at < match.end():
            return match.start(), match.end()
        if match.start() >= at:
            break
    return None
