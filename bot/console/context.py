"""What every page of the console is given."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from bot.assistant import Assistant, Place
from bot.console.visitor import Visitor

StartRetrain = Callable[[], Awaitable[str]]
"""Starts a training run and returns a sentence about it; a refusal is a ThumbloopError."""


@dataclass(frozen=True)
class Console:
    """The console of one community. `operator` is who its reviews and switches are recorded as."""

    assistant: Assistant
    community: Place
    operator: str
    start_retrain: StartRetrain

    def place_of(self, visitor: Visitor) -> Place:
        """Where a visitor's questions are asked."""
        return replace(self.community, conversation=visitor.place)
