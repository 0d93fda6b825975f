"""The prefix cache: keys and values of prefixes that prompts share, for the next prompt that has one.

Keyed by the adapter's content hash, never by its name: what one adapter computed is never read by another,
nor by a newer adapter of the same name. What belongs to a community is read for that community alone, so
that nobody learns from the speed of an answer what others were asked. Bounded in tokens; the least recently
used entry goes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from torch import Tensor

from bot.answering.engine.cache import copy
from training.model.libraries import is_out_of_memory

EVERYONE: Final = None
"""The community of prefixes that hold nothing that anybody said, such as a persona."""


@dataclass(eq=False)
class Prefix:
    """Tokens with their `keys_values`, (L, 2, K, len(tokens), D)."""

    adapter: str
    community: str | None
    tokens: tuple[int, ...]
    keys_values: Tensor


def common_length(a: Sequence[int], b: Sequence[int]) -> int:
    """How many leading items are the same."""
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return i
    return min(len(a), len(b))


class PrefixCache:
    """At most `max_tokens` of prefixes. `adapter` is a content hash, or "" for the base model alone."""

    def __init__(self, max_tokens: int) -> None:
        self._max_tokens = max_tokens
        self._entries: list[Prefix] = []  # least recently used first

    def longest(self, adapter: str, community: str, prompt: Sequence[int]) -> tuple[Prefix | None, int]:
        """The entry that `community` may read with the longest common prefix with `prompt`, and its length.

        Never all of the prompt: the logits of its last token must be computed.
        """
        best: Prefix | None = None
        length = 0
        for entry in self._entries:
            if entry.adapter == adapter and entry.community in (EVERYONE, community):
                common = min(common_length(entry.tokens, prompt), len(prompt) - 1)
                if common > length:
                    best, length = entry, common
        if best is not None:
            self._entries.remove(best)
            self._entries.append(best)
        return best, length

    def covers(self, adapter: str, community: str | None, tokens: Sequence[int]) -> bool:
        """Whether an entry of that very community, or of everyone, holds all of `tokens`."""
        return any(
            entry.adapter == adapter
            and entry.community == community
            and common_length(entry.tokens, tokens) == len(tokens)
            for entry in self._entries
        )

    def add(self, adapter: str, community: str | None, tokens: Sequence[int], keys_values: Tensor) -> None:
        """Add a copy of `keys_values`; it takes the place of entries that it covers, then of the oldest.

        Without the memory for a copy nothing is kept, and nothing fails.
        """
        if len(tokens) > self._max_tokens or self.covers(adapter, community, tokens):
            return
        self._entries = [
            entry
            for entry in self._entries
            if (entry.adapter, entry.community) != (adapter, community)
            or common_length(entry.tokens, tokens) < len(entry.tokens)
        ]
        while sum(len(entry.tokens) for entry in self._entries) + len(tokens) > self._max_tokens:
            self._entries.pop(0)
        try:
            kept = keys_values.new_empty(keys_values.shape)
            copy(kept, keys_values)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            self.clear()
            return
        self._entries.append(Prefix(adapter, community, tuple(tokens), kept))

    def remove(self, adapter: str) -> None:
        """Remove everything that `adapter` computed."""
        self._entries = [entry for entry in self._entries if entry.adapter != adapter]

    def clear(self) -> None:
        """Remove everything."""
        self._entries.clear()
