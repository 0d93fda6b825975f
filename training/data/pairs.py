"""What a model is trained on: a question with its answer, a preference between two, or one answer's thumb.

Leaves to others: files of pairs (`pair_files`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Any, Final


@dataclass(frozen=True)
class TrainingPair:
    """A question with the answer that a model shall learn, and where they came from."""

    instruction: str
    input: str = ""
    output: str = ""
    task_type: str = "qa"
    language: str = "en"
    lineage: dict[str, Any] | None = None


@dataclass(frozen=True)
class PreferencePair:
    """A question with two answers, of which people preferred `chosen`."""

    instruction: str
    input: str = ""
    chosen: str = ""
    rejected: str = ""
    task_type: str = "qa"
    language: str = "en"
    lineage: dict[str, Any] | None = None

    def answered(self, answer: str) -> TrainingPair:
        """The question with one of its answers."""
        return TrainingPair(self.instruction, self.input, answer, self.task_type, self.language, self.lineage)


@dataclass(frozen=True)
class Thumb:
    """A question with one answer, and whether people found it `desirable`."""

    instruction: str
    input: str = ""
    output: str = ""
    desirable: bool = True
    task_type: str = "qa"
    language: str = "en"
    lineage: dict[str, Any] | None = None

    def pair(self) -> TrainingPair:
        """The question with its answer."""
        return TrainingPair(
            self.instruction, self.input, self.output, self.task_type, self.language, self.lineage
        )


COLUMNS: Final = tuple(field.name for field in fields(TrainingPair))


def utf8(text: str) -> bytes:
    """The text in UTF-8; half a surrogate pair, which JSON can say and UTF-8 cannot, is a question mark."""
    return text.encode(errors="replace")


def json_line(pair: TrainingPair | PreferencePair | Thumb) -> bytes:
    """The pair as one line of a .jsonl file; the same pair, the same bytes."""
    values = dict(vars(pair))  # `asdict` copies every text, which takes ten times as long
    if values["lineage"] is not None:
        values["lineage"] = dict(sorted(values["lineage"].items()))
    return utf8(json.dumps(values, ensure_ascii=False)) + b"\n"
