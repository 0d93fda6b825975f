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
_ENOUGH_FOR_STATISTICS: Final = 4
"""With fewer words statistics only guess."""
_LONGEST_LOOK: Final = 1500
"""Characters of an answer that are looked at."""
_WORD: Final = re.compile(r"[^\W\d_]{2,}")
_CODE: Final = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)
_ENGLISH: Final = """
a an the this that these those is are was were be been being am do does did doing have has had having
will would shall should can could may might must i im ive id me my mine we us our you your yours he him
his she her hers it its they them their and or but if then so as of in on at to for from by with into
onto about than there here what whats which whose some any please pls plz hi hey hello thanks thank just
also too very really actually exactly someone anyone somebody anybody everyone get got tell explain know
want need like mean lets u
"""
_POLISH: Final = """
ty on ona ono oni my mnie mi mam mamy masz macie jest sa byl byla bylo byly byc bede bedzie czy i oraz
lub albo ale a wiec to ten ta te tego tej tych tym co jaki jaka jakie jakiego jakiej ktory ktora ktore w
we z ze na do od za o u po przy dla przez sie siebie moge mozna mozesz moze chce chcialbym prosze czesc
hej dzieki dziekuje jako tez takze bardzo tylko juz jeszcze wlasnie ktos mu jej jego ich im nam nas wam
wy wyjasnij powiedz opisz czym one
"""
WITHOUT_DIACRITICS: Final = str.maketrans("ąćęłńóśźż", "acelnoszz")
"""For small letters: as many people type Polish."""
FUNCTION_WORDS: Final[dict[Language, frozenset[str]]] = {
    "en": frozenset(_ENGLISH.split()),
    "pl": frozenset(_POLISH.split()),
}
"""Words that say little about what a text is about; in small letters, without apostrophes and diacritics."""


@lru_cache(maxsize=1)
def _identifier() -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE)
    identifier.set_languages(list(LANGUAGES))
    return identifier


@lru_cache(maxsize=1)
def _identifier_of_all() -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def load_statistics() -> None:
    """Load what `language_of` asks, for a second or so; the first text would wait for it.

    Raises OSError where the temporary folder has no room for the 68 MB that the library unpacks there.
    """
    _identifier()


def among_all(text: str) -> tuple[str, float]:
    """The likeliest of about a hundred languages as its two-letter code, and how likely it is (0 to 1).

    By statistics alone: below a dozen words it guesses.
    """
    code, probability = _identifier_of_all().classify(text)
    return str(code), float(probability)


def language_of(text: str, fallback: Language = "en") -> Language:
    """English or Polish, by a Polish question word at its beginning, by Polish letters, else by statistics.

    A lone word without either, such as "GPU", says nothing: `fallback` answers for it, and for every text
    while the statistics cannot be loaded (see `load_statistics`).
    """
    if _POLISH_OPENERS.match(text):
        return "pl"
    words = text.split()
    plain = [word for word in words if not _POLISH_LETTERS.search(word)]
    if len(plain) < len(words) and len(plain) < _ENOUGH_WORDS:
        return "pl"
    if len(words) < 2:
        return fallback
    try:
        identifier = _identifier()
    except OSError:
        return fallback
    return cast(Language, identifier.classify(" ".join(plain))[0])


def may_be_in(language: Language, text: str) -> bool:
    """Whether a text is in a language, as far as can be told.

    Of a few words without a Polish letter or question word it cannot: "Barack Obama" is in either.
    """
    if len(text.split()) < _ENOUGH_FOR_STATISTICS and not _POLISH_OPENERS.match(text):
        return language == "pl" or not _POLISH_LETTERS.search(text)
    return language_of(text, language) == language


def is_unsure(language: Language, question: str, answer: str) -> bool:
    """Whether question or answer seem to be in another language than that."""
    said = _CODE.sub(" ", answer[:_LONGEST_LOOK])
    return not (may_be_in(language, question) and may_be_in(language, said))


def language_of_pair(question: str, answer: str) -> Language:
    """The language of a question and its answer together; code says nothing about it."""
    text = f"{question}\n{_CODE.sub(' ', answer[:_LONGEST_LOOK])}"
    words = _WORD.findall(text)
    if len(words) < _ENOUGH_FOR_STATISTICS and not _POLISH_LETTERS.search(text):
        return "pl" if _POLISH_OPENERS.match(text) else "en"
    return language_of(text)
