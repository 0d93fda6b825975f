"""Taking a channel's talk apart: which earlier message each message answers, and so which thread it is in.

A reply link says it; else whoever is addressed by name; else the likeliest of the messages before it, or
none and a thread begins. The likelihood is a linear score of each earlier message over the features that
Elsner and Charniak (2008, "You talking to me?") found to matter: time, distance, speaker, who spoke to whom,
questions, thanks, and rare words in common. Linking to the one best message, instead of clustering pairs, is
as Kummerfeld et al. do it (2019, "A large-scale corpus for conversation disentanglement").

Messages come in the order of time, channel by channel or mixed. A thread is handed on when it has been silent
for long, so memory holds what is open and no more: time and memory grow with the messages, not their square.
"""

from __future__ import annotations

import math
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from feedback.imports.records import Message
from training.data.language import FUNCTION_WORDS
from training.data.mining import cues
from training.data.similar_texts import Vocabulary, tokens

WINDOW: Final = 40
"""Earlier messages that are weighed as what a message answers."""
REMEMBERED: Final = 2_000
"""Messages of a channel that a reply link can reach back."""
SILENT_S: Final = 24 * 3600.0
"""Seconds after which nobody answers without a reply link."""
OPEN_MESSAGES: Final = 1_500
"""Messages of a channel after which a thread that nobody goes on with is closed."""
LONGEST_THREAD: Final = 300
"""Messages after which a thread is handed on and a new one begins: nobody answers all that."""
MOST_CHANNELS: Final = 50
"""Channels that are open at once; exports come channel by channel."""
_SMOOTHING: Final = 200
"""Messages that are taken to have been said before the first, so that words count from the start."""
_ADDRESSEE_WINDOW: Final = 100
"""Earlier messages among which those of whoever is addressed are looked for."""
_COMMON: Final = frozenset[str]().union(*FUNCTION_WORDS.values())
_VOWEL: Final = re.compile(r"[aeiouyąęó]")
_LONGEST_COMMON: Final = 4
"""Letters of a small word that may be any word, whoever is called so."""
_COMES_IN_S: Final = 600.0
"""Seconds of silence after which somebody who speaks counts as newly arrived."""
_SHORTEST_PART: Final = 3
"""Letters of a name by which somebody is recognised who spoke of late."""
_MOST_SPEAKERS: Final = 60
_ADDRESSED_S: Final = 12 * 3600.0
_LARGEST_VOCABULARY: Final = 200_000
_ADDRESS: Final = re.compile(
    r"^\s*@?(?P<name>[^\s:,@<>]{2,32}?)\s?(?:[:,]|->)\s|^![^|]+\|\s*(?P<told>\S{2,32})\s*$"
)
_BARE_NAME: Final = re.compile(
    r"^\s*(?P<first>\S{2,32})\s(?:.*[\s,](?P<last>\S{2,32}?)[\s?!.]*$)?", re.DOTALL
)
"""A name without anything that sets it apart, as the first word or the last."""
_AT_NAME: Final = re.compile(r"(?<![\w@])@(?P<name>[\w.\-]{2,32})")


@dataclass(slots=True, eq=False)
class Said:
    """A message in its thread: `parent` is what it answers, `how` how that is known."""

    message: Message
    text: str
    words: frozenset[int]
    asks: bool
    thanks: bool
    addressed: tuple[str, ...]
    number: int
    parent: Said | None = None
    how: str = ""
    thread: Thread | None = None


@dataclass(slots=True, eq=False)
class Thread:
    """Messages that belong together, in the order of time."""

    said: list[Said] = field(default_factory=list)
    last: int = 0


@dataclass(slots=True, eq=False)
class _Channel:
    recent: deque[Said] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    by_id: dict[str, Said] = field(default_factory=dict)
    last_of: dict[str, Said] = field(default_factory=dict)
    open: dict[int, Thread] = field(default_factory=dict)
    partner: dict[str, str] = field(default_factory=dict)
    count: int = 0
    speakers: dict[str, str] = field(default_factory=dict)

    def heard(self, names: Iterable[str], pseudonym: str) -> None:
        """Keep the names of whoever speaks among those of the latest speakers."""
        for name in names:
            self.speakers.pop(name, None)
            self.speakers[name] = pseudonym
        while len(self.speakers) > _MOST_SPEAKERS:
            del self.speakers[next(iter(self.speakers))]

    def called_like(self, name: str) -> str | None:
        """The late speaker whose name begins so, or has the same letters; None for nobody or several."""
        letters = sorted(name)
        found = {
            pseudonym
            for known, pseudonym in self.speakers.items()
            if known.startswith(name) or (len(known) == len(name) and sorted(known) == letters)
        }
        return found.pop() if len(found) == 1 else None


def _is_no_word(name: str) -> bool:
    """Whether it is hardly a word that a sentence begins or ends with, if somebody is called so."""
    small = name.lower()
    return small not in _COMMON and (
        len(name) > _LONGEST_COMMON or name != small or _VOWEL.search(name) is None
    )


class Disentangler:
    """Puts messages into threads. `names` leads from a name, in small letters, to its pseudonym."""

    def __init__(self, names: dict[str, str]) -> None:
        self._names = names
        self._called: dict[str, list[str]] = {}
        self._names_known = 0
        self._channels: dict[str, _Channel] = {}
        self._vocabulary = Vocabulary()
        self._seen: Counter[int] = Counter()
        self._messages = 1

    def threads(self, messages: Iterable[Message]) -> Iterator[Thread]:
        """The threads of a talk, each when it is over."""
        for message in messages:
            channel = self._channels.get(message.talk)
            if channel is None:
                if len(self._channels) >= MOST_CHANNELS:
                    yield from self._channels.pop(next(iter(self._channels))).open.values()
                channel = self._channels[message.talk] = _Channel()
            self._add(channel, message)
            if channel.count % 200 == 0:
                yield from self._closed(channel)
        for channel in self._channels.values():
            yield from channel.open.values()
        self._channels.clear()

    def _add(self, channel: _Channel, message: Message) -> Said:
        """Put a message into its thread."""
        addressed, text = self._addressed(message, cues.without_quotes(message.text), channel)
        words = frozenset(tokens(text[:2000], self._vocabulary)) if text else frozenset()
        self._messages += 1
        if len(self._seen) < _LARGEST_VOCABULARY:
            self._seen.update(words)
        channel.count += 1
        said = Said(
            message,
            text,
            words,
            cues.asks(text),
            cues.THANKS.search(text) is not None,
            addressed,
            channel.count,
        )
        self._link(channel, said)
        self._remember(channel, said)
        return said

    def _addressed(self, message: Message, text: str, channel: _Channel) -> tuple[tuple[str, ...], str]:
        """Whom a message speaks to, and its text without the name that it begins with.

        Mentioned by id, or by a name of somebody who spoke here.
        """
        found = list(message.mentions)

        def somebody(name: str) -> bool:
            small = name.lower().rstrip(".-")
            pseudonym = self._names.get(small)
            if pseudonym is None and len(small) >= _SHORTEST_PART and small not in _COMMON:
                pseudonym = channel.called_like(small)
            if pseudonym not in channel.last_of or pseudonym == message.author:
                return False
            if pseudonym not in found:
                found.append(str(pseudonym))
            return True

        for match in _AT_NAME.finditer(text) if "@" in text else ():
            somebody(match["name"])
        if opening := _ADDRESS.match(text):
            if somebody(opening["name"] or opening["told"]) and opening["name"]:
                text = text[opening.end() :].lstrip()
        elif bare := _BARE_NAME.match(text):
            if bare["last"] and _is_no_word(bare["last"]):
                somebody(bare["last"])
            if _is_no_word(bare["first"]) and somebody(bare["first"]):
                text = text[bare.end("first") :].lstrip()
        return tuple(found), text

    def _names_of(self, pseudonym: str) -> list[str]:
        """What somebody is called, as far as is known by now."""
        new = len(self._names) - self._names_known
        for name, whose in islice(reversed(self._names.items()), new):
            self._called.setdefault(whose, []).append(name)
        self._names_known += new
        return self._called.get(pseudonym, [])

    def _link(self, channel: _Channel, said: Said) -> None:
        message = said.message
        if message.reply_to and (replied := channel.by_id.get(message.reply_to)):
            said.parent, said.how = replied, "reply"
            return
        if said.addressed and (addressee := self._of_addressee(channel, said)) is not None:
            said.parent, said.how = addressee, "mention"
            return
        said.parent = self._likeliest(channel, said)
        said.how = "content" if said.parent is not None else ""

    def _of_addressee(self, channel: _Channel, said: Said) -> Said | None:
        """What whoever is addressed said that this answers: said to this author, or asked, or the newest."""
        message = said.message
        best, best_score = None, -math.inf
        recent, seen = channel.recent, 0
        for back in range(1, min(_ADDRESSEE_WINDOW, len(recent)) + 1):
            other = recent[-back]
            if message.at - other.message.at > _ADDRESSED_S:
                break
            if other.message.author not in said.addressed:
                continue
            score = -0.35 * seen
            seen += 1
            if message.author in other.addressed:
                score += 1.2
            elif other.addressed:
                score -= 1.5
            if other.asks:
                score += 0.5
            if score > best_score:
                best, best_score = other, score
        if best is None:
            last = max((channel.last_of[one] for one in said.addressed if one in channel.last_of),
                       key=lambda one: one.number, default=None)  # fmt: skip
            best = last if last is not None and message.at - last.message.at < _ADDRESSED_S else None
        return best

    def _likeliest(self, channel: _Channel, said: Said) -> Said | None:
        """The earlier message with the highest score, unless a new thread has a higher one."""
        message = said.message
        author, at = message.author, message.at
        best, best_score = None, self._of_a_new_thread(channel, said)
        weights = {
            word: math.log((self._messages + _SMOOTHING) / (1 + self._seen[word])) for word in said.words
        }
        partner = channel.partner.get(author)
        log2 = math.log2
        recent = channel.recent
        for back in range(1, min(WINDOW, len(recent)) + 1):
            other = recent[-back]
            gap = at - other.message.at
            if gap > SILENT_S:
                break
            score = -0.62 * log2(1 + max(gap, 0.0) / 60) - 0.07 * back
            if other.message.author == author:
                score += 1.6 if gap < 120 else 0.9
            else:
                if author in other.addressed:
                    score += 2.0
                elif other.addressed:
                    score -= 1.0
                elif other.asks and not said.asks and other.parent is None:
                    score += 0.8
                else:
                    score -= 0.4
                if partner == other.message.author:
                    score += 0.9
            common = said.words & other.words
            if common:
                score += min(2.2, 0.22 * sum([weights[word] for word in common]))
            if score > best_score:
                best, best_score = other, score
        return best

    def _of_a_new_thread(self, channel: _Channel, said: Said) -> float:
        """The score of answering nobody: high for whoever comes in with a question or a greeting."""
        spoke = channel.last_of.get(said.message.author)
        comes_in = spoke is None or said.message.at - spoke.message.at > _COMES_IN_S
        if cues.GREETING.match(said.text):
            return 1.5 if comes_in else -1.0
        if said.asks:
            return 1.2 if comes_in else -1.6
        return (-1.6 if comes_in else -3.4) - (1.5 if said.thanks else 0.0)

    def _remember(self, channel: _Channel, said: Said) -> None:
        parent, author = said.parent, said.message.author
        thread = parent.thread if parent is not None and parent.thread is not None else Thread()
        if len(thread.said) >= LONGEST_THREAD and said.asks:
            thread = Thread()
        said.thread = thread
        thread.said.append(said)
        thread.last = said.number
        channel.open[id(thread)] = thread
        if len(channel.recent) == REMEMBERED:
            channel.by_id.pop(channel.recent[0].message.id, None)
        channel.recent.append(said)
        channel.by_id[said.message.id] = said
        channel.last_of[author] = said
        channel.heard(self._names_of(author), author)
        if parent is not None and parent.message.author != author:
            channel.partner[author] = parent.message.author
            channel.partner[parent.message.author] = author

    def _closed(self, channel: _Channel) -> Iterator[Thread]:
        over = [key for key, thread in channel.open.items() if channel.count - thread.last > OPEN_MESSAGES]
        for key in over:
            thread = channel.open.pop(key)
            yield thread
            # a late reply begins a new thread: what was handed on is not handed on again
            for said in thread.said:
                channel.by_id.pop(said.message.id, None)
                said.thread = said.parent = None
        if len(channel.last_of) > REMEMBERED:
            old = channel.count - REMEMBERED
            channel.last_of = {who: one for who, one in channel.last_of.items() if one.number > old}
            channel.partner = {who: one for who, one in channel.partner.items() if who in channel.last_of}
