"""What was asked, and what became of it.

Every question carries a marker of its own; whoever asked reports what was shown for it. At the end the
record of the service is laid beside that.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Final, Literal

from sqlmodel import col, select

from feedback.database import Database
from feedback.tables import Turn, Vote

Edge = Literal["Discord", "Telegram", "API", "console"]
Kind = Literal["answer", "reason", "cut off", "unfinished"]
"""A whole answer, a sentence that says why there is none, a connection that was refused or broken while the
asker held it, or an answer that stopped in its middle, or is only promised."""

_MARKER: Final = re.compile(r"soak-\d{6}")


@dataclass(frozen=True)
class Shown:
    """Something that the asker saw in reply."""

    kind: Kind
    text: str


@dataclass
class Thumb:
    """A thumb that the asker pressed once under the answer: 1 is up, -1 down."""

    value: int
    acknowledged: bool = False
    """Whether the asker was told that it was noted."""


@dataclass
class Asked:
    """One question and all that its asker saw of it."""

    marker: str
    edge: Edge
    during: str
    """The faults under way when it was asked."""
    shown: list[Shown] = field(default_factory=list)
    thumb: Thumb | None = None

    @property
    def answered(self) -> bool:
        """Whether the asker has a whole answer."""
        return any(one.kind == "answer" for one in self.shown)

    @property
    def has_reason(self) -> bool:
        """Whether the asker has no answer and knows why."""
        return not self.answered and any(one.kind == "reason" for one in self.shown)

    @property
    def cut_off(self) -> bool:
        """Whether the asker knows no more than that the connection was refused or broken."""
        return not self.answered and not self.has_reason and any(one.kind == "cut off" for one in self.shown)

    @property
    def settled(self) -> bool:
        """Whether the asker has nothing to wait for."""
        return self.answered or self.has_reason or self.cut_off


@dataclass
class Ledger:
    """Every question of a run. `under_way` are the faults at work just now."""

    asked: dict[str, Asked] = field(default_factory=dict)
    under_way: Counter[str] = field(default_factory=Counter)

    def ask(self, edge: Edge) -> Asked:
        """Enter a new question."""
        marker = f"soak-{len(self.asked):06}"
        one = self.asked[marker] = Asked(marker, edge, ", ".join(sorted(+self.under_way)))
        return one


@dataclass(frozen=True)
class Record:
    """What the service's record has for each marker: the states of its turns, and the votes on them."""

    states: dict[str, list[str]]
    votes: dict[str, list[int]] = field(default_factory=dict)


async def recorded(database_url: str) -> Record:
    """What the service kept."""
    database = Database(database_url)
    states: dict[str, list[str]] = {}
    votes: dict[str, list[int]] = {}
    try:
        async with database.session(read_only=True) as session:
            for question, state in await session.exec(select(Turn.question, Turn.state)):
                if marker := _MARKER.search(question):
                    states.setdefault(marker[0], []).append(state)
            given = select(Turn.question, Vote.value).join(Vote, col(Vote.turn_id) == Turn.id)
            for question, value in await session.exec(given):
                if marker := _MARKER.search(question):
                    votes.setdefault(marker[0], []).append(value)
    finally:
        await database.close()
    return Record(states, votes)
