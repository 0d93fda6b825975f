"""What a button carries: an action, the turn it is about, and a detail; one codec for every platform.

At most 64 bytes, which is Telegram's limit (Discord allows 100 characters). Codes are versioned, so that a
button of an older Thumbloop is either understood or politely refused, after weeks and restarts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, cast, get_args

Action = Literal[
    "up", "down", "reason", "again", "stop", "thread",
    "approve", "edit", "reject", "skip", "undo",
    "switch", "cancel", "more",
    "optout", "optin", "export", "forget", "forgetsure",
    "persona", "cooldown", "mode", "set", "anew",
]  # fmt: skip

MOST_BYTES: Final = 64
PATTERN: Final = r"tl1:(?P<action>[a-z]+):(?P<turn>[0-9]{1,18})(?::(?P<detail>[A-Za-z0-9@._-]{0,40}))?"
"""The pattern of every code, for libraries that route buttons by a regular expression."""

_PATTERN: Final = re.compile(PATTERN)


@dataclass(frozen=True)
class ButtonCode:
    """An action on a turn; `detail` is what the action needs beside it, of letters, digits and `@._-`."""

    action: Action
    turn_id: int
    detail: str = ""

    def __str__(self) -> str:
        code = f"tl1:{self.action}:{self.turn_id}" + (f":{self.detail}" if self.detail else "")
        if not _PATTERN.fullmatch(code) or len(code.encode()) > MOST_BYTES:
            raise ValueError(f"{code!r} is no button code of at most {MOST_BYTES} bytes")
        return code

    @classmethod
    def parse(cls, code: str) -> ButtonCode | None:
        """The code, or None for what is none of ours or of a kind that this Thumbloop does not know."""
        match = _PATTERN.fullmatch(code)
        if match is None or match["action"] not in get_args(Action):
            return None
        return cls(cast(Action, match["action"]), int(match["turn"]), match["detail"] or "")
