"""Nearly the same question with nearly the same answer; the first of them stays.

Questions are grouped by `training.data.similar_texts` (MinHash); within a group, answers that share
`same_answer` of their words, with the same numbers and negations, are one answer. A question asked again
that got another answer stays: what it is worth is for the contradictions rule and for moderators.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from training.data.hygiene.rule import Item, SetRule
from training.data.similar_texts import Vocabulary, are_alike, tokens
from training.settings import HygieneSettings

_MOST_COMPARED: Final = 32
"""Different answers of one group of questions that a further one is compared with."""


def _find(items: Sequence[Item], groups: Sequence[int], settings: HygieneSettings) -> dict[int, str]:
    """The positions of answers that nearly repeat an earlier one of their group."""
    members: dict[int, list[int]] = defaultdict(list)
    for position, group in enumerate(groups):
        members[group].append(position)
    vocabulary = Vocabulary()
    found: dict[int, str] = {}
    for positions in members.values():
        if len(positions) < 2:
            continue
        kept: list[tuple[str, set[int]]] = []
        for position in positions:
            pair = items[position].pair
            own = tokens(pair.output, vocabulary)
            if any(
                language == pair.language and are_alike(own, other, settings.same_answer)
                for language, other in kept
            ):
                found[position] = "nearly the same question has nearly this answer"
            elif len(kept) < _MOST_COMPARED:
                kept.append((pair.language, own))
    return dict(sorted(found.items()))


RULE: Final = SetRule(
    "near-duplicates",
    "Of pairs whose questions differ in case, punctuation and a word or two (MinHash) and whose answers are "
    "nearly the same, the first stays.",
    _find,
)
