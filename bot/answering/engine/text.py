"""Incremental detokenisation: tokens to whole characters, and nothing from a stop string on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_REPLACEMENT = "\ufffd"  # what tokenizers decode the bytes of an incomplete character to


class Detokenizer:
    """Turns one request's tokens into text; a character of several tokens comes with the last of them."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._tokens: list[int] = []
        self._start = 0  # of the context that the next token is decoded in
        self._emitted = 0  # tokens whose text has been returned

    def add(self, token: int) -> str:
        """The text that `token` completes, maybe none."""
        self._tokens.append(token)
        before, now = self._window()
        if len(now) <= len(before) or now.endswith(_REPLACEMENT):
            return ""
        self._start, self._emitted = self._emitted, len(self._tokens)
        return now[len(before) :]

    def flush(self) -> str:
        """The text left at the end; bytes that never became a character are dropped."""
        before, now = self._window()
        self._emitted = len(self._tokens)
        return now[len(before) :].rstrip(_REPLACEMENT)

    def _window(self) -> tuple[str, str]:
        return self._decode(self._tokens[self._start : self._emitted]), self._decode(
            self._tokens[self._start :]
        )

    def _decode(self, tokens: Sequence[int]) -> str:
        text = self._tokenizer.decode(tokens, skip_special_tokens=True)
        assert isinstance(text, str)
        return text


class StopStrings:
    """Cuts the text at the first of `stops`; buffers an end that may be the beginning of one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._buffer = ""
        self.hit = False

    def add(self, text: str) -> str:
        """The part of the text so far that no stop string can reach."""
        text = self._buffer + text
        hits = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if hits:
            self.hit, self._buffer = True, ""
            return text[: min(hits)]
        keep = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._buffer = text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        """The buffered text, which did not become a stop string."""
        text, self._buffer = self._buffer, ""
        return text


def _overlap(text: str, stop: str) -> int:
    """The length of the longest end of `text` that `stop` begins with."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
