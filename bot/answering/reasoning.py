"""Where answers leave an Answerer, its model's reasoning is set apart: the same for every implementation.

`Piece.text` is then the answer alone. Leaves to others: what reasoning looks like
(`training.model.reasoning`), and whether anybody sees it (`assistant.py`).
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from typing import Protocol, TypeVar

from bot.answering.answerer import AnswerRequest, Piece
from training.model.reasoning import Separated, Splitter


class Reasons(Protocol):
    """An Answerer whose model may reason; `opens_reasoning`: its prompts end inside a reasoning block."""

    opens_reasoning: bool


Reasoning = TypeVar("Reasoning", bound=Reasons)
Stream = Callable[[Reasoning, AnswerRequest], AsyncGenerator[Piece, None]]


def set_apart(stream: Stream[Reasoning]) -> Stream[Reasoning]:
    """Decorate the `stream` of an Answerer whose model may reason before it answers.

    A server that sets reasoning apart by itself fills `Piece.reasoning`; what it calls the answer is then
    taken as such. A model that is found to close a block that it has not opened is expected to do so again.
    """

    @functools.wraps(stream)
    async def apart(answerer: Reasoning, request: AnswerRequest) -> AsyncGenerator[Piece, None]:
        splitter = Splitter(opened=answerer.opens_reasoning)
        async with contextlib.aclosing(stream(answerer, request)) as pieces:
            async for piece in pieces:
                if piece.reasoning:
                    splitter = Splitter()
                    yield piece
                    continue
                found = splitter.add(piece.text)
                if found.starts_over:
                    answerer.opens_reasoning = True
                if piece.usage is not None:
                    rest = splitter.rest(cut_off=piece.usage.finish_reason != "stop")
                    found = replace(
                        found, answer=found.answer + rest.answer, reasoning=found.reasoning + rest.reasoning
                    )
                if found != Separated() or piece.usage is not None:
                    yield Piece(found.answer, piece.usage, found.reasoning, found.starts_over)

    return apart
