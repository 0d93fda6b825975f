"""Tokens to text, piece by piece: whole characters only, and nothing from a stop string on."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

_HALF = "\ufffd"  # what a tokenizer decodes an unfinished character to


class Detokenizer:
    """Turns one answer's tokens into text; a character of several tokens comes with the last of them."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._tokens: list[int] = []
        self._start = 0  # of the tokens that still matter for how the next one is spelled
        self._read = 0  # tokens whose text has been given

    def add(self, token: int) -> str:
        """The text that `token` completes, maybe none."""
        self._tokens.append(token)
        before, now = self._window()
        if len(now) <= len(before) or now.endswith(_HALF):
            return ""
        self._start, self._read = self._read, len(self._tokens)
        return now[len(before) :]

    def rest(self) -> str:
        """What is left at the end; bytes that never became a character are dropped."""
        before, now = self._window()
        self._read = len(self._tokens)
        return now[len(before) :].rstrip(_HALF)

    def _window(self) -> tuple[str, str]:
        return self._decode(self._tokens[self._start : self._read]), self._decode(self._tokens[self._start :])

    def _decode(self, tokens: Sequence[int]) -> str:
        text = self._tokenizer.decode(tokens, skip_special_tokens=True)
        assert isinstance(text, str)
        return text


class StopStrings:
    """Cuts an answer at the first of `stops`; holds back text that may be the beginning of one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.hit = False

    def add(self, text: str) -> str:
        """The part of the text so far that can be said."""
        text = self._held + text
        found = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self.hit, self._held = True, ""
            return text[: min(found)]
        keep = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def rest(self) -> str:
        """What was held back and did not become a stop string."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """The length of the longest end of `text` that `stop` begins with."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
