"""One member or one topic with more than its share of the pairs; which of them stay, their own hash decides.

Some pairs are always allowed, so that small communities, where a few people ask nearly everything, keep what
they have. Pairs of nobody in particular, such as imported ones, are not capped. The topic of a pair is
the caller's where it gave one, else its group of near-duplicate questions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from hashlib import blake2b
from typing import Final

from training.data.hygiene.rule import Item, SetRule, question_of
from training.settings import HygieneSettings

ANYBODYS: Final = 500
"""Pairs that any member may have."""
ANY_TOPICS: Final = 50
"""Pairs that any topic may have."""


def _find_members(items: Sequence[Item], _: Sequence[int], settings: HygieneSettings) -> dict[int, str]:
    owners = [item.member or None for item in items]
    return _beyond(items, owners, settings.most_from_member, ANYBODYS, "more than a member's share")


def _find_topics(items: Sequence[Item], groups: Sequence[int], settings: HygieneSettings) -> dict[int, str]:
    owners = [item.topic or group for item, group in zip(items, groups, strict=True)]
    return _beyond(items, owners, settings.most_on_topic, ANY_TOPICS, "more than a topic's share")


def _beyond(
    items: Sequence[Item], owners: Sequence[Hashable | None], share: float, at_least: int, why: str
) -> dict[int, str]:
    """The positions beyond the most that one owner may have; pairs without one add to the whole."""
    positions: dict[Hashable, list[int]] = defaultdict(list)
    for position, owner in enumerate(owners):
        if owner is not None:
            positions[owner].append(position)
    sizes = sorted(map(len, positions.values()), reverse=True)
    most = max(at_least, _most(sizes, len(items) - sum(sizes), share))
    found: dict[int, str] = {}
    for owned in positions.values():
        if len(owned) > most:
            owned.sort(key=lambda position: (_hash(items[position]), items[position].key))
            found |= dict.fromkeys(owned[most:], why)
    return dict(sorted(found.items()))


def _most(sizes: Sequence[int], others: int, share: float) -> int:
    """The most pairs of one owner that are no more than `share` of what is left when all are cut to it.

    `sizes` are the owners' numbers of pairs, largest first, and `others` those without one.
    """
    rest = others + sum(sizes)
    if not sizes or sizes[0] <= int(share * rest):
        return rest
    for cut, size in enumerate(sizes, start=1):
        # with the `cut` largest owners at m each: m = share · (rest + cut · m)
        rest -= size
        if share * cut >= 1:
            return size
        most = int(share * rest / (1 - share * cut))
        if cut == len(sizes) or most >= sizes[cut]:
            return most
    raise AssertionError("the last owner ends the loop")


def _hash(item: Item) -> bytes:
    text = f"{question_of(item.pair)}\0{item.pair.output}"
    return blake2b(text.encode(errors="replace"), digest_size=8).digest()


MEMBERS: Final = SetRule(
    "dominating-member",
    "No member's questions are more than `most_from_member` of the pairs; which stay is chosen by hash.",
    _find_members,
)
TOPICS: Final = SetRule(
    "dominating-topic",
    "No topic is more than `most_on_topic` of the pairs; which stay is chosen by hash.",
    _find_topics,
)
