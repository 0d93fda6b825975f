"""The same question with the same answer once more; spaces do not count."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

from training.data.hygiene.rule import Item, SetRule
from training.settings import HygieneSettings


def _find(items: Sequence[Item], _: Sequence[int], __: HygieneSettings) -> dict[int, str]:
    seen: set[bytes] = set()
    found: dict[int, str] = {}
    for position, item in enumerate(items):
        pair = item.pair
        texts = "\0".join(
            " ".join(text.split()) for text in (item.context, pair.instruction, pair.input, pair.output)
        )
        digest = blake2b(texts.encode(errors="replace"), digest_size=16).digest()
        if digest in seen:
            found[position] = "question and answer are there already"
        else:
            seen.add(digest)
    return found


RULE: Final = SetRule(
    "exact-duplicates",
    "Of pairs whose question, input and answer are the same but for spaces, the first stays.",
    _find,
)
