"""Open WebUI: its export of feedback (thumbs, reasons, the chat as it was), and its export of chats.

A chat is a tree of messages: the branch that ends at `currentId` is what was said. An answer may carry the
thumb of whoever asked (`annotation`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from feedback.imports.records import Format, Rating, Record, Unreadable
from feedback.imports.turns import Turns, turns_of

FEEDBACK: Final = Format("open-webui-feedback", "feedback that Open WebUI exported", "ratings")
CHATS: Final = Format("open-webui-chats", "chats that Open WebUI exported", "ratings")


def is_feedback(row: Mapping[str, Any]) -> bool:
    """Whether a row is one thumb of Open WebUI's feedback export."""
    return {"data", "meta", "snapshot", "type"} <= row.keys()


def is_chat(row: Mapping[str, Any]) -> bool:
    """Whether a row is one chat of Open WebUI's."""
    chat = row.get("chat")
    return isinstance(chat, dict) and ("history" in chat or "messages" in chat) and "title" in {*row, *chat}


def read_feedback(row: Mapping[str, Any]) -> Iterator[Record]:
    """The rating that a row is. Raises Unreadable."""
    data, meta = _object(row, "data"), row.get("meta") or {}
    rating = str(data.get("rating"))
    if rating not in ("1", "-1"):
        raise Unreadable(f"the rating {data.get('rating')!r} is neither 1 nor -1")
    snapshot = (row.get("snapshot") or {}).get("chat") or {}
    chat = snapshot.get("chat") or snapshot
    turns = turns_of(_branch(chat, str(meta.get("message_id") or "")))
    if not turns.exchanges:
        raise Unreadable("the chat that was rated is not in it")
    yield _rating(turns, rating == "1", data, str(row.get("user_id") or ""))


def read_chat(row: Mapping[str, Any]) -> Iterator[Record]:
    """The rated answers of a chat; those that nobody rated are no opinion and stay out. Raises Unreadable."""
    chat = _object(row, "chat")
    messages = (chat.get("history") or {}).get("messages") or {}
    rater = str(row.get("user_id") or "")
    found = False
    for number, message in messages.items():
        annotation = message.get("annotation") if isinstance(message, dict) else None
        if isinstance(annotation, dict) and str(annotation.get("rating")) in ("1", "-1"):
            found = True
            turns = turns_of(_branch(chat, str(number)))
            if turns.exchanges:
                yield _rating(turns, str(annotation["rating"]) == "1", annotation, rater)
    if not found:
        raise Unreadable("nobody rated an answer in this chat")


def _rating(turns: Turns, good: bool, data: Mapping[str, Any], rater: str) -> Rating:
    question, answer = turns.exchanges[-1]
    said = [str(data.get("reason") or ""), str(data.get("comment") or "")]
    return Rating(
        question,
        answer,
        good,
        reason=": ".join(part for part in said if part),
        rater=rater,
        system=turns.system,
        history=turns.exchanges[:-1],
    )


def _branch(chat: Mapping[str, Any], last: str) -> list[dict[str, Any]]:
    """The messages from the beginning to the one of that id, oldest first."""
    history = chat.get("history") or {}
    messages = history.get("messages") or {}
    at = last if last in messages else history.get("currentId")
    branch: list[dict[str, Any]] = []
    seen = set()
    while at in messages and at not in seen:
        seen.add(at)
        message = messages[at]
        branch.append({"role": message.get("role"), "content": message.get("content")})
        at = message.get("parentId")
    if branch:
        return branch[::-1]
    said = []
    for message in chat.get("messages") or []:
        said.append({"role": message.get("role"), "content": message.get("content")})
        if message.get("id") == last:
            break
    return said


def _object(row: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = row.get(key)
    if not isinstance(value, dict):
        raise Unreadable(f"{key!r} is {type(value).__name__}, not an object")
    return value
