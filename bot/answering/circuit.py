"""A circuit breaker (Nygard, Release It!): a server that keeps failing is left alone for a while.

Closed, every caller may try. After `failures` in a row it is open, and nobody may for `pause_s` seconds; then
one caller may (half-open), whose success closes it and whose failure opens it again.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class Circuit:
    """Counts failures in a row. A caller that `may_try` must report the outcome; all calls on one thread."""

    def __init__(self, failures: int, pause_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_failures = failures
        self._pause_s = pause_s
        self._clock = clock
        self._failures = 0
        self._open_until: float | None = None
        self._half_open = False

    @property
    def retry_in_s(self) -> float:
        """Seconds until a caller may try; 0 when one may now."""
        if self._open_until is None:
            return 0.0
        return max(0.0, self._open_until - self._clock())

    def may_try(self) -> bool:
        """Whether the caller may try now."""
        if self._open_until is None:
            return True
        if self._half_open or self._clock() < self._open_until:
            return False
        self._half_open = True
        return True

    def succeeded(self) -> None:
        """The server answered, even if it refused."""
        self._failures, self._open_until, self._half_open = 0, None, False

    def failed(self) -> None:
        """The server failed."""
        self._failures += 1
        self._half_open = False
        if self._failures >= self._max_failures:
            self._open_until = self._clock() + self._pause_s

    def gave_up(self) -> None:
        """The caller was cancelled before there was an outcome: the next one may try in its place."""
        self._half_open = False
