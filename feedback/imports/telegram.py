"""Telegram Desktop's `result.json`: one chat, or all chats of an account with those that were left.

A message's text is a string or a list of strings and entities. Messages of a kind that Telegram Desktop does
not know have an id and a type and nothing else; service messages, forwards and deleted accounts are left out.

What it writes is not always JSON, and is mended while it is read: control characters, such as the data of
bots' buttons has, are written as \\x01 (telegramdesktop/tdesktop#27571), and some versions left the path of a
custom emoji without quotes (#24961).
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, BinaryIO, Final

import ijson
from ijson.common import ObjectBuilder

from feedback.imports.records import MENTION, Broken, Format, Message, People, Record, Unreadable
from feedback.imports.rows import NOT_JSON, json_items
from feedback.imports.sources import LONGEST_RECORD, Source, buffered

CHAT: Final = Format("telegram", "a chat that Telegram Desktop exported", "talk")
ALL_CHATS: Final = Format("telegram-all", "all chats that Telegram Desktop exported", "talk")
_CHAT: Final = re.compile(
    r'"type"\s*:\s*"(?:private|public|personal|bot|saved)_\w+".*"messages"\s*:', re.DOTALL
)
_ALL_CHATS: Final = re.compile(
    r'"(?:left_)?chats"\s*:\s*\{.*"list"\s*:'
    r'|\A\s*\{\s*"about"\s*:\s*"(?:[^"\\]|\\.)*",\s*"(?:personal_information|profile_pictures|stories|contacts'
    r'|frequent_contacts|sessions|web_sessions|other_data)"\s*:',
    re.DOTALL,
)
"""What an account's export has before its chats may be long: contacts by the thousand."""
_GROUPS: Final = (
    "private_group",
    "private_supergroup",
    "public_supergroup",
    "private_channel",
    "public_channel",
)
"""What a community is; talks between two people stay where they are."""
_PREFIXES: Final = ("chats.list.item", "left_chats.list.item")
_CONTROL: Final = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|.)", re.DOTALL)
"""A backslash with what it escapes, so that the x after an escaped backslash is none."""
_UNQUOTED: Final = re.compile(rb'("document_id": )(?=[^"\s\d])([^\r\n]*?)(,?\r?\n)')
_LINES_AT_ONCE: Final = 2**18


def is_chat(beginning: str) -> bool:
    """Whether a JSON document that begins so is one chat."""
    return _CHAT.search(beginning) is not None and not is_all_chats(beginning)


def is_all_chats(beginning: str) -> bool:
    """Whether a JSON document that begins so is an account's export."""
    return _ALL_CHATS.search(beginning) is not None


def community_of(source: Source) -> tuple[str, str]:
    """The id that Telegram's Bot API has for the chat, and its name; both "" where the file does not say."""
    found: dict[str, Any] = {}
    with _opened(source) as file:
        try:
            for prefix, event, value in ijson.parse(file):
                if prefix in ("name", "type", "id") and event in ("string", "number"):
                    found[prefix] = value
                if prefix == "messages" or len(found) == 3:
                    break
        except (ijson.JSONError, *NOT_JSON):
            pass  # the reader says where it breaks
    if "id" not in found:
        return "", str(found.get("name") or "")
    return bot_api_id(str(found["id"]), str(found.get("type") or "")), str(found.get("name") or "")


def bot_api_id(number: str, kind: str) -> str:
    """A chat's id as bots know it: a minus before groups', -100 before supergroups' and channels'."""
    if number.startswith("-") or kind in ("personal_chat", "bot_chat", "saved_messages", ""):
        return number
    return f"-{number}" if kind == "private_group" else f"-100{number}"


def read_chat(source: Source, people: People) -> Iterator[Record]:
    """The messages of one chat."""
    talk, _ = community_of(source)
    reader = _Reader(talk or source.name, people)
    for row in json_items(source, "messages.item", opened=_opened):
        if isinstance(row, Broken):
            yield row
        else:
            yield from reader.read(*row)


def read_all_chats(source: Source, people: People) -> Iterator[Record]:
    """The messages of every group in an account's export; private talks are left out, and counted."""
    about: dict[str, Any] = {}
    reader: _Reader | None = None
    builder: ObjectBuilder | None = None
    depth, number = "", 0
    with _opened(source) as file:
        try:
            for prefix, event, value in ijson.parse(file, use_float=True):
                if builder is not None:
                    builder.event(event, value)
                    if event == "end_map" and prefix == depth:
                        number += 1
                        if reader is not None:
                            yield from reader.read(f"message {number} of {about.get('name')}", builder.value)
                        builder = None
                elif prefix in _PREFIXES and event == "start_map":
                    about, reader, number = {}, None, 0
                elif event == "start_map" and prefix.endswith(".messages.item") and prefix[:-14] in _PREFIXES:
                    if str(about.get("type")) in _GROUPS:
                        talk = bot_api_id(str(about.get("id")), str(about.get("type")))
                        reader = reader or _Reader(talk, people)
                    else:
                        people.leave_out("messages of private talks")
                    builder, depth = ObjectBuilder(), prefix
                    builder.event(event, value)
                elif event in ("string", "number") and prefix.rpartition(".")[0] in _PREFIXES:
                    about[prefix.rpartition(".")[2]] = value
        except (ijson.JSONError, *NOT_JSON) as error:
            yield Broken(
                f"after message {number} of {about.get('name')}", f"the JSON does not go on ({error})"
            )


class _Reader:
    """Reads the messages of one chat, and remembers which topics it has."""

    def __init__(self, talk: str, people: People) -> None:
        self._talk = talk
        self._people = people
        self._topics: set[str] = set()
        self._topic_of: dict[str, str] = {}

    def read(self, place: str, item: Any) -> Iterator[Record]:
        """The message, why there is none, or nothing for what is nobody's words."""
        try:
            message = self._message(item)
        except Unreadable as error:
            yield Broken(place, str(error))
        else:
            if message is not None:
                yield message

    def _message(self, item: Any) -> Message | None:
        if not isinstance(item, dict) or "id" not in item:
            raise Unreadable("it is no message with an id")
        number = str(item["id"])
        kind = item.get("type", "message")
        if kind == "service" and item.get("action") == "topic_created":
            self._topics.add(number)
        if kind != "message":
            self._people.leave_out("system messages" if kind == "service" else f"messages of type {kind!r}")
            return None
        if not item.get("from_id") or not item.get("from") or item["from"] == "Deleted Account":
            self._people.leave_out("deleted accounts")
            return None
        if item.get("forwarded_from") or item.get("forwarded_from_id"):
            self._people.leave_out("forwarded messages")
            return None
        # with a peer, it is a message of another chat
        reply = "" if item.get("reply_to_peer_id") else str(item.get("reply_to_message_id") or "")
        topic = reply if reply in self._topics else self._topic_of.get(reply, "")
        if topic:
            self._topic_of[number] = topic
        text, mentions = self._text(item)
        return Message(
            id=number,
            talk=f"{self._talk}/{topic}" if topic else self._talk,
            author=self._people.known(_user(str(item["from_id"])), item["from"]),
            at=_moment(item),
            text=text,
            reply_to="" if reply in self._topics else reply,
            mentions=mentions,
            reactions=tuple(
                (str(one.get("emoji") or one.get("type") or ""), int(one.get("count") or 0))
                for one in item.get("reactions") or []
                if isinstance(one, dict)
            ),
            is_bot=bool(item.get("via_bot")),
        )

    def _text(self, item: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
        """The text with its code marked and nobody's name in a mention; who was mentioned by id."""
        said = item.get("text_entities") or item.get("text") or ""
        if isinstance(said, str):
            return said.strip(), ()
        if not isinstance(said, list):
            raise Unreadable(f"its text is {type(said).__name__}")
        parts, mentions = [], []
        for part in said:
            if isinstance(part, str):
                parts.append(part)
                continue
            if not isinstance(part, dict) or not isinstance(part.get("text"), str):
                raise Unreadable("a part of its text is no text")
            text = part["text"]
            match part.get("type"):
                case "mention_name":
                    parts.append(MENTION)
                    if part.get("user_id"):
                        mentions.append(self._people.known(_user(str(part["user_id"])), text))
                case "code":
                    parts.append(f"`{text}`")
                case "pre":
                    parts.append(f"```{part.get('language') or ''}\n{text}\n```")
                case "text_link" if part.get("href"):
                    parts.append(f"{text} ({part['href']})")
                case "blockquote":
                    parts.append("".join(f"> {line}\n" for line in text.splitlines()))
                case _:
                    parts.append(text)
        return "".join(parts).strip(), tuple(mentions)


class _Mended(io.RawIOBase):
    """An export's bytes with what is no JSON in them mended, some lines at a time."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        if not self._left:
            read = self._file.read(_LINES_AT_ONCE)
            self._left = _mended(read + self._file.readline(LONGEST_RECORD))
        data, self._left = self._left[: len(buffer)], self._left[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def _opened(source: Source) -> BinaryIO:
    return buffered(_Mended(source.open_utf8()))


def _mended(text: bytes) -> bytes:
    if b"\\x" in text:
        text = _CONTROL.sub(lambda match: b"\\u00" + match[1] if match[1] else match[0], text)
    return _UNQUOTED.sub(rb'\1"\2"\3', text) if b'"document_id": ' in text else text


def _user(from_id: str) -> str:
    """A user's id as bots know it: Telegram Desktop writes user123."""
    return from_id.removeprefix("user")


def _moment(item: Mapping[str, Any]) -> float:
    stamp = item.get("date_unixtime") or item.get("date")
    if stamp is None:
        raise Unreadable("it has no date")
    try:
        return float(stamp)
    except ValueError:
        try:
            return datetime.fromisoformat(str(stamp)).astimezone().timestamp()
        except ValueError as error:
            raise Unreadable(f"the date {stamp!r} is none") from error
