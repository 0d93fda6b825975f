"""Long prompts without holding up the event loop: refused by length, or tokenised on another thread.

A megabyte of text takes a second of CPU to tokenise. What certainly doesn't fit is refused by counting its
characters, and what is long but may fit is tokenised on a thread, where tokenizers release the GIL.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from bot.answering.answerer import Message

CHARACTERS_A_TOKEN: Final = 16
"""More characters than tokens have on average in any text that somebody means; English has 4 to 5."""

OFF_LOOP_CHARACTERS: Final = 16_384
"""Prompts above this are tokenised on a thread: at about 2 million characters a second they take 8 ms.

Shorter ones are tokenised at once, which costs less than changing threads and keeps the order of arrival.
"""

Result = TypeVar("Result")


def characters_of(messages: Sequence[Message]) -> int:
    """Characters of all `messages` together."""
    return sum(len(message["content"]) for message in messages)


def cannot_fit(messages: Sequence[Message], allowed: int) -> bool:
    """Whether `messages` are longer than any text of `allowed` tokens, going by their characters."""
    return characters_of(messages) > allowed * CHARACTERS_A_TOKEN


async def off_loop_if_long(characters: int, work: Callable[[], Result]) -> Result:
    """The result of `work`, which tokenises so many characters. Raises what it raises."""
    return await asyncio.to_thread(work) if characters > OFF_LOOP_CHARACTERS else work()
