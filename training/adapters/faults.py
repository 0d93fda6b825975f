"""Faults of an adapter that show before anybody votes: answers empty, repeating, in the wrong language.

Pure. A single answer may look faulty by chance, and so may those of what served before, so it takes many of
the last answers, and far more than of its predecessor's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

from feedback.words import Language
from training.data.language import language_of

WINDOW: Final = 10
"""Answers that are looked at, the newest of an adapter."""
FAULTY: Final = 5
"""So many of them must have one fault."""
USUAL: Final = 0.25
"""And of its predecessor's answers, at most this share may have it."""
REPEATING: Final = 0.6
"""Share of an answer's word 4-grams that were in it before, from which it repeats itself; prose has few."""
LONG_ENOUGH: Final = 30
"""Words from which an answer can repeat itself, and is sure to be in some language."""


@dataclass(frozen=True)
class Given:
    """An answer and the language that it was to be in; `failed` is one that never came."""

    text: str
    language: str
    failed: bool = False


FAULTS: Final = {
    "fails": "fails to answer",
    "empty": "gives empty answers",
    "repeats": "repeats itself",
    "language": "answers in the wrong language",
}


def faults_of(answer: Given) -> set[str]:
    """The faults of one answer, by their names in `FAULTS`."""
    if answer.failed:
        return {"fails"}
    words = answer.text.split()
    if not words:
        return {"empty"}
    if len(words) < LONG_ENOUGH:
        return set()
    found = {"repeats"} if _repeated(words) >= REPEATING else set()
    fallback = cast(Language, answer.language)
    if answer.language in ("en", "pl") and language_of(answer.text, fallback) != answer.language:
        found.add("language")
    return found


def fault(newest: Sequence[Given], before: Sequence[Given]) -> str:
    """What is wrong with an adapter, as a sentence; "" is nothing.

    `newest` are its answers, the newest first, `before` those of its predecessor. Where that gave fewer than
    `FAULTY`, there is nothing to go by.
    """
    if len(before) < FAULTY:
        return ""
    looked_at = [faults_of(answer) for answer in newest[:WINDOW]]
    usual = [faults_of(answer) for answer in before]
    for name, what in FAULTS.items():
        number = sum(name in found for found in looked_at)
        normal = sum(name in found for found in usual) / len(usual)
        if number >= FAULTY and normal <= USUAL:
            return f"it {what}: {number} of its last {len(looked_at)} answers"
    return ""


def _repeated(words: Sequence[str]) -> float:
    grams = [tuple(words[place : place + 4]) for place in range(len(words) - 3)]
    return 1 - len(set(grams)) / len(grams)
