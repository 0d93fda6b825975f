"""Telegram Desktop's HTML export: `messages.html`, `messages2.html`, … of one chat.

It names people and gives no ids, so forget-me cannot find them by one: pseudonyms are made of the names. A
message without a name goes on what the one before began. A reaction shows the pictures of who gave it, and a
number only where there are more of them. Read piece by piece; nothing of it is run or loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from html.parser import HTMLParser
from typing import Final

from feedback.imports.records import MENTION, Broken, Format, Message, People, Record
from feedback.imports.sources import Source

PAGES: Final = Format("telegram-html", "a chat that Telegram Desktop exported as HTML", "talk")
_PAGE: Final = re.compile(r'class="(?:page_wrap|pull_right date details|history)', re.IGNORECASE)
_ZONE: Final = re.compile(r" UTC(?P<offset>[+-]\d\d:\d\d)$")
_NUMBER: Final = re.compile(r"messages?(\d*)\.html$")
_VIA_BOT: Final = re.compile(r"\s+via @\S+$")
"""What follows the name of somebody for whom a bot wrote the message."""
_REACTION: Final = re.compile(r"(?P<name>\S+?)(?P<givers>\x01*)(?:=(?P<count>\d+))?(?:\s|$)")
_GIVER: Final = "\x01"
"""A picture of somebody who reacted."""
_CHUNK: Final = 2**16
_VOID: Final = frozenset({"br", "img", "input", "meta", "link", "hr", "wbr", "source", "area", "base", "col"})


def is_page(beginning: str) -> bool:
    """Whether a text that begins so is a page of such an export."""
    return (
        "<html" in beginning[:500].lower() and _PAGE.search(beginning) is not None and "tgme" not in beginning
    )


def place_of(name: str) -> tuple[str, int]:
    """The folder of a page and its number there: messages.html is the first, messages10.html the tenth."""
    folder, _, file = name.rpartition("/")
    found = _NUMBER.search(file)
    return folder, int(found[1] or 1) if found else 0


def read(source: Source, people: People) -> Iterator[Record]:
    """The messages of a page."""
    folder = source.name.rpartition("/")[0]
    page = _Page()
    with source.open_utf8() as file:
        while raw := file.read(_CHUNK):
            page.feed(raw.decode("utf-8", "replace"))
            yield from page.taken(folder or "chat", people)
    page.close()
    page.finish()
    yield from page.taken(folder or "chat", people)


class _Page(HTMLParser):
    """Collects messages as their elements close."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[tuple[str, str]] = []
        self._done: list[dict[str, str]] = []
        self._now: dict[str, str] = {}
        self._author, self._by_bot = "", False
        self._link = ("", 0)
        self._quoted_from = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        classes = said.get("class", "")
        words = classes.split()
        if tag == "div" and "message" in words:
            self.finish()
            self._now = {"id": said.get("id", "").removeprefix("message"), "kind": classes}
        if "date" in words and "details" in words and "title" in said:
            self._now["date"] = said["title"]
        if tag == "a" and "#go_to_message" in said.get("href", "") and self._within("reply_to"):
            self._now["reply"] = said["href"].rpartition("#go_to_message")[2]
        if tag == "div" and "forwarded" in words:
            self._now["forwarded"] = "yes"
        if "userpic" in words and self._within("reaction"):
            self._add("reactions", _GIVER)
        if self._in_text():
            self._add("text", {"br": "\n", "code": "`", "pre": "\n```\n"}.get(tag, ""))
            if tag == "blockquote":
                self._quoted_from = len(self._now["text"])
            elif tag == "a" and "ShowMentionName" in said.get("onclick", ""):
                self._add("text", MENTION)
                classes = "mention"
            elif tag == "a":
                self._link = (said.get("href", ""), len(self._now["text"]))
        if tag not in _VOID:
            self._open.append((tag, classes))

    def handle_endtag(self, tag: str) -> None:
        if self._in_text():
            text = self._now.get("text", "")
            self._add("text", {"code": "`", "pre": "\n```\n"}.get(tag, ""))
            address, start = self._link
            if tag == "a" and address.startswith(("http://", "https://")) and text[start:] != address:
                self._add("text", f" ({address})")
            elif tag == "blockquote":
                quoted = "".join(f"> {line}\n" for line in text[self._quoted_from :].splitlines())
                self._now["text"] = text[: self._quoted_from] + quoted
            self._link = ("", 0)
        while self._open:
            if self._open.pop()[0] == tag:
                break

    def handle_data(self, data: str) -> None:
        if not self._open:
            return
        classes = self._open[-1][1].split()
        if "from_name" in classes and not self._within("forwarded"):
            self._add("from", data)
        elif self._in_text() and "mention" not in classes:
            self._add("text", data)
        elif self._within("emoji") and data.strip():
            self._add("reactions", f" {data.strip()}")
        elif "count" in classes and self._within("reaction"):
            self._add("reactions", f"={data.strip()}")

    def finish(self) -> None:
        """Put the message at hand with those that are done."""
        if self._now:
            self._done.append(self._now)
        self._now = {}

    def taken(self, folder: str, people: People) -> Iterator[Record]:
        """The messages done so far, each once."""
        done, self._done = self._done, []
        for one in done:
            kind = one["kind"].split()
            if "service" in kind:
                people.leave_out("system messages")
                continue
            name, via_bot = _VIA_BOT.subn("", one.get("from", "").strip())
            if name or "joined" not in kind:
                self._author, self._by_bot = name, bool(via_bot)
            if one.get("forwarded"):
                people.leave_out("forwarded messages")
                continue
            if not self._author or self._author == "Deleted Account":
                people.leave_out("deleted accounts")
                continue
            at = _moment(one.get("date", ""))
            if at is None:
                yield Broken(f"message {one['id']}", f"the date {one.get('date', '')!r} is none")
                continue
            yield Message(
                id=one["id"],
                talk=folder,
                author=people.known(f"name:{self._author}", self._author),
                at=at,
                text=one.get("text", "").strip(),
                reply_to=one.get("reply", ""),
                reactions=_reactions(one.get("reactions", "")),
                is_bot=self._by_bot,
            )

    def _add(self, name: str, text: str) -> None:
        self._now[name] = self._now.get(name, "") + text

    def _in_text(self) -> bool:
        # the page's header has a text too, before any message
        return bool(self._now) and self._within("text") and not self._within("forwarded")

    def _within(self, name: str) -> bool:
        return any(name in classes.split() for _, classes in self._open)


def _moment(title: str) -> float | None:
    zone = _ZONE.search(title)
    try:
        at = datetime.strptime(_ZONE.sub("", title), "%d.%m.%Y %H:%M:%S")
    except ValueError:
        return None
    return datetime.fromisoformat(f"{at.isoformat()}{zone['offset']}").timestamp() if zone else at.timestamp()


def _reactions(said: str) -> tuple[tuple[str, int], ...]:
    return tuple(
        (one["name"], int(one["count"] or len(one["givers"]) or 1)) for one in _REACTION.finditer(said)
    )
