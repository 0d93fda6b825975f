"""Which of our languages a text is in: a question, short and careless as people type, or an answer."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, cast

from feedback.words import LANGUAGES, Language

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

_POLISH_LETTERS: Final = re.compile("[ąćęłńśźż]", re.IGNORECASE)
_POLISH_OPENERS: Final = re.compile(
    r"\W*(co|czego|czemu|czy|czym|dlaczego|gdzie|ile|jak|jaka|jaki|jakie|jakiego|kiedy|wyjasnij)(?![\w-])",
    re.IGNORECASE,
)
"""No English question begins with one of these, and short ones are too little for statistics."""
_ENOUGH_WORDS: Final = 3
"""So many words without a Polish letter outvote a name with one: "Who is Lech Wałęsa?" is English."""


@lru_cache(maxsize=1)
def _identifier() -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE)
    identifier.set_languages(list(LANGUAGES))
    return identifier


def language_of(text: str, fallback: Language = "en") -> Language:
    """English or Polish, by a Polish question word at its beginning, by Polish letters, else by statistics.

    A lone word without either, such as "GPU", says nothing: `fallback` answers for it.
    """
    if _POLISH_OPENERS.match(text):
        return "pl"
    words = text.split()
    plain = [word for word in words if not _POLISH_LETTERS.search(word)]
    if len(plain) < len(words) and len(plain) < _ENOUGH_WORDS:
        return "pl"
    if len(words) < 2:
        return fallback
    return cast(Language, _identifier().classify(" ".join(plain))[0])
