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
from itertools import islice
from typing import Final

from feedback.imports.records import MENTION, Message
from training.data.candidates import plain
from training.data.hygiene import personal_data
from training.data.language import FUNCTION_WORDS
from training.data.mining.answers import Answer, Candidate, Phrasing, candidates
from training.data.mining.notes import Notes, Stretch
from training.data.mining.threads import Disentangler
from training.data.similar_texts import Vocabulary, are_alike, groups, tokens

MOST_CARDS: Final = 5_000
"""Candidates that are kept, the best ones: more than moderators read in a month."""
STRETCH: Final = 100_000
"""Messages that are mined together, and noted: threads end with it, of which hardly one in a thousand goes on
then, and no more than that is mined again after an interruption."""
TOLD_EVERY: Final = 1_000
"""Messages between two reports of progress."""
MOST_PHRASINGS: Final = 8
MOST_ANSWERS: Final = 4
NAME: Final = "[name]"
_SAME_ANSWER: Final = 0.7
_SHORTEST_NAME: Final = 3
_FUNCTION_WORDS: Final = frozenset[str]().union(*FUNCTION_WORDS.values())
_NAME_LIKE: Final = re.compile(r"(?<!\w)@?[^\W_][\w.\-]{2,31}(?!\w)")
_OPENING: Final = re.compile(r"^\s*@?(?P<name>[^\s:,@<>]{2,32}?)\s?(?:[:,]|->)?\s+(?=\S)")
_LEADING_MENTION: Final = re.compile(rf"^(?:\s*{re.escape(MENTION)}[\s,:]*)+")


@dataclass
class Mined:
    """What a talk gave: its cards, and what was looked at."""

    cards: list[Candidate] = field(default_factory=list)
    messages: int = 0
    threads: int = 0
    questions: int = 0
    left_out: Counter[str] = field(default_factory=Counter)

    def add(self, stretch: Stretch) -> None:
        """Count what a stretch gave."""
        self.messages += stretch.messages
        self.threads += stretch.threads
        self.questions += stretch.questions
        self.left_out.update(stretch.left_out)


def mine(
    messages: Iterable[Message],
    names: Mapping[str, str],
    *,
    opted_out: frozenset[str] = frozenset(),
    on_message: Callable[[], None] = lambda: None,
    notes: Notes | None = None,
) -> Mined:
    """The cards of a talk. `names` may grow while messages are read (`People.names`).

    Nothing of members who opted out is in it, neither their words nor talk that leans on them. With `notes`,
    the same messages again are mined from where they stopped; those before are only passed over.
    """
    mined = Mined()
    small = _Lowered(names)
    best = _Best()
    for noted in notes.read() if notes is not None else ():
        mined.add(noted)
        for candidate in noted.candidates:
            best.add(candidate)
    talk = iter(messages)
    for number, _ in enumerate(islice(talk, mined.messages), start=1):
        if number % TOLD_EVERY == 0:
            on_message()
    stretch = Stretch(messages=STRETCH)
    while stretch.messages == STRETCH:
        stretch = Stretch()
        best.begin_stretch()
        kept = _counted(islice(talk, STRETCH), stretch, opted_out, on_message)
        for thread in Disentangler(small).threads(kept):
            stretch.threads += 1
            for candidate in candidates(thread):
                stretch.questions += 1
                best.add(candidate)
        if notes is not None and stretch.messages:
            stretch.candidates = best.of_stretch()
            notes.write(stretch, mined.messages)
        mined.add(stretch)
    masks = _Masks(small)
    found = (one for one in best.ranked() if opted_out.isdisjoint(one.voices))
    mined.cards = _grouped([masks.masked(candidate) for candidate in found])[:MOST_CARDS]
    return mined


class _Best:
    """The best candidates so far, four times as many as there will be cards: what is alike becomes one."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Candidate]] = []
        self._added = self._began = 0

    def add(self, candidate: Candidate) -> None:
        """Take a candidate in; of equals, the first one stays."""
        entry = (candidate.score, -self._added, candidate)
        self._added += 1
        if len(self._heap) < 4 * MOST_CARDS:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)

    def begin_stretch(self) -> None:
        """Candidates from here on are of the next stretch."""
        self._began = self._added

    def of_stretch(self) -> list[Candidate]:
        """Those of the stretch that are among the best, in the order in which they came."""
        new = (entry for entry in self._heap if -entry[1] >= self._began)
        return [candidate for _, _, candidate in sorted(new, key=lambda entry: -entry[1])]

    def ranked(self) -> list[Candidate]:
        """All of them, the best first."""
        return [candidate for _, _, candidate in sorted(self._heap, key=lambda entry: (-entry[0], -entry[1]))]


def _counted(
    messages: Iterable[Message],
    stretch: Stretch,
    opted_out: frozenset[str],
    on_message: Callable[[], None],
) -> Iterator[Message]:
    left_out: Counter[str] = Counter()
    for message in messages:
        stretch.messages += 1
        if stretch.messages % TOLD_EVERY == 0:
            on_message()
        if message.author in opted_out:
            left_out["members who opted out"] += 1
        elif message.is_bot:
            left_out["bots"] += 1
        elif message.text:
            yield message
    stretch.left_out = dict(left_out)


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
