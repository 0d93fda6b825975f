"""What moderators see of a talk: its candidates, the best first, those that ask the same on one card.

Names are masked here: of everybody who spoke, wherever it stands in a text as a name does. What else is
personal is masked as in datasets (`hygiene.personal_data`).
"""

from __future__ import annotations

import heapq
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Final

from feedback.imports.records import MENTION, Message
from training.data.candidates import plain
from training.data.hygiene import personal_data
from training.data.language import FUNCTION_WORDS
from training.data.mining.answers import Answer, Candidate, Phrasing, candidates
from training.data.mining.threads import Disentangler
from training.data.similar_texts import Vocabulary, are_alike, groups, tokens

MOST_CARDS: Final = 5_000
"""Candidates that are kept, the best ones: more than moderators read in a month."""
MOST_PHRASINGS: Final = 8
MOST_ANSWERS: Final = 4
NAME: Final = "[name]"
_SAME_ANSWER: Final = 0.7
_SHORTEST_NAME: Final = 3
_FUNCTION_WORDS: Final = frozenset[str]().union(*FUNCTION_WORDS.values())
_NAME_LIKE: Final = re.compile(r"(?<!\w)@?[^\W_][\w.\-]{2,31}(?!\w)")
_OPENING: Final = re.compile(r"^\s*@?(?P<name>[^\s:,@<>]{2,32}?)\s?(?:[:,]|->)?\s+(?=\S)")
_LEADING_MENTION: Final = re.compile(rf"^(?:\s*{re.escape(MENTION)}[\s,:]*)+")

Kept = Callable[[Message], bool]


@dataclass
class Mined:
    """What a talk gave: its cards, and what was looked at."""

    cards: list[Candidate] = field(default_factory=list)
    messages: int = 0
    threads: int = 0
    questions: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


def mine(
    messages: Iterable[Message],
    names: Mapping[str, str],
    *,
    opted_out: frozenset[str] = frozenset(),
    on_message: Callable[[int], None] = lambda done: None,
) -> Mined:
    """The cards of a talk. `names` may grow while messages are read (`People.names`).

    Nothing of members who opted out is in it, neither their words nor talk that leans on them.
    """
    mined = Mined()
    small = _Lowered(names)
    disentangler = Disentangler(small)
    best: list[tuple[float, int, Candidate]] = []
    number = count()
    for thread in disentangler.threads(_counted(messages, mined, opted_out, on_message)):
        mined.threads += 1
        for candidate in candidates(thread):
            mined.questions += 1
            entry = (candidate.score, -next(number), candidate)
            if len(best) < 4 * MOST_CARDS:
                heapq.heappush(best, entry)
            else:
                heapq.heappushpop(best, entry)
    ranked = [candidate for _, _, candidate in sorted(best, key=lambda entry: (-entry[0], -entry[1]))]
    masks = _Masks(small)
    mined.cards = _grouped([masks.masked(candidate) for candidate in ranked])[:MOST_CARDS]
    return mined


def _counted(
    messages: Iterable[Message], mined: Mined, opted_out: frozenset[str], on_message: Callable[[int], None]
) -> Iterator[Message]:
    for message in messages:
        mined.messages += 1
        if mined.messages % 1000 == 0:
            on_message(mined.messages)
        if message.author in opted_out:
            mined.left_out["members who opted out"] += 1
        elif message.is_bot:
            mined.left_out["bots"] += 1
        elif message.text:
            yield message


class _Lowered(dict[str, str]):
    """Names in small letters, looked up as they come to be known."""

    def __init__(self, names: Mapping[str, str]) -> None:
        super().__init__()
        self._names = names
        self._seen = 0

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        self.catch_up()
        return super().get(name, default)

    def catch_up(self) -> None:
        """Take in the names that came since."""
        if len(self._names) > self._seen:
            for name in list(self._names)[self._seen :]:
                self.setdefault(name.lower(), self._names[name])
            self._seen = len(self._names)


class _Masks:
    """Masks the names of everybody who spoke.

    A name is masked wherever it stands as a word by itself, in whatever case: a nickname that is an ordinary
    word masks that too, since nobody can tell them apart. Only words such as "will" or "may" are none.
    """

    def __init__(self, names: _Lowered) -> None:
        names.catch_up()
        self._names = frozenset(
            name for name in names if len(name) >= _SHORTEST_NAME and name not in _FUNCTION_WORDS
        )
        self._first = frozenset(
            part for name in self._names for part in name.split() if len(part) > _SHORTEST_NAME
        )

    def masked(self, candidate: Candidate) -> Candidate:
        """The candidate without anybody's name or other personal data."""
        return replace(
            candidate,
            question=self.text(candidate.question),
            input=self.text(candidate.input),
            answers=[replace(answer, text=self.text(answer.text)) for answer in candidate.answers],
        )

    def text(self, text: str) -> str:
        """A text without names."""
        text = "\n".join(map(self._without_address, text.split("\n")))
        text = _NAME_LIKE.sub(self._replaced, text)
        return personal_data.masked(text)[0].strip()

    def _without_address(self, line: str) -> str:
        """A line without whom it is said to at its beginning."""
        opening = _OPENING.match(line)
        if opening and self._is_name(opening["name"]):
            line = line[opening.end() :]
        return _LEADING_MENTION.sub("", line)

    def _replaced(self, match: re.Match[str]) -> str:
        word = match[0]
        bare = word.lstrip("@").rstrip(".-")
        return f"{NAME}{word.lstrip('@')[len(bare) :]}" if self._is_name(bare) else word

    def _is_name(self, word: str) -> bool:
        small = word.lower()
        return small in self._names or (small in self._first and not word.islower())


def _grouped(ranked: list[Candidate]) -> list[Candidate]:
    """One card for what asks nearly the same: the best one, with all phrasings and the different answers."""
    if not ranked:
        return []
    alike: dict[int, list[Candidate]] = defaultdict(list)
    for candidate, group in zip(
        ranked, groups(f"{one.question}\n{one.input}" for one in ranked), strict=True
    ):
        alike[group].append(candidate)
    vocabulary = Vocabulary()
    return [_joined(members, vocabulary) for members in alike.values()]


def _joined(members: list[Candidate], vocabulary: Vocabulary) -> Candidate:
    lead = members[0]
    answers: list[Answer] = []
    known: list[set[int]] = []
    for answer in sorted((one for member in members for one in member.answers), key=lambda one: -one.score):
        words = tokens(answer.text, vocabulary)
        if not any(are_alike(words, other, _SAME_ANSWER) for other in known):
            answers.append(answer)
            known.append(words)
    phrasings: dict[str, Phrasing] = {}
    for one in members[1:]:
        if plain(one.question) != plain(lead.question):
            phrasings.setdefault(
                plain(one.question), Phrasing(one.question, one.asker, one.message, one.talk)
            )
    return replace(
        lead,
        answers=answers[:MOST_ANSWERS],
        phrasings=list(phrasings.values())[:MOST_PHRASINGS],
        voices=tuple(dict.fromkeys(voice for member in members for voice in member.voices)),
        messages=tuple((member.talk, member.message) for member in members),
    )
