"""What files of others hold, in our words: messages of talks, pairs, preferences, ratings, broken records.

An exchange is (question, answer); histories are earlier exchanges, oldest first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

Exchange = tuple[str, str]
Kind = Literal["talk", "pairs", "preferences", "ratings"]
MENTION: Final = "[mention]"
"""What stands in a text for somebody who was addressed and is not known by name."""


@dataclass(frozen=True, slots=True)
class Message:
    """What somebody said in a chat. `author` and `mentions` are pseudonyms, `at` seconds since 1970 (UTC).

    `talk` is where messages may answer one another: a channel, thread or topic. `reply_to` is the id of a
    message there. `reactions` are emoji, or their short names, with their counts.
    """

    id: str
    talk: str
    author: str
    at: float
    text: str
    reply_to: str = ""
    mentions: tuple[str, ...] = ()
    reactions: tuple[tuple[str, int], ...] = ()
    is_moderator: bool = False
    is_bot: bool = False
    is_pinned: bool = False


@dataclass(frozen=True, slots=True)
class Pair:
    """A question with an answer to learn. `talk` is the same for pairs of one conversation, "" for none."""

    question: str
    answer: str
    input: str = ""
    system: str = ""
    history: tuple[Exchange, ...] = ()
    task_type: str = ""
    language: str = ""
    talk: str = ""


@dataclass(frozen=True, slots=True)
class Preference:
    """A question with two answers, of which `chosen` was found better."""

    question: str
    chosen: str
    rejected: str
    input: str = ""
    system: str = ""
    history: tuple[Exchange, ...] = ()


@dataclass(frozen=True, slots=True)
class Rating:
    """What somebody thought of an answer: `good` None where only a `better` one was given.

    `is_label` marks a row of a training file (KTO), where the thumb is what its maker decided.
    """

    question: str
    answer: str
    good: bool | None
    reason: str = ""
    better: str = ""
    rater: str = ""
    input: str = ""
    system: str = ""
    history: tuple[Exchange, ...] = ()
    is_label: bool = False


@dataclass(frozen=True, slots=True)
class Broken:
    """A record that cannot be read: where it stands ("line 7"), and why."""

    place: str
    reason: str


Record = Message | Pair | Preference | Rating | Broken


@dataclass(frozen=True)
class Format:
    """A kind of file. `name` is the word for options and JSON, `title` what people call it."""

    name: str
    title: str
    kind: Kind


class Unreadable(ValueError):
    """A record is not what its format says; the text says why, for the person whose file it is."""


@dataclass
class People:
    """Who speaks in an export, and what was left out of it.

    `pseudonym` makes the record's name of a platform's id (`consent.pseudonym` with its key). `names` are the
    names that people go by there, with their pseudonyms: texts are masked of them, and they are never stored.
    """

    pseudonym: Callable[[str], str]
    names: dict[str, str] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    _known: dict[str, str] = field(default_factory=dict)

    def known(self, external_id: str, *names: str | None) -> str:
        """The pseudonym of that id, who is also called by those names."""
        found = self._known.get(external_id)
        if found is None:
            found = self._known[external_id] = self.pseudonym(external_id)
        for name in names:
            if name and name not in self.names:
                self.names[name] = found
        return found

    def leave_out(self, why: str) -> None:
        """Count a message that is nobody's words, or not to be taken."""
        self.left_out[why] += 1


@dataclass(frozen=True)
class Options:
    """What a person says about a file that its content does not.

    `columns` are our names for fields with the file's keys; `type` is a format's name, or Axolotl's for one.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    type: str = ""
