"""Who is answered next: the communities by turns, each in its own order.

Bounded: a full queue refuses with how many come before the caller. A community that has taken less than its
fair share of the places is still let in, up to twice the bound, so a flood from one never shuts out another.
The same rule seats a community that has no answer under way although all seats are taken.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from typing import Generic, Protocol, TypeVar

from bot.errors import Busy

_CEILING = 2


class Waiting(Protocol):
    """What the queue needs to know of a job."""

    community: str


JobT = TypeVar("JobT", bound=Waiting)


class FairQueue(Generic[JobT]):
    """First come, first served within a community; round-robin among communities."""

    def __init__(self, most_running: int, most_waiting: int) -> None:
        self._most_running = most_running
        self._most_waiting = most_waiting
        self._lines: OrderedDict[str, deque[JobT]] = OrderedDict()  # the next community first
        self._running: Counter[str] = Counter()

    def __len__(self) -> int:
        return sum(len(line) for line in self._lines.values())

    def put(self, job: JobT) -> None:
        """Let `job` wait. Raises Busy when its community's share of the queue is used up."""
        waiting, own = len(self), len(self._lines.get(job.community, ()))
        communities = len(self._lines.keys() | {job.community})
        share = self._most_waiting // communities
        at_once = not waiting and self._has_seat(job.community)
        greedy = own >= share or waiting >= _CEILING * self._most_waiting
        if not at_once and waiting >= self._most_waiting and greedy:
            raise Busy(self._before(job.community))
        self._lines.setdefault(job.community, deque()).append(job)

    def take(self) -> JobT | None:
        """The next job that may run now, if any; it counts as running until `done`."""
        for community in list(self._lines):
            if not self._has_seat(community):
                continue
            line = self._lines[community]
            job = line.popleft()
            self._lines.move_to_end(community)
            if not line:
                del self._lines[community]
            self._running[community] += 1
            return job
        return None

    def done(self, job: JobT) -> None:
        """`job`, taken before, runs no more."""
        self._running[job.community] -= 1
        if not self._running[job.community]:
            del self._running[job.community]

    def remove(self, job: JobT) -> bool:
        """Take a waiting job out; False when it doesn't wait here."""
        line = self._lines.get(job.community)
        if line is None or job not in line:
            return False
        line.remove(job)
        if not line:
            del self._lines[job.community]
        return True

    def clear(self) -> list[JobT]:
        """Empty the queue and say who waited."""
        waiting = [job for line in self._lines.values() for job in line]
        self._lines.clear()
        return waiting

    def _has_seat(self, community: str) -> bool:
        running = self._running.total()
        if running < self._most_running:
            return True
        return community not in self._running and running < _CEILING * self._most_running

    def _before(self, community: str) -> int:
        own = len(self._lines.get(community, ()))
        others = (min(len(line), own + 1) for name, line in self._lines.items() if name != community)
        return own + sum(others)
