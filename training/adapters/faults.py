"""Faults of an adapter that show before anybody votes: answers missing, empty, repeating, slow, or in the
wrong language.

Pure. A single answer may look faulty by chance, and so may those of what served before, so it takes many of
the last answers, and so many more than of its predecessor's that chance hardly explains it: by Fisher's exact
test (The Design of Experiments, 1935).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from statistics import median
from typing import Final, cast

from feedback.text import Text
from feedback.words import Language
from training.data.language import language_of

WINDOW: Final = 10
"""Answers that are looked at, the newest of an adapter."""
FAULTY: Final = 5
"""So many of them must have one fault."""
CHANCE: Final = 0.002
"""And as large a surplus over its predecessor's answers may come by chance at most so often. It is small
because this is looked at after every answer."""
SLOW: Final = 2.0
"""How many times as long as its predecessor's typical (median) answer a slow answer takes."""
REPEATING: Final = 0.6
"""Share of an answer's word 4-grams that were in it before, from which it repeats itself; prose has few."""
LONG_ENOUGH: Final = 30
"""Words from which an answer can repeat itself, and is sure to be in some language."""


@dataclass(frozen=True)
class Given:
    """An answer, the language that it was to be in, and how long it took; `failed` is one that never came.

    `seconds` 0 is unknown, as where it cannot be held against its predecessor's.
    """

    text: str
    language: str
    failed: bool = False
    seconds: float = 0.0


FAULTS: Final = {
    "fails": Text("fails to answer", "nie odpowiada"),
    "empty": Text("gives empty answers", "daje puste odpowiedzi"),
    "repeats": Text("repeats itself", "powtarza się"),
    "language": Text("answers in the wrong language", "odpowiada w złym języku"),
    "slow": Text("is slow", "jest powolny"),
}
_FOUND: Final = Text(
    "it {what}: {number} of its last {of} answers", "{what}: {number} z ostatnich {of} odpowiedzi"
)


def faults_of(answer: Given, usual_s: float = 0.0) -> set[str]:
    """The faults of one answer, by their names in `FAULTS`; `usual_s` is how long one typically takes."""
    if answer.failed:
        return {"fails"}
    words = answer.text.split()
    if not words:
        return {"empty"}
    found = {"slow"} if usual_s and answer.seconds > SLOW * usual_s else set()
    if len(words) < LONG_ENOUGH:
        return found
    if _repeated(words) >= REPEATING:
        found.add("repeats")
    fallback = cast(Language, answer.language)
    if answer.language in ("en", "pl") and language_of(answer.text, fallback) != answer.language:
        found.add("language")
    return found


def fault(newest: Sequence[Given], before: Sequence[Given]) -> Text | None:
    """What is wrong with an adapter, as the rest of a sentence; None is nothing.

    `newest` are its answers, the newest first, `before` those of its predecessor. Where that gave fewer than
    `FAULTY`, there is nothing to go by.
    """
    if len(before) < FAULTY:
        return None
    times = [answer.seconds for answer in before if answer.seconds]
    usual_s = median(times) if times else 0.0
    looked_at = [faults_of(answer, usual_s) for answer in newest[:WINDOW]]
    usual = [faults_of(answer, usual_s) for answer in before]
    for name, what in FAULTS.items():
        number = sum(name in found for found in looked_at)
        normal = sum(name in found for found in usual)
        if number >= FAULTY and _by_chance(number, len(looked_at), normal, len(usual)) <= CHANCE:
            return _FOUND.filled(what=what, number=number, of=len(looked_at))
    return None


def _by_chance(faulty: int, of: int, faulty_before: int, of_before: int) -> float:
    """How probable so many or more faulty answers are in the first group if both groups are alike."""
    every, all_faulty = of + of_before, faulty + faulty_before
    tail = sum(
        comb(of, number) * comb(of_before, all_faulty - number)
        for number in range(faulty, min(of, all_faulty) + 1)
    )
    return tail / comb(every, all_faulty)


def _repeated(words: Sequence[str]) -> float:
    grams = [tuple(words[place : place + 4]) for place in range(len(words) - 3)]
    return 1 - len(set(grams)) / len(grams)
