"""What a hygiene rule is: it looks at pairs, and says which to leave out or how to mend them, and why.

A `PairRule` sees one pair at a time, a `SetRule` all that are left. Rules are pure: the same pairs and
settings give the same findings. `training.data.hygiene.clean` runs them and counts; reasons are few and
fixed, so that they can be counted, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from training.data.pairs import TrainingPair
from training.settings import HygieneRule, HygieneSettings

_CODE: Final = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Item:
    """A pair on its way into a dataset, with what the caller needs to know it again.

    `key` is the turn's id. `member` is who asked, by any name; `topic` what the pair is about as the caller
    sees it. Either may be empty: nobody's pairs are not capped, and without a topic of its own a pair has
    that of its group of near-duplicate questions. `context` is what was asked right before in the same
    conversation: "Why?" is the same question only after the same one. `exempt` names rules that leave the
    pair alone.
    """

    key: int
    pair: TrainingPair
    member: str = ""
    topic: str = ""
    context: str = ""
    exempt: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Drop:
    """The pair is left out."""

    why: str


@dataclass(frozen=True, slots=True)
class Mend:
    """The pair stays, changed."""

    pair: TrainingPair
    why: str


@dataclass(frozen=True)
class PairRule:
    """A rule that sees one pair at a time; looking again at what it mended finds nothing more."""

    name: HygieneRule
    description: str
    look: Callable[[TrainingPair, HygieneSettings], Drop | Mend | None]


@dataclass(frozen=True)
class SetRule:
    """A rule that sees all pairs; `find` says which positions to leave out, and why.

    The second argument is the group of near-duplicate questions that each item belongs to.
    """

    name: HygieneRule
    description: str
    find: Callable[[Sequence[Item], Sequence[int], HygieneSettings], dict[int, str]]


def question_of(pair: TrainingPair) -> str:
    """The instruction, and its input below it."""
    return f"{pair.instruction}\n{pair.input}" if pair.input else pair.instruction


def without_code(text: str) -> str:
    """The text without fenced blocks and code in backticks, where anything may stand."""
    return _CODE.sub(" ", text) if "`" in text else text


def each_text(pair: TrainingPair, change: Callable[[str], str]) -> TrainingPair:
    """The pair with `change` applied to its three texts; the very same object where nothing changes."""
    instruction, context, output = change(pair.instruction), change(pair.input), change(pair.output)
    if (instruction, context, output) == (pair.instruction, pair.input, pair.output):
        return pair
    return replace(pair, instruction=instruction, input=context, output=output)


def outside_code(text: str, change: Callable[[str], str]) -> str:
    """The text with `change` applied to what is not code."""
    if "`" not in text:
        return change(text)
    parts = []
    end = 0
    for code in _CODE.finditer(text):
        parts += [change(text[end : code.start()]), code[0]]
        end = code.end()
    return "".join((*parts, change(text[end:])))
