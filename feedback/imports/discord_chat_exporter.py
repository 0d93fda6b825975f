"""DiscordChatExporter's files: a channel or thread as JSON, or as CSV, which knows neither ids nor replies.

Forwarded messages are not their sender's words, system messages nobody's, and deleted accounts cannot agree
to anything: all are left out, counted. Mentions come by name ("@Ann") or raw ("<@123>").
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

import ijson

from feedback.imports.records import MENTION, Broken, Format, Message, People, Record, Unreadable
from feedback.imports.rows import json_items, rows
from feedback.imports.sources import Source

JSON: Final = Format("discord-chat-exporter", "a channel that DiscordChatExporter wrote", "talk")
CSV: Final = Format("discord-chat-exporter-csv", "a channel that DiscordChatExporter wrote as CSV", "talk")
_DOCUMENT: Final = re.compile(r'"guild"\s*:\s*\{.*"channel"\s*:\s*\{', re.DOTALL)
_SAID: Final = frozenset({"Default", "Reply", "ThreadStarterMessage", "0", "19", "21"})
_MODERATES: Final = re.compile(
    r"\b(?:mod|mods|moderators?|admins?|administrators?|staff|helpers?|support|owner|maintainers?|team|core"
    r"|moderacja|moderatork?a?|administracja|opiekunk?a?|zarzad|zarząd)\b",
    re.IGNORECASE,
)
_RAW_MENTION: Final = re.compile(r"<@[!&]?(\d+)>")
_CUSTOM_EMOJI: Final = re.compile(r"<a?(:\w+:)\d+>")
_REACTION: Final = re.compile(r"([^\s,]+) \((\d+)\)")
_NOTICE: Final = re.compile(
    r"Pinned a message\.|Joined the server\.|Started a thread\.|Left the group\.|Added a recipient\."
    r"|Changed the channel icon\.|Changed the channel name: .*|Started a call that lasted .*"
)
"""What the exporter writes for system messages, which a CSV file has no other mark of."""
_DELETED: Final = "456226577798135808"
"""The id that Discord gives to every account that is gone."""


def is_channel(beginning: str) -> bool:
    """Whether a JSON document that begins so is a channel."""
    return _DOCUMENT.search(beginning) is not None


def is_csv(row: Mapping[str, Any]) -> bool:
    """Whether a row of CSV is a message."""
    return {"AuthorID", "Author", "Date", "Content"} <= row.keys()


def server_of(source: Source) -> tuple[str, str]:
    """The id and the name of the server that a JSON export is of; both "" where it does not say."""
    with source.open_utf8() as file:
        guild = _first(ijson.items(file, "guild"))
    return (str(guild.get("id") or ""), str(guild.get("name") or "")) if isinstance(guild, dict) else ("", "")


def read_json(source: Source, people: People) -> Iterator[Record]:
    """The messages of a channel, in the file's order."""
    with source.open_utf8() as file:
        channel = _first(ijson.items(file, "channel"))
    talk = str(channel.get("id") or source.name) if isinstance(channel, dict) else source.name
    for row in json_items(source, "messages.item"):
        if isinstance(row, Broken):
            yield row
            continue
        place, item = row
        try:
            message = _message(item, talk, people)
        except Unreadable as error:
            yield Broken(place, str(error))
        else:
            if message is not None:
                yield message


def read_csv(source: Source, people: People) -> Iterator[Record]:
    """The messages of a channel; who answers whom is not in a CSV file."""
    for number, row in enumerate(rows(source)):
        if isinstance(row, Broken):
            yield row
            continue
        place, item = row
        try:
            at = moment(item.get("Date"))
        except Unreadable as error:
            yield Broken(place, str(error))
            continue
        author, content = str(item.get("AuthorID") or ""), str(item.get("Content") or "")
        if _NOTICE.fullmatch(content):
            people.leave_out("system messages")
            continue
        if not author or author == _DELETED:
            people.leave_out("deleted accounts")
            continue
        yield Message(
            id=f"{source.name}:{number}",
            talk=source.name,
            author=people.known(author, str(item.get("Author") or "").split("#")[0]),
            at=at,
            text=plain_text(content),
            reactions=tuple(
                (name, int(count)) for name, count in _REACTION.findall(str(item.get("Reactions") or ""))
            ),
        )


def moment(value: Any) -> float:
    """Seconds since 1970 of an ISO 8601 time. Raises Unreadable."""
    try:
        return datetime.fromisoformat(str(value)).timestamp()
    except ValueError as error:
        raise Unreadable(f"the time {value!r} is none") from error


def plain_text(text: str) -> str:
    """A message's text without Discord's codes: emoji by name, mentions as [mention]."""
    if "<" in text:
        text = _CUSTOM_EMOJI.sub(r"\1", _RAW_MENTION.sub(MENTION, text))
    return text.strip()


def _message(item: Any, talk: str, people: People) -> Message | None:
    if not isinstance(item, dict) or not isinstance(item.get("author"), dict) or "id" not in item:
        raise Unreadable("it is no message with an id and an author")
    author = item["author"]
    author_id = str(author.get("id") or "")
    if str(item.get("type", "Default")) not in _SAID:
        people.leave_out("system messages")
        return None
    if author_id in ("", _DELETED) or str(author.get("name", "")).lower().startswith("deleted_user_"):
        people.leave_out("deleted accounts")
        return None
    reference = item.get("reference") or {}
    if item.get("forwardedMessage") or reference.get("type") == "Forward":
        people.leave_out("forwarded messages")
        return None
    content = item.get("content")
    if not isinstance(content, str):
        raise Unreadable(f"its content is {type(content).__name__}, not text")
    mentioned = [one for one in item.get("mentions") or [] if isinstance(one, dict)]
    return Message(
        id=str(item["id"]),
        talk=talk,
        author=people.known(author_id, author.get("name"), author.get("nickname")),
        at=moment(item.get("timestamp")),
        text=plain_text(content),
        reply_to=str(reference.get("messageId") or ""),
        mentions=tuple(
            people.known(str(one["id"]), one.get("name"), one.get("nickname"))
            for one in mentioned
            if one.get("id")
        ),
        reactions=tuple(
            (str(emoji.get("name") or emoji.get("code") or ""), int(one.get("count") or 0))
            for one in item.get("reactions") or []
            if isinstance(one, dict) and isinstance(emoji := one.get("emoji"), dict)
        ),
        is_moderator=any(
            _MODERATES.search(str(role.get("name") or ""))
            for role in author.get("roles") or []
            if isinstance(role, dict)
        ),
        is_bot=bool(author.get("isBot")),
        is_pinned=bool(item.get("isPinned")),
    )


def _first(items: Iterator[Any]) -> Any:
    try:
        return next(items, None)
    except (ijson.JSONError, ValueError):
        return None
