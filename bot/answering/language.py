"""Which of our languages a question is asked in."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, cast

from feedback.words import LANGUAGES, Language

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

_POLISH_LETTERS: Final = re.compile("[ąćęłńśźż]", re.IGNORECASE)


@lru_cache(maxsize=1)
def _identifier() -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE)
    identifier.set_languages(list(LANGUAGES))
    return identifier


def language_of(text: str, fallback: Language = "en") -> Language:
    """English or Polish; a letter that only Polish has decides before statistics do.

    A lone word without one, such as "GPU", says nothing: `fallback` answers for it.
    """
    if _POLISH_LETTERS.search(text):
        return "pl"
    if len(text.split()) < 2:
        return fallback
    return cast(Language, _identifier().classify(text)[0])
