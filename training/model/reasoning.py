"""What a reasoning model thinks before it answers, taken apart from the answer.

Such models write their reasoning between tags at the beginning of what they say (`<think>…</think>`). Where
the chat template opens the block in the prompt already, as DeepSeek-R1's does, only the closing tag comes
from the model, alone on a line. Tags further on are part of the answer, and so is whatever stands in code.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

TAGS: Final = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "<reasoning>": "</reasoning>",
    "<seed:think>": "</seed:think>",
    "<|begin_of_thought|>": "<|end_of_thought|>",
}
"""The tags that models put around their reasoning, opening and closing."""
_CLOSING: Final = tuple(TAGS.values())
_MAY_REASON: Final = re.compile("|".join(map(re.escape, (*TAGS, *_CLOSING))))
_CLOSING_LINE: Final = re.compile(rf"^[ \t]*(?:{'|'.join(map(re.escape, _CLOSING))})", re.MULTILINE)
_FENCE: Final = re.compile(r"^[ \t]*```", re.MULTILINE)
_LONGEST_CLOSING: Final = max(map(len, _CLOSING))


@dataclass(frozen=True)
class Separated:
    """A piece of what a model says, reasoning and answer apart.

    `starts_over`: what was taken for the answer until now turned out to be reasoning.
    """

    answer: str = ""
    reasoning: str = ""
    starts_over: bool = False


def is_opened_by(prompt: str) -> bool:
    """Whether a prompt ends inside a reasoning block, so that the model begins with its reasoning."""
    return prompt.rstrip().endswith(tuple(TAGS))


def separated(text: str, *, opened: bool = False, cut_off: bool = False) -> Separated:
    """A whole text, reasoning and answer apart. An answer that was never begun is empty.

    `opened` and `cut_off` are as `Splitter` has them.
    """
    splitter = Splitter(opened=opened)
    answer, reasoning = "", ""
    for piece in (splitter.add(text), splitter.rest(cut_off=cut_off)):
        if piece.starts_over:
            answer, reasoning = "", reasoning + answer
        answer += piece.answer
        reasoning += piece.reasoning
    return Separated(answer.strip(), reasoning.strip()) if reasoning else Separated(answer)


def answer_of(text: str) -> str:
    """The text without reasoning; the very same text where there is none."""
    return separated(text).answer if _MAY_REASON.search(text) else text


class Splitter:
    """Separates a text that comes in pieces; keeps back no more than what may be the beginning of a tag.

    `opened`: the prompt has opened the block, so everything up to a closing tag is reasoning.
    """

    def __init__(self, *, opened: bool = False) -> None:
        self._closing: tuple[str, ...] = _CLOSING if opened else ()
        self._pending = ""
        self._answer = ""
        self._begun = False
        self._had_block = False
        self._thought = ""

    def add(self, text: str) -> Separated:
        """What is certain after the next piece."""
        self._pending += text
        answer, reasoning, starts_over = "", "", False
        while True:
            if self._closing:
                thought, closed = self._think()
                reasoning += thought
                if not closed:
                    break
            elif not self._begun:
                space = self._pending[: len(self._pending) - len(self._pending.lstrip())]
                if not self._had_block:
                    answer += space
                self._pending = self._pending[len(space) :]
                if not self._begin():
                    break
            else:
                said, lone = self._say()
                answer += said
                if not lone:
                    break
                answer, reasoning, starts_over = "", answer, True
        return Separated(answer, reasoning, starts_over)

    def rest(self, *, cut_off: bool = False) -> Separated:
        """What was not certain, at the end of the text; `cut_off` says that the length ended it.

        Where only the prompt had opened the block, and nothing has closed it, a model that came to its end
        has answered without reasoning, as an adapter does that was trained so.
        """
        pending, self._pending = self._pending, ""
        if not self._closing:
            return Separated(answer=pending)
        said = (self._thought + pending).lstrip()
        if self._had_block or cut_off or said.startswith(tuple(TAGS)):
            return Separated(reasoning=pending)
        self._closing = ()
        return Separated(answer=said)

    def _begin(self) -> bool:
        """Find out whether a block opens here; False while nobody can tell."""
        for opening, closing in TAGS.items():
            if self._pending.startswith(opening):
                self._pending, self._closing, self._had_block = (
                    self._pending[len(opening) :],
                    (closing,),
                    True,
                )
                return True
        self._begun = bool(self._pending) and not any(opening.startswith(self._pending) for opening in TAGS)
        return self._begun

    def _think(self) -> tuple[str, bool]:
        """The reasoning that is certain, and whether it has ended."""
        places = [(self._pending.find(tag), tag) for tag in self._closing if tag in self._pending]
        if places:
            place, tag = min(places)
            thought, self._pending = self._pending[:place], self._pending[place + len(tag) :]
            self._closing, self._had_block = (), True
            return thought, True
        certain = len(self._pending) - _length_of_beginning(self._pending, self._closing)
        thought, self._pending = self._pending[:certain], self._pending[certain:]
        self._thought += thought
        return thought, False

    def _say(self) -> tuple[str, bool]:
        """The answer that is certain; True when a lone closing tag says that all of it was reasoning."""
        if self._had_block:
            said, self._pending = self._pending, ""
            return said, False
        text = self._answer + self._pending
        lone = _CLOSING_LINE.search(text, max(0, len(self._answer) - _LONGEST_CLOSING))
        if lone is not None and len(_FENCE.findall(text, 0, lone.start())) % 2 == 0:
            unsaid = text[len(self._answer) : lone.start()]
            self._pending, self._had_block, self._begun = text[lone.end() :], True, False
            return unsaid, True
        line = text.rpartition("\n")[2].lstrip(" \t")
        waits = (
            bool(line) and len(line) <= len(self._pending) and any(tag.startswith(line) for tag in _CLOSING)
        )
        certain = len(self._pending) - (len(line) if waits else 0)
        said, self._pending = self._pending[:certain], self._pending[certain:]
        self._answer += said
        return said, False


def _length_of_beginning(text: str, tags: tuple[str, ...]) -> int:
    """How many characters at the end of `text` may be the beginning of one of `tags`."""
    longest = min(len(text), max(map(len, tags)) - 1)
    return next(
        (length for length in range(longest, 0, -1) if any(tag.startswith(text[-length:]) for tag in tags)),
        0,
    )
