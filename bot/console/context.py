"""What every page of the console is given."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, cast

from bot.chat.context import ChatContext
from bot.console.importing import Importing
from bot.console.visitor import Visitor
from bot.questions import Place
from feedback.words import Language, Platform

CONVERSATIONS: Final = "console/"
"""What the names of conversations in the console begin with."""


@dataclass(kw_only=True)
class Console(ChatContext):
    """The console. `community` is where people ask whom no other community sent.

    `next_run` says when the schedule trains next; None where nothing is planned, or no schedule is read.
    `to_try` are questions to suggest in each language; where there are none, approved ones are.
    """

    community: Place
    next_run: Callable[[], Awaitable[datetime | None]] | None = None
    to_try: Mapping[Language, Sequence[str]] = field(default_factory=dict)
    importing: Importing = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.importing = Importing(self.core)

    def home_of(self, visitor: Visitor) -> Place:
        """The community that a visitor asks in, without a conversation."""
        somebody = visitor.signed_in
        if somebody is None or not somebody.community:
            return self.community
        return Place(cast(Platform, somebody.actor.platform), somebody.community, "", somebody.community_name)

    def place_of(self, visitor: Visitor) -> Place:
        """Where a visitor's questions are asked; no other conversation of their platform has that name."""
        return replace(self.home_of(visitor), conversation=f"{CONVERSATIONS}{visitor.place}")
