"""Nearly the same answer to many different questions: an advert, a trigger's fixed reply, one author's spam.

What answers everything answers nothing. An answer counts by its words without addresses and without the
digits of codes, so a code that changes from pair to pair does not hide it; numbers by themselves count. A
few phrasings of one question share their answer in every good set, and where most answers have many, one
needs twice as many as the median to stand out. Labels and a yes are too short to be looked at; abstentions
are meant to be alike.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from statistics import median
from typing import Final

from training.data.abstention import is_abstention
from training.data.hygiene.rule import Item, SetRule
from training.settings import HygieneSettings

_FEWEST_WORDS: Final = 5
"""Fewer different words are a label, a name or a yes, which many questions may share."""
_BEYOND: Final = 2
"""How many times the median answer's questions an answer must have."""
_ADDRESS: Final = re.compile(r"https?://\S+|\S*\w\.\w{2,}\S*")
_WORD: Final = re.compile(r"(?<!\w)\d+(?!\w)|[^\W\d_]+")


def _find(items: Sequence[Item], groups: Sequence[int], settings: HygieneSettings) -> dict[int, str]:
    """The positions whose answer is given to more different questions than the settings allow."""
    given_to: dict[frozenset[str], list[int]] = defaultdict(list)
    for position, item in enumerate(items):
        given_to[_words(item.pair.output)].append(position)
    questions = {
        words: len({groups[position] for position in positions}) for words, positions in given_to.items()
    }
    usual = median(questions.values()) if questions else 0
    most = max(settings.most_questions_of_an_answer, _BEYOND * usual)
    found: dict[int, str] = {}
    for words, positions in given_to.items():
        if questions[words] <= most or len(words) < _FEWEST_WORDS:
            continue
        if not is_abstention(items[positions[0]].pair.output):
            members = {items[position].member for position in positions}
            one = len(members) == 1 and members != {""}
            why = "one member's, to many questions" if one else "to many different questions"
            found |= dict.fromkeys(positions, why)
    return dict(sorted(found.items()))


def _words(answer: str) -> frozenset[str]:
    return frozenset(_WORD.findall(_ADDRESS.sub(" ", answer.casefold())))


RULE: Final = SetRule(
    "repeated-answer",
    "Nearly the same answer (codes and addresses aside) to more than `most_questions_of_an_answer` questions "
    "that differ, and twice as many as the median answer has, is left out; abstentions and labels stay.",
    _find,
)
