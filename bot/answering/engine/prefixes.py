"""Keys and values that prompts share, kept for the next prompt that begins with the same tokens.

Keyed by the adapter's content hash, never by its name: what one adapter computed is never read by another,
nor by a newer adapter of the same name. Bounded in tokens; the least recently used goes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(eq=False)
class Prefix:
    """Tokens with their keys and values, [layers, 2, heads, len(tokens), head size]."""

    adapter: str
    tokens: tuple[int, ...]
    kept: Tensor


def common_length(a: Sequence[int], b: Sequence[int]) -> int:
    """How many leading items are the same."""
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return i
    return min(len(a), len(b))


class Prefixes:
    """The store. `adapter` is a content hash, or "" for the base model alone."""

    def __init__(self, most_tokens: int) -> None:
        self._most_tokens = most_tokens
        self._entries: list[Prefix] = []  # least recently used first

    def longest(self, adapter: str, prompt: Sequence[int]) -> tuple[Prefix | None, int]:
        """The entry that begins like `prompt` for longest, and for how long; the last token is never shared,

        because its logits must be computed.
        """
        best: Prefix | None = None
        length = 0
        for entry in self._entries:
            if entry.adapter == adapter:
                common = min(common_length(entry.tokens, prompt), len(prompt) - 1)
                if common > length:
                    best, length = entry, common
        if best is not None:
            self._entries.remove(best)
            self._entries.append(best)
        return best, length

    def covers(self, adapter: str, tokens: Sequence[int]) -> bool:
        """Whether an entry holds all of `tokens`."""
        return any(
            entry.adapter == adapter and common_length(entry.tokens, tokens) == len(tokens)
            for entry in self._entries
        )

    def keep(self, adapter: str, tokens: Sequence[int], kept: Tensor) -> None:
        """Keep a copy of `kept`, and drop the oldest entries until the rest fits."""
        if len(tokens) > self._most_tokens or self.covers(adapter, tokens):
            return
        self._entries.append(Prefix(adapter, tuple(tokens), kept.clone()))
        while sum(len(entry.tokens) for entry in self._entries) > self._most_tokens:
            self._entries.pop(0)

    def forget(self, adapter: str) -> None:
        """Drop everything that `adapter` computed."""
        self._entries = [entry for entry in self._entries if entry.adapter != adapter]

    def clear(self) -> None:
        """Drop everything."""
        self._entries.clear()
