"""What a button carries: an action, the turn or adapter it is about, a detail; one codec for all platforms.

At most 64 bytes, which is Telegram's limit (Discord allows 100 characters). Codes are versioned, so that a
button of an older Thumbloop is either understood or politely refused, after weeks and restarts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, cast, get_args

Action = Literal[
    "up", "down", "reason", "again", "continue", "stop", "thread",
    "approve", "edit", "reject", "skip", "undo",
    "switch", "cancel", "more",
    "optout", "optin", "export", "forget", "forgetsure",
    "persona", "cooldown", "mode", "set", "anew",
    "queue", "card", "adapters",
    "rate", "pass", "unrate",
]  # fmt: skip

MOST_BYTES: Final = 64
PATTERN: Final = (
    r"tl1:(?P<action>[a-z]+):(?:(?P<turn>[0-9]{1,18})|a(?P<adapter>[0-9]{1,18}))"
    r"(?::(?P<detail>[A-Za-z0-9@._-]{0,40}))?"
)
"""The pattern of every code, for libraries that route buttons by a regular expression."""

_PATTERN: Final = re.compile(PATTERN)


@dataclass(frozen=True)
class ButtonCode:
    """An action on a turn (0 is none), on a question to rate, or on an adapter (0 is the base model).

    `detail` is what the action needs beside it, of letters, digits and `@._-`.
    """

    action: Action
    turn_id: int = 0
    detail: str = ""
    adapter_id: int | None = None

    def __str__(self) -> str:
        subject = str(self.turn_id) if self.adapter_id is None else f"a{self.adapter_id}"
        code = f"tl1:{self.action}:{subject}" + (f":{self.detail}" if self.detail else "")
        if not _PATTERN.fullmatch(code) or len(code.encode()) > MOST_BYTES:
            raise ValueError(f"{code!r} is no button code of at most {MOST_BYTES} bytes")
        return code

    @classmethod
    def parse(cls, code: str) -> ButtonCode | None:
        """The code; None for one that is not ours, or of a kind that this Thumbloop does not know."""
        match = _PATTERN.fullmatch(code)
        if match is None or match["action"] not in get_args(Action):
            return None
        action, detail = cast(Action, match["action"]), match["detail"] or ""
        # buttons sent before adapters had a field of their own carry them in the turn's place
        adapter = match["adapter"] or (match["turn"] if action == "switch" else None)
        if adapter is not None:
            return cls(action, detail=detail, adapter_id=int(adapter))
        return cls(action, int(match["turn"]), detail)
