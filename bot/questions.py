"""A question as platforms bring it, and what they are given back: pieces of the answer, and its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bot.answering.answerer import Message, Sampling, Usage
from bot.knowledge.knowledge import Source
from feedback.words import AnswerKind, Mode, Platform, TurnId


@dataclass(frozen=True)
class Place:
    """Where a question is asked: a community of a platform, and the conversation in it."""

    platform: Platform
    community: str
    conversation: str
    community_name: str = ""


@dataclass(frozen=True)
class Origin:
    """What is kept in the same transaction as the question, so that a crash leaves all of it or nothing.

    `shown_in` is where the platform shows the answer, in its own words: the question stays open until it has
    been shown there (see `feedback.open_questions`). `update` is the delivery that brought the question and
    is finished thereby (see `feedback.incoming`); `bookmark` is a channel and the message up to which it was
    read. `comes_again` says that the next process finds the question even if this one never wrote it down.
    """

    shown_in: dict[str, Any]
    update: str = ""
    bookmark: tuple[str, str] | None = None
    comes_again: bool = False


@dataclass(frozen=True)
class Question:
    """A question as a platform brings it; `external_id` is the platform's own id of the message.

    `adapter` overrides what serves the community: a label such as `community@2`, or `base`. `earlier` are the
    messages before the question where the caller keeps them itself: they are taken as given, and the
    community's persona only when no system message is among them. `sampling` overrides the settings.
    `regenerates` is the turn whose question is answered once more (see `Assistant.once_more`). `origin` is
    what the next start needs to finish the answer; without it, nobody waits for the answer after a crash.
    """

    place: Place
    member: str
    external_id: str
    text: str
    mode: Mode | None = None
    adapter: str | None = None
    earlier: tuple[Message, ...] | None = None
    sampling: Sampling | None = None
    regenerates: int | None = None
    origin: Origin | None = None


@dataclass(frozen=True)
class TextPiece:
    """The next piece of what is shown.

    `is_reasoning`: no part of the answer, and there only because the settings say so. `starts_over`: what
    came before is to be taken back, and the answer begins with this piece.
    """

    text: str
    is_reasoning: bool = False
    starts_over: bool = False


@dataclass(frozen=True)
class Finished:
    """The answer is whole and kept as turn `turn_id`; `adapter` is its label, or `base`.

    Should the record take nothing for a while, it is given before it is kept; the log says so.

    `reasoning` is what is shown above it, quoted; empty unless the settings say that it is shown. `sources`
    are the passages that stood in the prompt, in their order there.
    """

    turn_id: TurnId
    answer: str
    adapter: str
    usage: Usage | None
    reasoning: str = ""
    sources: tuple[Source, ...] = ()
    kind: AnswerKind = "generated"

    @property
    def shown(self) -> str:
        """What people see."""
        return f"{self.reasoning}\n\n{self.answer}".strip()
