"""Questions without an answer: "N/A", the question once more, or a question back."""

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
    """Drop a pair whose answer says nothing, repeats the question or only asks back."""
    output = pair.output.strip()
    if len(output) <= _LONGEST_NOTHING and _NOTHING.fullmatch(output) and not _is_symbolic(output):
        return Drop("says nothing")
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
    "An answer that is N/A, none, brak or a dash, repeats the question, or only asks back, is left out; "
    "an abstention stays.",
    _look,
)
