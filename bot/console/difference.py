"""What an edit changes, word by word, as HTML: taken out is <del>, put in is <ins>, all else escaped."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from html import escape
from typing import Final

_PIECE: Final = re.compile(r"\s+|[^\s\w]|\w+")
MOST_PIECES: Final = 1500
"""Words and spaces of either text: comparing takes time that grows with their product."""


def as_html(before: str, after: str) -> str:
    """The difference of two texts; texts too long for it are shown one after the other."""
    one, other = _PIECE.findall(before), _PIECE.findall(after)
    if max(len(one), len(other)) > MOST_PIECES:
        return f"<del>{escape(before)}</del><ins>{escape(after)}</ins>"
    made = []
    for kind, begin, end, their_begin, their_end in SequenceMatcher(None, one, other, False).get_opcodes():
        gone, came = escape("".join(one[begin:end])), escape("".join(other[their_begin:their_end]))
        if kind == "equal":
            made.append(gone)
            continue
        made.append((f"<del>{gone}</del>" if gone else "") + (f"<ins>{came}</ins>" if came else ""))
    return "".join(made)
