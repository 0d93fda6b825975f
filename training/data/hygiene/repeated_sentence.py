"""The same sentence in answers that otherwise differ: named for a moderator, never left out.

A fact that somebody planted in some approved answers looks like this, or a taunt in many; and so does a
phrase that a community ends its answers with. A long one is no coincidence in a few answers, a short one in
a good part of them: neither stands in the demo's 68 answers or in the 7,473 of GSM8K's training set. No rule
can tell a poison from a phrase; whoever reads the dataset's manifest or the run's verdict can at a glance.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from training.data.hygiene.rule import Item, without_code

LONG: Final = 12
"""Words from which on a sentence is long."""
FEWEST_WORDS: Final = 2
FEWEST_ANSWERS: Final = 3
"""Different answers that have a long sentence before it is worth a look."""
FEWEST_ANSWERS_WITH_SHORT: Final = 8
LEAST_SHARE_WITH_SHORT: Final = 0.05
"""A short one needs so many, and this share of all different answers: a greeting repeats in any good set."""
_SENTENCE: Final = re.compile(r"[^.!?…\n]+(?:[.!?…](?!\s|$)[^.!?…\n]*)*[.!?…]*")
_WORD: Final = re.compile(r"\w+")


def find(items: Sequence[Item]) -> Mapping[str, list[int]]:
    """Each such sentence as it first stands, with the positions of the answers that have it."""
    written: dict[str, str] = {}
    positions: dict[str, list[int]] = defaultdict(list)
    answers: dict[str, set[str]] = defaultdict(set)
    lengths: dict[str, int] = {}
    for position, item in enumerate(items):
        seen = set()
        for match in _SENTENCE.finditer(without_code(item.pair.output)):
            words = _WORD.findall(match.group().casefold())
            sentence = " ".join(words)
            if len(words) >= FEWEST_WORDS and sentence not in seen:
                seen.add(sentence)
                written.setdefault(sentence, match.group().strip())
                lengths[sentence] = len(words)
                positions[sentence].append(position)
                answers[sentence].add(item.pair.output)
    different = len({item.pair.output for item in items})
    enough_of_short = max(FEWEST_ANSWERS_WITH_SHORT, LEAST_SHARE_WITH_SHORT * different)
    return {
        written[sentence]: positions[sentence]
        for sentence, found in answers.items()
        if len(found) >= (FEWEST_ANSWERS if lengths[sentence] >= LONG else enough_of_short)
    }
