"""What was to be filled in and never was: `<noinput>`, `[insert name]`, `TODO`, lorem ipsum."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from training.data.hygiene.rule import Drop, Mend, PairRule, without_code
from training.data.pairs import TrainingPair
from training.settings import HygieneSettings

_NO_INPUT: Final = re.compile(
    r"\W*(?:no[\s_-]?input|none|null|nil|n/?a|empty|not applicable|brak(?: danych| wejścia)?"
    r"|nie dotyczy)\W*|[-–—.]+",
    re.IGNORECASE,
)
_MARK: Final = re.compile(r"<\s*no[\s_-]?input\s*>", re.IGNORECASE)
_TO_FILL: Final = re.compile(
    r"[\[<{]{1,2}\s*(?:(?:insert|enter|fill in|your|wstaw|wpisz|uzupełnij|tutaj wpisz|twoj[aeą]"
    r"|twój)\s[^\]>}\n]{1,60}"
    r"|(?:imię i nazwisko|nazwa firmy|company name|link here))\s*[\]>}]{1,2}",
    re.IGNORECASE,
)
_TO_DO: Final = re.compile(r"^\W*(?:TODO|FIXME|TBD|DO UZUPEŁNIENIA)\b\s*(?::|-|\.{2,}|…|$)", re.MULTILINE)
_LOREM: Final = re.compile(r"lorem ipsum dolor", re.IGNORECASE)
_TEMPLATE: Final = re.compile(
    r"template|placeholder|boilerplate|lorem|szablon|wzór|wzoru|wzorze|e-?mail|letter|list motywacyjny"
    r"|podani",
    re.IGNORECASE,
)


def _look(pair: TrainingPair, _: HygieneSettings) -> Drop | Mend | None:
    """Drop a pair with something left to fill in; mend a placeholder for no input."""
    output = pair.output
    # the output of somebody who asked for a template is one
    if ("[" in output or "<" in output or "{" in output) and (
        _TO_FILL.search(without_code(output)) and not _TEMPLATE.search(pair.instruction)
    ):
        return Drop("something left to fill in")
    if (
        "TODO" in output or "FIXME" in output or "TBD" in output or "UZUPEŁNIENIA" in output
    ) and _TO_DO.search(without_code(output)):
        return Drop("marked as still to do")
    if ("orem ipsum" in output or "OREM IPSUM" in output) and (
        _LOREM.search(output) and not _TEMPLATE.search(f"{pair.instruction} {pair.input}")
    ):
        return Drop("lorem ipsum")
    if pair.input and _NO_INPUT.fullmatch(pair.input):
        return Mend(replace(pair, input=""), "placeholder for no input")
    if "<" in pair.instruction and _MARK.search(pair.instruction):
        return Mend(
            replace(pair, instruction=_MARK.sub("", pair.instruction).strip()), "placeholder for no input"
        )
    return None


RULE: Final = PairRule(
    "placeholders",
    "An input that only says that there is none (<noinput>, N/A, brak) becomes empty; an answer with "
    "[insert …], TODO or lorem ipsum in it is left out, unless a template was asked for.",
    _look,
)
