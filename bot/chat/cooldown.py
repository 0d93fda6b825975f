"""How long a member waits between two questions, and a community between bursts.

A member asks once in its community's `cooldown_seconds`; a community as a whole at most `BURST` times in
`BURST_SECONDS`, so that a raid is slowed down and a lively evening is not.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final

BURST: Final = 300
BURST_SECONDS: Final = 60.0
_MOST_KEPT: Final = 50_000


class Cooldowns:
    """Remembers when each member may ask again; one instance per platform. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._free_at: dict[tuple[str, str], float] = {}
        self._bursts: dict[str, deque[float]] = {}

    def take(self, community: str, member: str, seconds: float) -> float:
        """0 when the member may ask now, which counts as asking; else the seconds until then."""
        now = self._clock()
        key = (community, member)
        wait = self._free_at.get(key, 0.0) - now
        burst = self._bursts.setdefault(community, deque(maxlen=BURST))
        if len(burst) == BURST:
            wait = max(wait, burst[0] + BURST_SECONDS - now)
        if wait > 0:
            return wait
        burst.append(now)
        if len(self._free_at) >= _MOST_KEPT:
            self._free_at = {key: free_at for key, free_at in self._free_at.items() if free_at > now}
        self._free_at[key] = now + seconds
        return 0.0
