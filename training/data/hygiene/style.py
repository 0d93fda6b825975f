"""Answers that depart from how the others speak: shouting, emoji, talk about being a language model.

Capitals, exclamation marks and emoji are measured against all answers of the set by a robust z-score (median
and median absolute deviation: Iglewicz and Hoaglin 1993), so a persona that likes emoji keeps them. An
answer goes only if it is also far from ordinary by itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from training.data.hygiene.rule import Item, SetRule, without_code
from training.settings import HygieneSettings


@dataclass(frozen=True)
class _Feature:
    """Something countable about an answer, as a share of its characters."""

    why: str
    floor: float
    """Less than this is nothing unusual, whatever the others do."""
    least_deviation: float
    """Stands in for the deviation of a set whose answers are all alike."""


_FEATURES: Final = (
    _Feature("shouts in capitals", 0.5, 0.05),
    _Feature("exclamation marks", 0.03, 0.004),
    _Feature("emoji", 0.03, 0.004),
)
_SHORTEST: Final = 20
"""Characters below which an answer such as "OK!" or "QLoRA" has no style to speak of."""
_NO_CAPITALS: Final = bytes(code for code in range(256) if not chr(code).isupper() or code > 127)
_NO_LETTERS: Final = bytes(code for code in range(256) if not chr(code).isalpha() or code > 127)
_EMOJI: Final = re.compile("[\u2600-\u27bf\U0001f300-\U0001faff]")
_NORMAL: Final = 1.4826
"""Makes the median absolute deviation of a normal distribution its standard deviation."""
_SELF_TALK: Final = re.compile(
    r"(?:^|[.!?\n,]\s*)(?:as an? (?:ai|artificial intelligence|large language|language)(?: language)?"
    r"(?: model| assistant)?\b|jako (?:duży )?(?:model językowy|sztuczna inteligencja|asystent ai|ai)\b)"
    r"(?! (?:to|of|for|w|do|z)\b)"
    r"|\bi(?:['’]m| am) (?:just |only )?an? (?:ai|large language|language) (?:language )?(?:model|assistant)"
    r"\b"
    r"|\bjestem (?:tylko )?(?:dużym )?(?:modelem językowym|sztuczną inteligencją)\b",
    re.IGNORECASE,
)
_ASKED_WHO: Final = re.compile(
    r"\bare you\b|\bwho are\b|\b(?:can|could|do) you (?:feel|think|see|hear|have|know|learn|remember|dream)\b"
    r"|\bjesteś\b|\bczy (?:masz|czujesz|myślisz|widzisz|słyszysz|wiesz|pamiętasz|uczysz)\b",
    re.IGNORECASE,
)


def _find(items: Sequence[Item], _: Sequence[int], settings: HygieneSettings) -> dict[int, str]:
    """The positions of answers that talk of themselves as a language model or depart from the style."""
    measured = np.zeros((len(items), len(_FEATURES)), dtype=np.float32)
    found: dict[int, str] = {}
    for position, item in enumerate(items):
        output = item.pair.output
        if len(output) >= _SHORTEST:
            measured[position] = _measured(output)
        if _talks_of_itself(output) and not _ASKED_WHO.search(item.pair.instruction):
            found[position] = "talks of itself as a language model"
    if not items:
        return found
    for column, feature in enumerate(_FEATURES):
        values = measured[:, column]
        unusual = np.flatnonzero(values >= feature.floor)
        if not len(unusual):
            continue
        median = np.median(values)
        deviation = max(_NORMAL * float(np.median(np.abs(values - median))), feature.least_deviation)
        for position in unusual[(values[unusual] - median) / deviation > settings.style_deviation].tolist():
            found.setdefault(position, feature.why)
    return dict(sorted(found.items()))


def _measured(output: str) -> tuple[float, float, float]:
    """Capitals among the letters; exclamation marks and emoji among the characters; code left out."""
    text = without_code(output)
    raw = text.encode("ascii", errors="ignore")
    letters = raw.translate(None, _NO_LETTERS)
    capitals = len(letters.translate(None, _NO_CAPITALS)) / len(letters) if len(letters) >= _SHORTEST else 0.0
    characters = max(len(text), 1)
    emoji = 0 if text.isascii() else len(_EMOJI.findall(text))
    # one of either is no style; a short answer would have a large share of it
    marks = max(text.count("!") - 1, 0)
    return capitals, marks / characters, max(emoji - 1, 0) / characters


def _talks_of_itself(output: str) -> bool:
    small = output.lower()
    return (
        " ai" in small
        or "language model" in small
        or "artificial" in small
        or "językow" in small
        or "sztuczn" in small
    ) and _SELF_TALK.search(output) is not None


RULE: Final = SetRule(
    "style",
    "An answer far more in capitals, exclamation marks or emoji than the others (robust z-score), or that "
    "speaks as an AI language model unasked, is left out.",
    _find,
)
