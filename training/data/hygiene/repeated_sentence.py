"""The same long sentence in answers that otherwise differ: named for a moderator, never left out.

A fact that somebody planted in many approved answers looks like this, and so does a phrase that a community
ends its answers with. No rule can tell them apart; whoever reads the dataset's manifest or the run's verdict
can at a glance.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from training.data.hygiene.rule import Item, without_code

FEWEST_WORDS: Final = 12
"""Shorter sentences repeat in any good set: a greeting, "Further reading:" and a paper."""
FEWEST_ANSWERS: Final = 4
"""Different answers that have the sentence before it is worth a look."""
_SENTENCE: Final = re.compile(r"[^.!?…\n]+(?:[.!?…](?!\s|$)[^.!?…\n]*)*[.!?…]*")
_WORD: Final = re.compile(r"\w+")


def find(items: Sequence[Item]) -> Mapping[str, list[int]]:
    """Each such sentence as it first stands, with the positions of the answers that have it."""
    written: dict[str, str] = {}
    positions: dict[str, list[int]] = defaultdict(list)
    answers: dict[str, set[str]] = defaultdict(set)
    for position, item in enumerate(items):
        seen = set()
        for match in _SENTENCE.finditer(without_code(item.pair.output)):
            words = _WORD.findall(match.group().casefold())
            sentence = " ".join(words)
            if len(words) >= FEWEST_WORDS and sentence not in seen:
                seen.add(sentence)
                written.setdefault(sentence, match.group().strip())
                positions[sentence].append(position)
                answers[sentence].add(item.pair.output)
    return {
        written[sentence]: positions[sentence]
        for sentence, found in answers.items()
        if len(found) >= FEWEST_ANSWERS
    }
