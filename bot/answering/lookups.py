"""Answers under way stand still for the moment in which somebody's question is looked up.

Looking up takes both cores for some hundredths of a second, and beside an answer that uses them nearly twice
as long. A member who waits for a first word notices that; one who reads a growing answer does not notice a
pause so short. Whoever looks up says so here, and the engine waits between two steps.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

LONGEST_S: Final = 0.04
"""How long answers stand still for a question; one whose passages have to be read or indexed first takes
longer, and they go on beside it."""


class Lookups:
    """The questions that this process looks up now. For any thread; `clock` tells seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ended = threading.Condition()
        self._begun: list[float] = []

    @contextmanager
    def one(self) -> Iterator[None]:
        """A question is looked up within the block."""
        began = self._clock()
        with self._ended:
            self._begun.append(began)
        try:
            yield
        finally:
            with self._ended:
                self._begun.remove(began)
                self._ended.notify_all()

    def wait(self) -> None:
        """Return when nothing is looked up any more that began less than `LONGEST_S` ago.

        However many questions follow one another, it does not take longer than that either, so that answers
        come to their end.
        """
        end = self._clock() + LONGEST_S
        with self._ended:
            while self._begun and (left := min(end, max(self._begun) + LONGEST_S) - self._clock()) > 0:
                self._ended.wait(left)
