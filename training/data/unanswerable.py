"""Packaged unanswerable questions with abstaining answers, and how many of them a dataset takes.

The questions are about what no community's bot can know: the future, private matters, things that it
never heard, and things that do not exist. The answers say so, and what would help.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from importlib import resources
from typing import Final

from training.data.candidates import NO_HISTORY, NO_NOTES, plain
from training.data.pairs import TrainingPair

UNANSWERABLE: Final = "not-knowing"
"""The task type of a question whose right answer abstains."""


def packaged() -> list[TrainingPair]:
    """The examples, in the order of the file; `lineage.packaged` names each."""
    text = resources.files("training.data").joinpath("unanswerable.jsonl").read_text(encoding="utf-8")
    return [
        TrainingPair(
            instruction=row["instruction"],
            output=row["output"],
            task_type=UNANSWERABLE,
            language=row["language"],
            lineage={
                "packaged": row["key"],
                "mode": "default",
                "history": NO_HISTORY,
                "notes": NO_NOTES,
            },
        )
        for row in map(json.loads, text.splitlines())
    ]


def to_fill_up(train: Sequence[TrainingPair], share: float, *, asked: Collection[str]) -> list[TrainingPair]:
    """The examples that make `share` of the training pairs abstain.

    They speak the languages of `train` in its proportions, and its commonest persona; none is a question of
    the examination (`asked`). There may be fewer than are needed.
    """
    known = sum(pair.task_type == UNANSWERABLE for pair in train)
    needed = max(0, math.ceil((share * len(train) - known) / (1 - share)))
    languages = Counter(pair.language for pair in train)
    if not needed:
        return []
    personas = Counter((pair.lineage or {}).get("persona", "") for pair in train)
    persona = min(personas, key=lambda name: (-personas[name], name))
    waiting = {
        language: [p for p in packaged() if p.language == language and plain(p.instruction) not in asked]
        for language in sorted(languages)
    }
    taken: Counter[str] = Counter()
    chosen: list[TrainingPair] = []
    while len(chosen) < needed and any(waiting.values()):
        # the language that is furthest behind its proportion comes next
        language = min(
            (name for name, left in waiting.items() if left),
            key=lambda name: (taken[name] / languages[name], name),
        )
        taken[language] += 1
        chosen.append(waiting[language].pop(0))
    return [replace(pair, lineage={**(pair.lineage or {}), "persona": persona}) for pair in chosen]
