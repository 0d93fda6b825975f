"""How well what was found fits a question: whether it was asked before in these words, or answers it at all.

Both are thresholds that people set and tune, so both are plain: shares of words, and the cosine of vectors.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

from bot.knowledge.knowledge import Source
from bot.knowledge.stems import fold, stems

_NUMBER: Final = re.compile(r"\d+")
_NEGATIONS: Final = frozenset(
    word
    for words in (
        "not no never without cannot cant dont doesnt isnt arent wont",
        "nie bez nigdy zaden zadna zadne nikt nic",
    )
    for word in words.split()
)


def sameness(question: str, source: Source) -> float:
    """How much `question` has the words of the question that an approved answer belongs to, from 0 to 1.

    Dice's coefficient of the stems, each as often as it stands there; 0 where numbers or negations differ,
    which are few letters and another question.
    """
    if source.kind != "approved" or _turning_words(question) != _turning_words(source.question):
        return 0.0
    asked, known = (Counter(stems(text, source.language)) for text in (question, source.question))
    together = sum(asked.values()) + sum(known.values())
    return 2 * sum((asked & known).values()) / together if together else 0.0


def asked_before(question: str, sources: Sequence[Source], threshold: float) -> Source | None:
    """The approved answer to this very question: the one most alike in words, by `threshold` at least."""
    alike = max(sources, key=lambda source: sameness(question, source), default=None)
    return alike if alike is not None and sameness(question, alike) >= threshold else None


def fits(question: str, language: str, sources: Sequence[Source], threshold: float) -> bool:
    """Whether any source is near enough to the question to answer it.

    Near is a cosine of `threshold` or more; where words alone were searched, that share of the question's
    stems.
    """
    for source in sources:
        if source.cosine is not None:
            near = source.cosine
        else:
            words = set(stems(question, language))
            said = set(stems(f"{source.question} {source.text}", source.language))
            near = len(words & said) / len(words) if words else 0.0
        if near >= threshold:
            return True
    return False


def _turning_words(question: str) -> tuple[Counter[str], Counter[str]]:
    plain = fold(question.casefold()).replace("'", "").replace("’", "")
    words = Counter(re.findall(r"[^\W\d_]+", plain))
    return Counter(_NUMBER.findall(plain)), Counter({word: words[word] for word in _NEGATIONS & words.keys()})
