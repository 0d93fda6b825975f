"""What people and models wrote, as a terminal may show it: nothing moves the cursor, and nothing hides.

Control characters are left out. Characters that nobody sees, or that turn the writing round so that a line
reads otherwise than it is kept, are written out as their numbers.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_HIDDEN: Final = ("Cf", "Zl", "Zp")
_ALSO_HIDDEN: Final = "\u115f\u1160\u3164\uffa0"
"""Hangul fillers: letters that look like nothing at all."""
_JOINER: Final = "\N{ZERO WIDTH JOINER}"
_ESCAPED_IN_JSON: Final = re.compile(
    "[\x7f-\x9f\u00ad\u0600-\u0605\u061c\u06dd\u070f\u115f\u1160\u180e\u200b-\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def visible(text: object) -> str:
    """`text` as it may be shown; line breaks and tabs stay, and so do emoji that are joined from several."""
    found = str(text)
    if found.isascii() and found.isprintable():
        return found
    return "".join(_shown(found, place) for place in range(len(found)))


def visible_in_json(text: str) -> str:
    """A text of JSON that says the same, with what is hidden or steers a terminal written as escapes."""
    return _ESCAPED_IN_JSON.sub(lambda match: _escape(match[0]), text)


def _shown(text: str, place: int) -> str:
    character = text[place]
    if character in "\n\t":
        return character
    category = unicodedata.category(character)
    if category in ("Cc", "Cs"):
        return ""
    if character == _JOINER and _joins(text, place):
        return character
    return _escape(character) if category in _HIDDEN or character in _ALSO_HIDDEN else character


def _joins(text: str, place: int) -> bool:
    """Whether the joiner there has an emoji on both sides, as far as the text goes."""
    before, after = text[:place][-1:], text[place + 1 :][:1]
    return all(not one or unicodedata.category(one) in ("So", "Sk", "Mn") for one in (before, after))


def _escape(character: str) -> str:
    number = ord(character)
    if number <= 0xFFFF:
        return f"\\u{number:04x}"
    high, low = divmod(number - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
