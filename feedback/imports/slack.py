"""Slack's export: a ZIP or folder of `users.json`, `channels.json` and each channel's files, one a day."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final

from feedback.imports.records import MENTION, Broken, Format, Message, People, Record, Unreadable
from feedback.imports.rows import NOT_JSON, rows
from feedback.imports.sources import Source

EXPORT: Final = Format("slack", "a workspace that Slack exported", "talk")
_DAY: Final = re.compile(r"(?:^|/)([^/]+)/\d{4}-\d{2}-\d{2}\.json$")
_SAID: Final = frozenset({"", "thread_broadcast", "me_message", "file_share"})
"""Subtypes that are somebody's words; the others tell of joining, leaving, topics."""
_CODE: Final = re.compile(r"<(?P<code>[^<>]*)>")


@dataclass
class Workspace:
    """The users of a workspace: names by id, who moderates, whose account is gone, which are bots.

    `private` are the folders of direct messages, of two or of a group: what is said there stays there.
    """

    names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    moderators: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    bots: set[str] = field(default_factory=set)
    private: set[str] = field(default_factory=set)


def days(sources: list[Source]) -> list[Source]:
    """The files with messages, channel by channel; empty where the files are no export of Slack's."""
    names = {PurePosixPath(source.name).name for source in sources}
    if not {"users.json", "channels.json"} & names:
        return []
    return [source for source in sources if _DAY.search(source.name)]


def workspace(sources: list[Source]) -> Workspace:
    """Who is in `users.json`, and what is private by `dms.json` and `mpims.json`; nobody without them."""
    found = Workspace()
    for source in sources:
        name = PurePosixPath(source.name).name
        if name in ("dms.json", "mpims.json"):
            # a talk of two has its id for a folder, one of several a name
            found.private |= {str(one.get(key)) for one in _listed(source) for key in ("id", "name")}
        for user in _listed(source) if name == "users.json" else ():
            number = str(user.get("id"))
            profile = user.get("profile") or {}
            named = (
                user.get("name"),
                user.get("real_name"),
                profile.get("display_name"),
                profile.get("real_name"),
            )
            found.names[number] = tuple(str(name) for name in named if name)
            if user.get("is_admin") or user.get("is_owner"):
                found.moderators.add(number)
            if user.get("deleted"):
                found.deleted.add(number)
            if user.get("is_bot"):
                found.bots.add(number)
    return found


def _listed(source: Source) -> list[dict[str, Any]]:
    with source.open_utf8() as file:
        try:
            items = json.load(file)
        except NOT_JSON:
            return []
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def read(source: Source, people: People, known: Workspace) -> Iterator[Record]:
    """The messages of one day in one channel."""
    match = _DAY.search(source.name)
    talk = match[1] if match else source.name
    for row in rows(source):
        if isinstance(row, Broken):
            yield row
            continue
        if talk in known.private:
            people.leave_out("messages of private talks")
            continue
        place, item = row
        try:
            message = _message(item, talk, people, known)
        except Unreadable as error:
            yield Broken(place, str(error))
        else:
            if message is not None:
                yield message


def _message(item: Any, talk: str, people: People, known: Workspace) -> Message | None:
    if not isinstance(item, dict) or "ts" not in item:
        raise Unreadable("it is no message with a ts")
    try:
        at = float(item["ts"])
    except ValueError as error:
        raise Unreadable(f"the time {item['ts']!r} is none") from error
    author = str(item.get("user") or "")
    if item.get("type", "message") != "message" or str(item.get("subtype") or "") not in _SAID:
        people.leave_out("system messages")
        return None
    if not author or author in known.deleted:
        people.leave_out("deleted accounts")
        return None
    text, mentioned = _text(str(item.get("text") or ""))
    thread = str(item.get("thread_ts") or "")
    return Message(
        id=str(item["ts"]),
        talk=talk,
        author=people.known(author, *known.names.get(author, ())),
        at=at,
        text=text,
        reply_to=thread if thread != str(item["ts"]) else "",
        mentions=tuple(people.known(one, *known.names.get(one, ())) for one in mentioned),
        reactions=tuple(
            (str(one.get("name") or ""), int(one.get("count") or 0))
            for one in item.get("reactions") or []
            if isinstance(one, dict)
        ),
        is_moderator=author in known.moderators,
        is_bot=bool(item.get("bot_id")) or author in known.bots,
    )


def _text(text: str) -> tuple[str, list[str]]:
    """A text without Slack's codes, and the ids of who is mentioned."""
    mentioned: list[str] = []

    def shown(match: re.Match[str]) -> str:
        code, _, label = match["code"].partition("|")
        if code.startswith("@"):
            mentioned.append(code[1:])
            return MENTION
        if code.startswith("#"):
            return f"#{label}" if label else "#channel"
        if code.startswith("!"):
            return f"@{label or code[1:].split('^')[0]}"
        if not code:
            return match[0]
        return f"{label} ({code})" if label and label != code else code

    return html.unescape(_CODE.sub(shown, text)).strip(), mentioned
