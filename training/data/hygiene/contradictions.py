"""Answers to the same question that contradict each other: kept apart until a moderator decides.

Two answers in one language contradict each other when their questions are near duplicates, and
- one begins with yes and the other with no; or
- they say the same words with other numbers, or one of them with a negation; or
- the questions have the very same words of content, and the answers next to none in common.
The last is the weakest sign: two good answers to one question seldom share nothing. Both sides are kept
apart. Questions without a word of content ("Why not?") mean something else in each conversation, and are
never compared.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from training.data.hygiene.rule import Item, SetRule, question_of
from training.data.similar_texts import NEGATION, Vocabulary, has_content, is_strict, tokens
from training.settings import HygieneSettings

_ALONE: Final = r"(?=\s*(?:[,.;:!–—-]|$))"
"""After a word that is a yes or a no only where it stands for itself: "Tak, …", not "Tak naprawdę …"."""
_YES: Final = re.compile(
    rf"\W*(?:(?:yes|yep|yeah|owszem)\b|(?:tak|oczywiście|correct|true|prawda|sure|of course)\b{_ALONE})",
    re.IGNORECASE,
)
_NO: Final = re.compile(
    rf"\W*(?:nope\b|no\b(?! (?:matter|idea|problem|need|one|more|longer|doubt|worries)\b)"
    rf"|(?:nie|false|fałsz|nieprawda)\b{_ALONE})",
    re.IGNORECASE,
)
_SAME_WORDS: Final = 0.8
"""Least similarity, numbers and negations aside, at which two answers say the same words."""
_MOST_COMPARED: Final = 64
"""Answers of a group of questions, its first ones, that each answer is compared with."""
_FEWEST_WORDS: Final = 8
"""Words of content that both answers have before sharing none of them means something."""


@dataclass(frozen=True)
class _Answer:
    """What of a pair is compared."""

    position: int
    language: str
    question: frozenset[int]
    side: Literal["yes", "no", ""]
    words: frozenset[int]
    strict: frozenset[int]


def _find(items: Sequence[Item], groups: Sequence[int], settings: HygieneSettings) -> dict[int, str]:
    """The positions of the answers that contradict another one of their group, each with the reason."""
    members: dict[int, list[int]] = defaultdict(list)
    for position, group in enumerate(groups):
        members[group].append(position)
    vocabulary = Vocabulary()
    found: dict[int, str] = {}
    for positions in members.values():
        if len(positions) < 2 or not has_content(tokens(question_of(items[positions[0]].pair), vocabulary)):
            continue
        answers = [_answer(position, items[position], vocabulary) for position in positions]
        for number, one in enumerate(answers):
            for other in answers[: min(number, _MOST_COMPARED)]:
                why = _contradiction(one, other, settings)
                if why is not None:
                    found.setdefault(one.position, why)
                    found.setdefault(other.position, why)
    return dict(sorted(found.items()))


def _answer(position: int, item: Item, vocabulary: Vocabulary) -> _Answer:
    pair = item.pair
    said = tokens(pair.output, vocabulary)
    strict = frozenset(token for token in said if is_strict(token))
    return _Answer(
        position,
        pair.language,
        frozenset(tokens(question_of(pair), vocabulary)),
        "yes" if _YES.match(pair.output) else "no" if _NO.match(pair.output) else "",
        frozenset(said) - strict,
        strict,
    )


def _contradiction(one: _Answer, other: _Answer, settings: HygieneSettings) -> str | None:
    """Why two answers to nearly the same question contradict each other; None when they do not."""
    if one.language != other.language:
        return None
    if {one.side, other.side} == {"yes", "no"}:
        return "yes and no"
    shared = len(one.words & other.words)
    alike = shared / (len(one.words) + len(other.words) - shared or 1)
    # numbers beyond those that both name are no contradiction, only more detail
    if alike >= _SAME_WORDS and one.strict - other.strict and other.strict - one.strict:
        return "other numbers in the same words"
    if alike >= _SAME_WORDS and NEGATION in one.strict ^ other.strict:
        return "the same words with and without a negation"
    if (
        one.question == other.question
        and min(len(one.words), len(other.words)) >= _FEWEST_WORDS
        and alike <= settings.contradiction
    ):
        return "nothing in common"
    return None


RULE: Final = SetRule(
    "contradictions",
    "Answers to the same question that contradict each other (yes and no, other numbers or a negation in the "
    "same words, or nothing in common) are kept apart, listed for a moderator to decide.",
    _find,
)
