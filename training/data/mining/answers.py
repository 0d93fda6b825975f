"""Finding, in a thread, what was asked and what answered it, with a score and its reasons.

Each answer's score is a sum of what speaks for and against it, put between 0 and 1 by the logistic function:
the weights were set by hand on other talk than they are measured on (`docs/imports.md` says how). The reasons
are kept, so that a moderator sees why.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from training.data.mining import cues
from training.data.mining.threads import Said, Thread

Reason = Literal[
    "accepted",
    "thanked",
    "solved",
    "liked",
    "disliked",
    "replied",
    "addressed",
    "moderator",
    "pinned",
    "instructs",
    "code",
    "same words",
    "short",
    "question back",
    "still stuck",
    "last word",
]
WEIGHTS: Final[dict[Reason, float]] = {
    "accepted": 2.4,
    "thanked": 2.0,
    "solved": 1.7,
    "liked": 0.7,
    "disliked": -1.6,
    "replied": 1.1,
    "addressed": 1.0,
    "moderator": 0.5,
    "pinned": 0.5,
    "instructs": 0.1,
    "code": 0.8,
    "same words": 0.7,
    "short": -1.6,
    "question back": -2.3,
    "still stuck": -1.6,
    "last word": 0.4,
}
"""What each reason adds; "liked" and "same words" more with every doubling."""
LEAST: Final = 0.5
"""Score of an answer that is worth a moderator's look; others are shown beside it from LEAST_BESIDE on."""
LEAST_UNLINKED: Final = 0.7
"""The same without a reply link: below it, every other one answered something else (docs/imports.md)."""
LEAST_BESIDE: Final = 0.35
_BIAS: Final = -2.4
_TOGETHER_S: Final = 420.0
"""Seconds within which a person's messages are one."""
_OF_THE_QUESTION: Final = 1.5
"""How much what a question looks like counts beside what its answer looks like."""
_LONGEST_ANSWER: Final = 8
"""Messages that one answer is put together of at most."""
_FEWEST_WORDS: Final = 4
_LOOKED_AHEAD: Final = 40
"""Turns of speakers after a question among which its answer is looked for."""
_LOOKED_AT_AFTER: Final = 12
"""Turns of speakers after an answer in which the asker may say what came of it."""
_SAID_TO_NOBODY: Final = 1.0
"""What an answer that is tied to the asker by neither link nor name is worth less."""
_OPENS_ASKING: Final = 1.2
"""What an answer is worth less that begins with a question: its author is not sure yet what is meant."""
_OF_THE_MOMENT: Final = 1.0
"""What an answer is worth less that says how something is just then."""
_GOES_ON: Final = 0.4
"""What a question is worth less that is said to what somebody else said: without that, few understand it.
Twice that where no link says so but a name: mostly somebody who helps asks back."""
_OF_A_HELPER: Final = 1.2
"""What it is worth less from somebody who answered here, or says it to who asked: mostly it asks back."""
_SOLVED_SHORT: Final = 20
"""Words in which somebody says that it works."""
_ASKS_ON: Final = 6
"""Words from which on a further question of the asker is another one, with answers of its own."""
_LAUGHS_OFF: Final = 15
"""Words from which on somebody who laughs goes on to ask something."""
_SHRUGS_OFF: Final = 12
"""Words from which on somebody who begins with "not sure" goes on to say something."""
_LEADS_NOWHERE: Final = frozenset[Reason](("short", "question back", "still stuck"))
"""What an earlier part of an answer may not be, to be kept."""
_LATER: Final = 0.4
_LATEST: Final = 1.6
"""What an answer without a reply link is worth less with every doubling of the minutes, and at most."""
_MOST_OTHERS: Final = 3
"""Answers that are shown beside the best one."""


@dataclass(slots=True)
class Answer:
    """What somebody answered, in one piece. `reasons` say what the score was made of, with a count each."""

    text: str
    author: str
    message: str
    score: float
    reasons: tuple[tuple[Reason, int], ...]


@dataclass(slots=True)
class Phrasing:
    """The same question as somebody else, or the same person elsewhere, put it."""

    question: str
    asker: str
    message: str
    talk: str


@dataclass(slots=True)
class Candidate:
    """A question with its answers, the best first; `input` is what was said before that it leans on.

    `voices` are the pseudonyms of all whose words are in it, `messages` the talk and id of
    every message that asks this.
    """

    question: str
    input: str
    asker: str
    message: str
    talk: str
    at: float
    answers: list[Answer]
    voices: tuple[str, ...] = ()
    phrasings: list[Phrasing] = field(default_factory=list)
    messages: tuple[tuple[str, str], ...] = ()

    @property
    def score(self) -> float:
        """The best answer's."""
        return self.answers[0].score


@dataclass(slots=True, eq=False)
class _Block:
    """Neighbouring messages of one person in a thread; what they are by themselves is looked at once."""

    author: str
    said: list[Said]
    text: str = ""
    words: frozenset[int] = frozenset()
    own: tuple[tuple[Reason, int], ...] = ()
    base: float = 0.0
    is_looked_at: bool = False
    may_answer: bool = False
    is_stuck: bool = False
    is_solved: bool = False

    def look(self) -> _Block:
        """Find what the words give away, whoever asked."""
        if not self.is_looked_at:
            self.is_looked_at = True
            self.text = text = "\n".join(one.text for one in self.said if one.text)
            self.words = frozenset().union(*(one.words for one in self.said))
            self.is_stuck = cues.STUCK.search(text) is not None
            # in a longer text, what works is part of the trouble
            self.is_solved = cues.SOLVED.search(text) is not None and len(text.split()) < _SOLVED_SHORT
            self.may_answer = not (
                self.said[0].message.is_bot
                or not text
                or cues.NO_IDEA.search(text) is not None
                or (cues.SHRUG.match(text) and len(text.split()) < _SHRUGS_OFF)
                or cues.GREETING.match(text)
            )
            if self.may_answer:
                self.own = tuple(_own_reasons(self))
                count = len(text.split())
                self.base = (
                    sum(_weight(reason, times) for reason, times in self.own)
                    + 0.5 * min(1.0, max(0.0, (count - 6) / 24))
                    - max(0.0, (count - 250) / 200)
                    - (0.9 if cues.LAUGHS.search(text) else 0.0)
                    - (_OPENS_ASKING if cues.OPENS_ASKING.match(text) else 0.0)
                    - (_OF_THE_MOMENT if cues.OF_THE_MOMENT.search(text) else 0.0)
                )
        return self


def candidates(thread: Thread) -> Iterator[Candidate]:
    """The questions of a thread that were answered well enough."""
    if len(thread.said) < 2 or not any(said.asks for said in thread.said):
        return
    blocks = _blocks(thread.said)
    spoke: set[str] = set()
    helps: set[str] = set()
    askers: set[str] = set()
    found_by_answer: dict[str, Candidate] = {}
    for place, block in enumerate(blocks):
        spoke_before = block.author in spoke
        spoke.add(block.author)
        parent = block.said[0].parent
        if parent is None or parent.message.author == block.author:
            parent = None
        elif parent.asks and not any(said.asks for said in block.said):
            helps.add(block.author)
        if block.said[0].message.is_bot or not any(said.asks for said in block.said):
            continue
        if (spoke_before and _is_follow_up(block)) or _only_tells(block):
            continue
        worth = _worth(block.look().text)
        if worth is None:
            continue
        if parent is not None:
            by_asker = block.author in askers
            if block.author in helps or (parent.message.author in askers and not by_asker):
                worth -= _OF_A_HELPER
            elif block.said[0].how != "content" and not by_asker:
                worth -= _GOES_ON if block.said[0].how == "reply" else 2 * _GOES_ON
        if parent is None or block.said[0].how == "content":
            askers.add(block.author)
        found = _answers(block, blocks, place, worth)[: 1 + _MOST_OTHERS]
        if not found or found[0].score < _least(found[0]):
            continue
        before, voices = _before(block, blocks, place)
        candidate = Candidate(
            question=_question(block),
            input=before,
            asker=block.author,
            message=block.said[0].message.id,
            talk=block.said[0].message.talk,
            at=block.said[0].message.at,
            answers=found,
            voices=tuple(dict.fromkeys([block.author, *voices, *(one.author for one in found)])),
        )
        # an answer belongs to one question: of several before it, the one that it fits best
        known = found_by_answer.get(found[0].message)
        if known is None or known.score < candidate.score:
            found_by_answer[found[0].message] = candidate
    yield from found_by_answer.values()


def _least(answer: Answer) -> float:
    return LEAST if any(reason == "replied" for reason, _ in answer.reasons) else LEAST_UNLINKED


def _blocks(said: Sequence[Said]) -> list[_Block]:
    """Neighbours of one author within _TOGETHER_S, unless a reply link leads to something else."""
    blocks: list[_Block] = []
    for one in said:
        last = blocks[-1].said[-1] if blocks else None
        together = (
            last is not None
            and last.message.author == one.message.author
            and one.message.at - last.message.at < _TOGETHER_S
            and len(blocks[-1].said) < _LONGEST_ANSWER
            and not (one.how == "reply" and one.parent not in (None, last, blocks[-1].said[0].parent))
            and not (one.asks and blocks[-1].said[0].thanks)
            and not (one.thanks and not one.asks)
            and not _turns_to_another(one, blocks[-1])
        )
        if together:
            blocks[-1].said.append(one)
        else:
            blocks.append(_Block(one.message.author, [one]))
    return blocks


def _turns_to_another(one: Said, block: _Block) -> bool:
    """Whether somebody goes on speaking, but to somebody else."""
    addressed = {name for said in block.said for name in said.addressed}
    return bool(one.addressed) and addressed.isdisjoint(one.addressed)


def _is_follow_up(block: _Block) -> bool:
    """Whether somebody goes on asking about what they asked before."""
    first = next((one for one in block.said if one.asks), block.said[0])
    return (
        first.thanks or cues.STUCK.search(first.text) is not None or cues.LEANS.match(first.text) is not None
    )


def _only_tells(block: _Block) -> bool:
    """Whether words that ask elsewhere are an answer here: no question, or one that asks back."""
    parent = block.said[0].parent
    if parent is None or parent.message.author == block.author:
        return False
    text = block.look().text
    if block.said[0].how == "content" and _is_question(text):
        return False
    return parent.asks or ("?" not in text and not cues.QUESTION.match(text))


def _is_question(text: str) -> bool:
    """Whether a text asks by its form, not only by a question mark somewhere."""
    return (
        cues.HELP.search(text) is not None
        or cues.QUESTION.match(text) is not None
        or cues.QUESTION_WITHIN.search(text) is not None
    )


def _question(block: _Block) -> str:
    """What a block asks, without greetings that came as messages of their own."""
    asked = [one.text for one in block.said if one.text and not cues.GREETING.match(one.text)]
    return "\n".join(asked)


def _worth(text: str) -> float | None:
    """What the question itself adds to an answer's score; None for what no bot should learn."""
    if any(cue.search(text) for cue in (cues.SMALL_TALK, cues.PRIVATE, cues.PASSING, cues.GREETING)):
        return None
    words = len(text.split())
    if words < _FEWEST_WORDS or words > 400:
        return None
    worth = 0.0
    if cues.HELP.search(text):
        worth += 0.8
    elif cues.QUESTION.match(text):
        worth += 0.4 if "?" in text else 0.2
    elif cues.QUESTION_WITHIN.search(text):
        worth += 0.3
    elif "?" not in text:
        worth -= 0.7
    if cues.DATED.search(text):
        worth -= 0.8
    if cues.LAUGHS.search(text):
        worth -= 1.2 if words < _LAUGHS_OFF else 0.4
    if cues.ASKS_BACK.search(text):
        worth -= 1.2
    if cues.SMILES.search(text):
        worth -= 0.6
    if words < 7:
        worth -= 0.5
    if words < 12 and (cues.LEANS.match(text) or cues.POINTS_BACK.search(text)):
        worth -= 0.5
    if cues.CODE.search(text):
        worth += 0.3
    return worth


def _answers(question: _Block, blocks: Sequence[_Block], place: int, worth: float) -> list[Answer]:
    """The answers that came after the question, the best first, one for each person."""
    asker = question.author
    asked = {id(one) for one in question.said}
    asked_at = question.said[-1].message.at
    words = question.look().words
    told: dict[str, list[tuple[_Block, Answer]]] = {}
    for number in range(place + 1, min(len(blocks), place + 1 + _LOOKED_AHEAD)):
        block = blocks[number]
        if block.author == asker:
            if _asks_anew(block) or (told and _asks_on(block)):
                break
            continue
        answer = _answer(block, blocks, number, asker, asked, asked_at, words, worth)
        if answer is not None:
            told.setdefault(block.author, []).append((block, answer))
    ranked = sorted(map(_in_one, told.values()), key=lambda answer: -answer.score)
    return [answer for answer in ranked if answer.score >= LEAST_BESIDE]


def _in_one(told: Sequence[tuple[_Block, Answer]]) -> Answer:
    """The best of what one person answered, after what led to it: the thanks come at the end of it all."""
    best = max(range(len(told)), key=lambda place: told[place][1].score)
    block, answer = told[best]
    parts, messages = [answer.text], len(block.said)
    for before, earlier in reversed(told[:best]):
        messages += len(before.said)
        if messages > _LONGEST_ANSWER:
            break
        if not _LEADS_NOWHERE & {reason for reason, _ in earlier.reasons}:
            parts.insert(0, earlier.text)
    return replace(answer, text="\n".join(parts))


def _asks_anew(block: _Block) -> bool:
    """Whether the asker leaves the matter for another question."""
    return (
        any(one.asks and one.parent is None for one in block.said)
        and not block.look().is_stuck
        and cues.HELP.search(block.text) is not None
    )


def _asks_on(block: _Block) -> bool:
    """Whether the asker, who was answered, asks something more, which later answers are about."""
    text = block.look().text
    return _is_question(text) and len(text.split()) >= _ASKS_ON and not block.is_stuck


def _own_reasons(block: _Block) -> Iterator[tuple[Reason, int]]:
    """What speaks for and against an answer by itself."""
    count = len(block.text.split())
    is_code = cues.CODE.search(block.text) is not None
    if count < _FEWEST_WORDS and not is_code:
        yield "short", count
    for reason, times in zip(("accepted", "liked", "disliked"), _reactions(block), strict=True):
        if times:
            yield reason, times  # type: ignore[misc]
    if any(one.message.is_moderator for one in block.said):
        yield "moderator", 1
    if any(one.message.is_pinned for one in block.said):
        yield "pinned", 1
    if cues.HOW_TO.search(block.text):
        yield "instructs", 1
    if is_code:
        yield "code", 1
    if (block.said[-1].asks and "?" in block.said[-1].text) or cues.ASKS_FOR_MORE.search(block.text):
        yield "question back", 1


def _answer(
    block: _Block,
    blocks: Sequence[_Block],
    number: int,
    asker: str,
    asked: set[int],
    asked_at: float,
    words: frozenset[int],
    worth: float,
) -> Answer | None:
    if not block.look().may_answer:
        return None
    reasons: list[tuple[Reason, int]] = []
    tie = 0.0
    if any(id(one.parent) in asked and one.how == "reply" for one in block.said):
        reasons.append(("replied", 1))
    elif any(asker in one.addressed for one in block.said):
        reasons.append(("addressed", 1))
    elif cues.HELP.search(block.text):
        return None  # somebody else's trouble
    elif any(one.addressed for one in block.said):
        return None  # somebody else's answer
    else:
        tie -= _SAID_TO_NOBODY
    if not reasons or reasons[0][0] != "replied":
        minutes = max(0.0, block.said[0].message.at - asked_at) / 60
        tie -= min(_LATEST, _LATER * math.log2(1 + minutes))
    if common := len(words & block.words):
        reasons.append(("same words", common))
    reasons += _what_followed(block, blocks, number, asker)
    score = _BIAS + _OF_THE_QUESTION * worth + tie + block.base
    score += sum(_weight(reason, times) for reason, times in reasons)
    return Answer(
        block.text, block.author, block.said[0].message.id, _logistic(score), (*block.own, *reasons)
    )


def _what_followed(
    block: _Block, blocks: Sequence[_Block], number: int, asker: str
) -> list[tuple[Reason, int]]:
    """What the asker said next, as far as it is said to this answer."""
    here = {id(one) for one in block.said}
    others_between = set()
    for later in blocks[number + 1 : number + 1 + _LOOKED_AT_AFTER]:
        if later.author != asker:
            others_between.add(later.author)
            continue
        to_this = any(id(one.parent) in here or block.author in one.addressed for one in later.said)
        # in Slack's threads every link leads to the question: what its asker says there is said to nobody
        to_somebody_else = not to_this and any(
            one.addressed or (one.how == "reply" and one.parent and one.parent.message.author != asker)
            for one in later.said
        )
        # thanks said to nobody go to whoever spoke last before them
        if to_somebody_else or (not to_this and others_between - {block.author}):
            continue
        if later.look().is_stuck:
            return [("still stuck", 1)]
        found: list[tuple[Reason, int]] = []
        if any(one.thanks for one in later.said):
            found.append(("thanked", 1))
        if later.is_solved:
            found.append(("solved", 1))
        return found
    return [("last word", 1)]


def _reactions(block: _Block) -> tuple[int, int, int]:
    accepted = liked = disliked = 0
    for one in block.said:
        for name, count in one.message.reactions:
            if name in cues.ACCEPTING:
                accepted += count
            elif name in cues.LIKING:
                liked += count
            elif name in cues.DISLIKING:
                disliked += count
    return accepted, liked, disliked


def _weight(reason: Reason, times: int) -> float:
    weight = WEIGHTS[reason]
    if reason in ("liked", "same words"):
        return weight * min(3.0, math.log2(1 + times))
    return weight


def _before(block: _Block, blocks: Sequence[_Block], place: int) -> tuple[str, list[str]]:
    """What was said before a question that leans on it, and by whom."""
    if place == 0 or not cues.LEANS.match(block.text):
        return "", []
    last = blocks[place - 1].look()
    return last.text, [last.author]


def _logistic(score: float) -> float:
    return 1 / (1 + math.exp(-score))
