"""Several examples merged into one output: "…42. Question: What is …? Answer: …"."""

from __future__ import annotations

import re
from typing import Final

from training.data.hygiene.rule import Drop, PairRule, question_of, without_code
from training.data.pairs import TrainingPair
from training.settings import HygieneSettings

_LABEL: Final = re.compile(
    r"(?:^|(?<=[.!?\s]))[#*>\s]{0,6}"
    r"(?:(?P<asks>Instruction|Question|User|Human|Prompt|Instrukcja|Polecenie|Pytanie|Użytkownik|Q)"
    r"|(?P<answers>Output|Answer|Response|Assistant|Wynik|Odpowiedź|Asystent|A)"
    r"|Input|Wejście)"
    r"\s?\d{0,3}\s?\*{0,2}:",
    re.MULTILINE,
)
_WANTED: Final = re.compile(
    r"faq|question|quiz|dialog|conversation|interview|transcript|prompt|template|format|dataset|few-shot"
    r"|flash ?card"
    r"|jsonl|alpaca|pyta|rozmow|wywiad|szablon|fiszk|zbi[oó]r danych|przykład",
    re.IGNORECASE,
)


def _look(pair: TrainingPair, _: HygieneSettings) -> Drop | None:
    output = pair.output
    if output.count(":") < 2:
        return None
    asked = False
    for label in _LABEL.finditer(without_code(output)):
        if label["asks"]:
            asked = True
        elif asked and label["answers"]:
            return (
                None if _WANTED.search(question_of(pair)) else Drop("another question with its answer inside")
            )
    return None


RULE: Final = PairRule(
    "merged-examples",
    "An answer in which another example follows (Instruction: … Output: …, Pytanie: … Odpowiedź: …) is left "
    "out, unless questions, a dialogue or a format were asked for.",
    _look,
)
