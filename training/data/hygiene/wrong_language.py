"""Answers in another language than their label says.

Counts the function words that only English or only Polish has, a matter of microseconds; statistics over
letters are asked only where these speak against the label. Code, addresses and quotations do not count, and
short answers are taken as they are labelled.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from feedback.words import Language
from training.data.hygiene.rule import Drop, PairRule, question_of, without_code
from training.data.language import FUNCTION_WORDS, WITHOUT_DIACRITICS, among_all, language_of
from training.data.pairs import TrainingPair
from training.settings import HygieneSettings

_FEWEST_WORDS: Final = 6
"""Fewer words of prose are names and terms as often as language."""
_ENOUGH_FOR_ALL: Final = 12
"""So many words without any function word of ours are put to the identifier of all languages."""
_SURE: Final = 0.99
_WORD: Final = re.compile(r"[^\W\d_]+")
_POLISH_LETTER: Final = re.compile("[ąćęłńóśźż]", re.IGNORECASE)
_NOT_PROSE: Final = re.compile(r"https?://\S+|\"[^\"\n]*\"|„[^”\"\n]*[”\"]|“[^”\n]*”|\S*[_/\\=(){}\[\]]\S*")
_TRANSLATION: Final = re.compile(
    r"translat|in (?:english|polish|german|french|spanish|italian|latin)|(?:to|into) (?:english|polish"
    r"|german|french|spanish)"
    r"|tłumacz|po (?:angielsku|polsku|niemiecku|francusku|hiszpańsku|łacinie)|na (?:angielski|polski"
    r"|niemiecki|francuski)",
    re.IGNORECASE,
)
_FIRST_LOOK: Final = 300
_PLAIN_ENGLISH: Final = (
    *("The ", " the ", " of ", " and ", " is ", " are ", " that ", " with ", " it ", " you "),
    *(" for ", " this ", " an ", " by ", " or ", " be ", " can ", " your ", " not "),
)
"""Words that Polish does not have, between spaces."""
_ENOUGH_ENGLISH: Final = 2
_POLISH_SHARE: Final = 0.015
"""Of Polish text about seven letters in a hundred are its own, fewer where it is full of English terms."""
_LONGEST_LOOK: Final = 1500
"""Characters of an answer that are looked at."""


@lru_cache(maxsize=1)
def _own_words() -> dict[Language, frozenset[str]]:
    """The function words of each language that the other does not have."""
    english, polish = FUNCTION_WORDS["en"], FUNCTION_WORDS["pl"]
    return {"en": english - polish, "pl": polish - english}


def _is_plainly(language: Language, text: str) -> bool:
    """Whether a text is at first glance in the language; no says nothing."""
    polish = 0 if text.isascii() else len(_POLISH_LETTER.findall(text))
    if language == "pl":
        return polish >= _POLISH_SHARE * len(text)
    return not polish and sum(map(text.__contains__, _PLAIN_ENGLISH)) >= _ENOUGH_ENGLISH


def _look(pair: TrainingPair, _: HygieneSettings) -> Drop | None:
    """Drop a pair whose answer is written in another language than its label says."""
    label: Language = "pl" if pair.language == "pl" else "en"
    other: Language = "en" if label == "pl" else "pl"
    text = pair.output[:_LONGEST_LOOK]
    if _is_plainly(label, text[:_FIRST_LOOK]):
        return None
    own_words = _own_words()
    prose = _NOT_PROSE.sub(" ", without_code(text))
    found = set(_WORD.findall(prose.casefold().translate(WITHOUT_DIACRITICS)))
    if len(found) < _FEWEST_WORDS or _TRANSLATION.search(question_of(pair)):
        return None
    own, foreign = len(own_words[label] & found), len(own_words[other] & found)
    if other == "pl":
        foreign += len(_POLISH_LETTER.findall(prose))
    if foreign >= 2 and foreign > 2 * own and language_of(prose) == other:
        return Drop(f"labelled {label}, written in {other}")
    if own + foreign == 0 and len(found) >= _ENOUGH_FOR_ALL:
        language, probability = among_all(prose)
        if language not in ("en", "pl") and probability > _SURE:
            return Drop(f"labelled {label}, written in another language")
    return None


RULE: Final = PairRule(
    "wrong-language",
    "An answer that is written in another language than its label says is left out; code, quotations, short "
    "answers and translations that were asked for are not held against it.",
    _look,
)
