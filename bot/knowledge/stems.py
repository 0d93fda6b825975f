"""Text to the stems that words are searched by, in English and Polish.

Snowball's stemmers (PyStemmer) cut the endings; then letters are folded to ASCII where they have a base
letter, ł included, which Unicode does not decompose. Deterministic: what `VERSION` names is what indexes
hold.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from functools import lru_cache
from typing import Any, Final

from feedback.words import Language

VERSION: Final = "snowball-3"
"""Changes with whatever changes the stems, so that indexes know when they are out of date."""

LONGEST: Final = 64
"""Letters of a stem that count; PostgreSQL refuses words of more than 2 kB."""

_WORD: Final = re.compile(r"[^\W_]+")
_STROKE: Final = str.maketrans("łŁøØđĐ", "lLoOdD")
_ALGORITHMS: Final[dict[Language, str]] = {"en": "english", "pl": "polish"}
_stemmers = threading.local()


def stems(text: str, language: str) -> list[str]:
    """The stems of the words of `text`, in their order; what is not Polish is stemmed as English."""
    chosen: Language = "pl" if language == "pl" else "en"
    return [_stem(word, chosen) for word in _WORD.findall(text.casefold())]


def words_of(text: str, language: str) -> dict[str, str]:
    """Each stem of `text` once, with the word, in small letters, that it was first taken from."""
    chosen: Language = "pl" if language == "pl" else "en"
    found: dict[str, str] = {}
    for word in _WORD.findall(text.casefold()):
        found.setdefault(_stem(word, chosen), word)
    return found


def fold(text: str) -> str:
    """`text` without what hangs on its letters: ą, ł and é become a, l and e."""
    apart = unicodedata.normalize("NFKD", text.translate(_STROKE))
    return "".join(letter for letter in apart if not unicodedata.combining(letter))


@lru_cache(maxsize=65_536)
def _stem(word: str, language: Language) -> str:
    return fold(_stemmer(language).stemWord(word[:LONGEST]))[:LONGEST]


def _stemmer(language: Language) -> Any:
    """A thread's own stemmer: Snowball's keep state while they work."""
    made = getattr(_stemmers, language, None)
    if made is None:
        from Stemmer import Stemmer

        made = Stemmer(_ALGORITHMS[language])
        setattr(_stemmers, language, made)
    return made
