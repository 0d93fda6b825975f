"""A circuit breaker (Nygard, Release It!): a server that fails again and again is left alone for a while.

Closed, everyone may try. After `failures` in a row it is open, and nobody may for `pause_s` seconds; then one
caller may (half-open), whose success closes it and whose failure opens it anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class Circuit:
    """Counts failures in a row. Whoever `may_try` must then say how it went; all calls on one thread."""

    def __init__(self, failures: int, pause_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = failures
        self._pause_s = pause_s
        self._clock = clock
        self._failures = 0
        self._open_until: float | None = None
        self._probing = False

    @property
    def closed_in_s(self) -> float:
        """Seconds until somebody may try; 0 when one may now."""
        if self._open_until is None:
            return 0.0
        return max(0.0, self._open_until - self._clock())

    def may_try(self) -> bool:
        """Whether the caller may try now."""
        if self._open_until is None:
            return True
        if self._probing or self._clock() < self._open_until:
            return False
        self._probing = True
        return True

    def succeeded(self) -> None:
        """The server answered, if only to refuse."""
        self._failures, self._open_until, self._probing = 0, None, False

    def failed(self) -> None:
        """The server failed."""
        self._failures += 1
        self._probing = False
        if self._failures >= self._most:
            self._open_until = self._clock() + self._pause_s

    def gave_up(self) -> None:
        """The caller was cancelled before it knew: the next one may try in its place."""
        self._probing = False
