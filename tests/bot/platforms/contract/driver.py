"""A chat as one person sees it, the same on every platform: what they do, and what they are shown.

Each platform has a driver that does these things with the platform's real client and against its double.
A driver returns once the person has been shown that what they did has been taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

from sqlmodel import SQLModel, col, select

from feedback.database import Database
from feedback.tables import Review, Turn, Vote

Ability = Literal[
    "deleting a question",
    "editing a question",
    "finishing after a restart",
    "regenerating",
    "taking a vote back",
    "voting after a restart",
]
"""What not every platform offers."""

Decision = Literal["approve", "edit", "reject"]
Thumb = Literal["up", "down"]


class ChatDriver(Protocol):
    """One person's chat in a community that a moderator and an administrator look after.

    A platform `lacks` an ability for the reason given there; a stopped answer ends with its `stop_notice`.
    """

    lacks: ClassVar[Mapping[Ability, str]]
    stop_notice: ClassVar[str]

    # the model

    def model_says(self, *pieces: str) -> None:
        """Let the model's next answer be these pieces; called again, the one after it."""

    def hold_model(self) -> None:
        """Let the model pause after the first piece of every answer."""

    async def release_model(self) -> None:
        """Let the model go on."""

    # the person who asks

    async def ask(self, text: str) -> None:
        """Ask, without waiting for the answer."""

    async def first_words(self) -> str:
        """Wait until the newest answer shows anything; what it shows."""

    async def whole_answer(self) -> str:
        """Wait until the newest answer is whole; what it shows."""

    async def shown_answers(self) -> list[str]:
        """What every answer in the chat shows at this moment, oldest first."""

    async def press_stop(self) -> None:
        """Stop the answer under way."""

    async def edit_question(self, text: str) -> None:
        """Give the question whose answer is under way other words."""

    async def delete_question(self) -> None:
        """Delete the newest question."""

    async def regenerate(self) -> None:
        """Ask for another answer to the newest question, without waiting for it."""

    async def vote(self, thumb: Thumb) -> None:
        """Press a thumb of the newest answer."""

    # those who look after the community

    async def review(self, decision: Decision, better: str = "") -> str:
        """Decide on what waits for review, an edit with a better answer; what the moderator was shown."""

    async def switch(self, adapter: str) -> None:
        """Let the adapter of that label answer from now on."""

    # the service

    async def restart(self) -> None:
        """End the service as a deployment does, and start it anew with a model that no longer pauses."""


@dataclass(frozen=True)
class Record:
    """What the database holds."""

    database: Database

    async def turns(self) -> list[Turn]:
        """Every turn, oldest first."""
        return await self._rows(Turn)

    async def votes(self) -> list[int]:
        """The value of every vote."""
        return [vote.value for vote in await self._rows(Vote)]

    async def decisions(self) -> list[str]:
        """Every decision of a moderator, oldest first."""
        return [review.decision for review in await self._rows(Review)]

    async def _rows(self, kind: type[SQLModel]) -> list[Any]:
        async with self.database.session(read_only=True) as session:
            return list((await session.exec(select(kind).order_by(col(kind.id)))).all())  # type: ignore[attr-defined]
