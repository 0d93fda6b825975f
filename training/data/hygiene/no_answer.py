"""Questions without an answer: "N/A", "see above", the question once more, or a question back."""

from __future__ import annotations

import re
from typing import Final

from training.data.hygiene.rule import Drop, PairRule
from training.data.pairs import TrainingPair
from training.settings import HygieneSettings

_NOTHING: Final = re.compile(
    r"\W*(?:n\s?/?\s?a|none|null|nil|nan|undefined|no (?:answer|output|response)|not applicable|empty"
    r"|brak(?: odpowiedzi| danych)?|nie dotyczy|output|answer|response|odpowiedź)?\W*",
    re.IGNORECASE,
)
_LONGEST_NOTHING: Final = 30
_ABOVE: Final = (
    r"(?:above|before|earlier|previous(?:ly)?|my (?:\w+ )?(?:answer|post|message|reply|comment)s?"
    r"|the (?:other|last|previous|first) (?:answer|post|message|reply|one|comment|thread))"
)
_POINTER: Final = re.compile(
    rf"\W*(?:(?:please |just |pls )?(?:see|read|check|look at|refer to|cf\.?) {_ABOVE}(?: \w+){{0,2}}"
    rf"|(?:the )?same (?:answer )?as {_ABOVE}(?: \w+)?|as (?:(?:i|we) )?(?:already )?(?:above|before|said"
    rf"|mentioned|stated|explained|written)(?: {_ABOVE})?(?: \w+)?|(?:already )?answered {_ABOVE}|ditto|idem"
    r"|(?:tak )?jak (?:wyżej|poprzednio|wcześniej|już (?:pisałe[mś]|mówiłe[mś]|pisałam|mówiłam))"
    r"|(?:to samo|tak samo) co (?:wyżej|poprzednio|wcześniej)|j\. ?w\."
    r"|(?:patrz|zob(?:acz)?\.?|zobacz|sprawdź|przeczytaj|vide) (?:wyżej|powyżej|wcześniej"
    r"|(?:moj[ąe] |poprzedni[ąe] |wcześniejsz[ąe] |inn[ąe] )+(?:odpowied|wiadomo|post|wpis)\w*))\W*",
    re.IGNORECASE,
)
_LONGEST_POINTER: Final = 60
"""Characters of an answer that only says where another one is."""
_WORD: Final = re.compile(r"\w+")
_SENTENCE_END: Final = re.compile(r"[.!…](?=\s|$)|[.!?…\n]+(?=\s*\S)")
_QUESTION_WANTED: Final = re.compile(
    r"question|quiz|riddle|rephras|paraphras|rewrite|translat|correct|ask me|interview|title|headline"
    r"|pyta|zagadk"
    r"|przetłumacz|tłumacz|popraw|sparafrazuj|przeredaguj|tytuł|po (?:polsku|angielsku)|in (?:english"
    r"|polish)",
    re.IGNORECASE,
)


def _look(pair: TrainingPair, _: HygieneSettings) -> Drop | None:
    """Drop a pair whose answer says nothing, points elsewhere, repeats the question or only asks back."""
    output = pair.output.strip()
    if len(output) <= _LONGEST_NOTHING and _NOTHING.fullmatch(output) and not _is_symbolic(output):
        return Drop("says nothing")
    if len(output) <= _LONGEST_POINTER and _POINTER.fullmatch(output):
        return Drop("points to another answer")
    if len(output) <= 2 * len(pair.instruction) and _WORD.findall(output.casefold()) == _WORD.findall(
        pair.instruction.casefold()
    ):
        return Drop("repeats the question")
    if (
        output.endswith("?")
        and not _SENTENCE_END.search(output)
        and not _QUESTION_WANTED.search(pair.instruction)
    ):
        return Drop("asks back")
    return None


def _is_symbolic(output: str) -> bool:
    """Whether a text without words may be an answer all the same: an emoji, an operator, some kana."""
    return not any(letter.isalnum() for letter in output) and any(
        letter not in "-–—_.…?! \n\t/\\|#*'\"`()[]{}<>,;:" for letter in output
    )


RULE: Final = PairRule(
    "no-answer",
    "An answer that is N/A, none, brak or a dash, only points elsewhere (see above, jak wyżej), repeats the "
    "question, or only asks back, is left out; an abstention stays.",
    _look,
)
