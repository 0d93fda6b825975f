"""Questions and answers that are too short to say something, or too long to be one example."""

from __future__ import annotations

from typing import Final

from training.data.hygiene.rule import Drop, PairRule
from training.data.pairs import TrainingPair
from training.settings import HygieneSettings


def _look(pair: TrainingPair, settings: HygieneSettings) -> Drop | None:
    question = len(pair.instruction.strip()) + len(pair.input.strip())
    answer = len(pair.output.strip())
    if question < settings.shortest_question or not pair.instruction.strip():
        return Drop("question too short")
    if question > settings.longest_question:
        return Drop("question too long")
    if answer < settings.shortest_answer:
        return Drop("answer too short")
    if answer > settings.longest_answer:
        return Drop("answer too long")
    return None


RULE: Final = PairRule(
    "length",
    "Questions and answers outside the lengths of the settings are left out.",
    _look,
)
