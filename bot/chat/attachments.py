"""Files attached to a question: text becomes part of it, anything else is named as not read.

Discord itself turns a long paste into a text file.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

from bot.texts import NOT_READ, SHORTENED, Text
from feedback.words import Language

MOST_BYTES: Final = 1_000_000
"""Larger files are not fetched: of what they hold, a question takes a small part at most."""

TEXT_TYPES: Final = ("application/json", "application/xml", "application/x-yaml", "application/toml")
TEXT_SUFFIXES: Final = frozenset(
    (
        *(".txt", ".md", ".rst", ".log", ".csv", ".tsv", ".srt", ".html", ".xml", ".css", ".sql"),
        *(".json", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".conf"),
        *(".py", ".js", ".ts", ".java", ".go", ".rs", ".c", ".h", ".cpp", ".sh"),
    )
)


@dataclass(frozen=True)
class Attachment:
    """Something attached to a message: its `size` in bytes, and how to read it (None: it cannot be fetched).

    `name` is a file's own, or what kind of thing it is.
    """

    name: Text
    media_type: str
    size: int
    read: Callable[[], Awaitable[bytes | None]]

    @property
    def may_be_text(self) -> bool:
        """Whether its type or name says that it is text, and it is small enough to be read."""
        kind = self.media_type.partition(";")[0].strip().casefold()
        named = PurePath(self.name.en.casefold()).suffix in TEXT_SUFFIXES
        return self.size <= MOST_BYTES and (kind.startswith("text/") or kind in TEXT_TYPES or named)


@dataclass(frozen=True)
class Read:
    """A question with what was read of its attachments; names of those that were not, or only in part."""

    text: str
    unread: tuple[Text, ...] = ()
    shortened: tuple[Text, ...] = ()

    def notice(self, language: Language) -> str:
        """What the member should know about their attachments; "" is nothing."""
        said = [
            text.say(language, names=", ".join(name.say(language) for name in names))
            for text, names in ((NOT_READ, self.unread), (SHORTENED, self.shortened))
            if names
        ]
        return " ".join(said)


async def read_attachments(text: str, attachments: Sequence[Attachment], most: int) -> Read:
    """The question `text` followed by its text attachments, `most` characters in all."""
    unread: list[Text] = []
    shortened: list[Text] = []
    for attachment in attachments:
        content = _text_of(await attachment.read()) if attachment.may_be_text else None
        room = most - len(text) - 2  # for the empty line between
        if not content or room <= 0:
            unread.append(attachment.name)
            continue
        if len(content) > room:
            shortened.append(attachment.name)
        text = f"{text}\n\n{content[:room].rstrip()}".strip()
    return Read(text, tuple(unread), tuple(shortened))


def _text_of(data: bytes | None) -> str | None:
    """The file's text; None when it is not text, whatever its name says."""
    if data is None or b"\0" in data:
        return None
    try:
        return data.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        return None
