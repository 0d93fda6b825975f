"""Discord's own data package: what one person wrote, in every channel, without anybody else's words.

`messages/cNUMBER/messages.json`, in older packages `messages.csv`; folders carry names in the account's
language, or a capital letter, and once had no c. The `channel.json` beside it says what kind of channel it
is: direct messages stay where they are. One side of a talk has no answers, so nothing comes of it but a plain
account of what it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any, Final

from feedback.imports.records import Broken, Format, Message, People, Record, Unreadable
from feedback.imports.rows import rows
from feedback.imports.sources import Source

PACKAGE: Final = Format("discord-package", "Discord's package of one account's own messages", "talk")
_MEMBER: Final = re.compile(r"(?:^|/)c?(\d{15,20})/messages\.(?:json|csv)$")
_PRIVATE: Final = frozenset({"DM", "GROUP_DM", "1", "3"})
"""Types of channels that are direct messages; older packages have the API's numbers."""
AUTHOR: Final = "the account of the package"


def members(sources: list[Source]) -> list[Source]:
    """The files with messages among those of a package; empty where it is none."""
    return [source for source in sources if _MEMBER.search(source.name)]


def is_private(member: Source, every: Mapping[str, Source]) -> bool:
    """Whether a file holds direct messages, as the description beside it says. `every` is by name."""
    described = every.get(str(PurePosixPath(member.name).with_name("channel.json")))
    row = (
        next((row[1] for row in rows(described) if not isinstance(row, Broken)), None) if described else None
    )
    return isinstance(row, dict) and str(row.get("type")) in _PRIVATE


def read(source: Source, people: People, *, private: bool = False) -> Iterator[Record]:
    """The messages of one channel; those of a private one are only counted."""
    talk = PurePosixPath(source.name).parent.name.removeprefix("c")
    for row in rows(source):
        if isinstance(row, Broken):
            yield row
            continue
        place, item = row
        if private:
            people.leave_out("messages of private talks")
            continue
        try:
            yield _message(item, talk, people)
        except Unreadable as error:
            yield Broken(place, str(error))


def _message(item: Any, talk: str, people: People) -> Message:
    if not isinstance(item, dict) or "ID" not in item or "Timestamp" not in item:
        raise Unreadable("it is no message with an ID and a Timestamp")
    try:
        at = datetime.fromisoformat(str(item["Timestamp"]))
    except ValueError as error:
        raise Unreadable(f"the time {item['Timestamp']!r} is none") from error
    return Message(
        id=str(item["ID"]),
        talk=talk,
        author=people.known(AUTHOR),
        at=(at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp(),
        text=str(item.get("Contents") or "").strip(),
    )
