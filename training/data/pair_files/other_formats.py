"""What a file that holds no pairs looks like, so that the refusal can name it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final


def _turns(key: str, *fields: str) -> Callable[[Mapping[str, Any]], bool]:
    """Whether a row holds a list of turns under `key`, each with those fields."""

    def found(row: Mapping[str, Any]) -> bool:
        turns = row.get(key)
        first = turns[0] if isinstance(turns, list) and turns else None
        return isinstance(first, dict) and set(fields) <= first.keys()

    return found


def _has(*keys: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda row: set(keys) <= row.keys()


_ROWS: Final = (
    ("ShareGPT conversations", _turns("conversations", "from", "value")),
    ("OpenAI chat messages", _turns("messages", "role", "content")),
    ("OpenAI chat messages", _turns("conversations", "role", "content")),
    ("preference pairs (chosen and rejected answers)", _has("chosen", "rejected")),
    ("answers with a thumb each (KTO)", _has("prompt", "completion", "label")),
    ("prompts with their completions", _has("prompt", "completion")),
)
_DOCUMENTS: Final = (
    (
        "a channel that DiscordChatExporter wrote",
        re.compile(r'"guild"\s*:\s*\{.*"channel"\s*:\s*\{', re.DOTALL),
    ),
    (
        "a chat that Telegram Desktop exported",
        re.compile(r'"type"\s*:\s*"(?:private|public|personal|bot|saved)_\w+".*"messages"\s*:', re.DOTALL),
    ),
    ("all chats that Telegram Desktop exported", re.compile(r'"chats"\s*:\s*\{.*"list"\s*:', re.DOTALL)),
)


def of_row(row: Mapping[str, Any]) -> str | None:
    """What a row that is no pair looks like; None when it is nothing known."""
    return next((name for name, matches in _ROWS if matches(row)), None)


def of_document(beginning: str) -> str | None:
    """What a JSON document that begins like this looks like; None when it is nothing known."""
    return next((name for name, pattern in _DOCUMENTS if pattern.search(beginning)), None)
