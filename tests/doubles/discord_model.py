"""The real answerer over a tiny model, steered by a test: held in the middle, or given its words."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from bot.answering.answerer import AnswerRequest, Piece
from bot.answering.local import LocalAnswerer

Wait = Callable[[Awaitable[Any]], Awaitable[Any]]


class SteeredAnswerer(LocalAnswerer):
    """Says what the tiny model says, or the next of `scripts`; after `hold_after` pieces it waits for `go`.

    Each piece takes `slow_s` more seconds, as a larger model's would.

    `faults` are raised after the first piece, one for each question. `asked` is what it was asked.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.reset()

    def reset(self) -> None:
        """Forget what an earlier test asked for."""
        self.asked: list[AnswerRequest] = []
        self.scripts: list[list[str]] = []
        self.faults: list[Exception] = []
        self.hold_after: int | None = None
        self.slow_s = 0.0
        self.go = asyncio.Event()
        self.wait: Wait = _just_wait

    async def stream(self, request: AnswerRequest) -> AsyncGenerator[Piece, None]:
        self.asked.append(request)
        script = self.scripts.pop(0) if self.scripts else None
        fault = self.faults.pop(0) if self.faults else None
        said = 0
        async with contextlib.aclosing(super().stream(request)) as pieces:
            async for piece in pieces:
                if fault is not None and said == 1:
                    raise fault
                if self.hold_after == said:
                    await self.wait(self.go.wait())
                if self.slow_s:
                    await asyncio.sleep(self.slow_s)
                if script is None:
                    yield piece
                elif script and piece.usage is None:
                    yield Piece(script.pop(0))
                elif piece.usage is not None:
                    for text in script:
                        yield Piece(text)
                    yield Piece("", piece.usage)
                said += 1


async def _just_wait(event: Awaitable[Any]) -> Any:
    return await event
