"""Where one answer appears: what a platform brings so that `live_answers` can show an answer on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, Protocol

from bot.chat.button_codes import Action, ButtonCode
from bot.chat.buttons import Button
from bot.chat.sources import footnotes
from bot.knowledge.knowledge import Source
from bot.texts import CONTINUE, REGENERATE
from feedback.words import Language

Outcome = Literal["answered", "cut off", "stopped", "failed"]
"""Cut off is an answer that took too long: what was said is kept."""

ACTIONS: Final[dict[Outcome, tuple[Action, ...]]] = {
    "answered": ("up", "down", "again"),
    "cut off": ("up", "down", "continue", "again"),
    "stopped": (),
    "failed": ("again",),
}
"""What members may do with an answer that ended so, where its turn is known."""


@dataclass(frozen=True)
class Ending:
    """How an answer ended: what was said, and a notice where that is not the whole answer.

    `turn_id` is the turn, None where there is nothing that members may do with it; `adapter` is the label of
    what answered, PEOPLE for an answer that people wrote or approved word for word, or "". `sources` are the
    passages that stood in its prompt.
    """

    outcome: Outcome
    said: str
    notice: str = ""
    turn_id: int | None = None
    adapter: str = ""
    sources: tuple[Source, ...] = ()

    def buttons(self, language: Language) -> list[Button]:
        """What members may do with the answer."""
        if self.turn_id is None:
            return []
        labels: dict[Action, str] = {
            "up": "👍",
            "down": "👎",
            "continue": CONTINUE.say(language),
            "again": REGENERATE.say(language),
        }
        return [Button(ButtonCode(action, self.turn_id), labels[action]) for action in ACTIONS[self.outcome]]

    @property
    def kept(self) -> bool:
        """Whether there is an answer in the record, whole or not, which may be voted on."""
        return self.turn_id is not None and "up" in ACTIONS[self.outcome]

    def text(self, language: Language) -> str:
        """What was said, the notice and the sources, as one text."""
        parts = (self.said.strip(), self.notice, footnotes(self.sources, language))
        return "\n\n".join(part for part in parts if part)


class MessageGone(Exception):
    """Somebody deleted the answer's message while it was being written."""


class MayNotWrite(Exception):
    """The platform does not let us write there, so trying again is useless."""


class Surface(Protocol):
    """Where one answer appears. Calls never overlap, except `close`."""

    async def update(self, text: str) -> None:
        """Show what has been said so far. Raises MessageGone; any other fault is ignored."""

    async def finalise(self, ending: Ending) -> list[str]:
        """Show how the answer ended, and what members may do with it; the platform's ids of its messages.

        Raises MessageGone, MayNotWrite, and anything else for trying again.
        """

    async def discard(self) -> None:
        """Take away what was shown; the question is withdrawn."""

    async def report_refusal(self) -> None:
        """Tell the member elsewhere that we may not write where they asked."""

    def pause(self) -> float:
        """Seconds that the platform wants between this update and the next."""

    def close(self) -> None:
        """Stop the typing indicator and the like. May be called more than once."""
