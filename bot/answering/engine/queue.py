"""Which waiting request runs next: the communities take turns, each first come, first served.

Bounded: a full queue refuses with how many come before the caller. A community that has less than its fair
share of the queue is still let in, up to twice the bound, so a flood from one never shuts out another.
By the same rule a community with no running request may start one when all slots are taken.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from typing import Generic, Protocol, TypeVar

from bot.errors import Busy

_CEILING = 2  # times the bounds, for communities below their fair share


class HasCommunity(Protocol):
    """What the queue needs to know of a request."""

    community: str


RequestT = TypeVar("RequestT", bound=HasCommunity)


class FairQueue(Generic[RequestT]):
    """First come, first served within a community; round-robin among communities."""

    def __init__(self, max_running: int, max_waiting: int) -> None:
        self._max_running = max_running
        self._max_waiting = max_waiting
        self._waiting: OrderedDict[str, deque[RequestT]] = OrderedDict()  # the next community first
        self._running: Counter[str] = Counter()

    def __len__(self) -> int:
        return sum(len(queue) for queue in self._waiting.values())

    def put(self, request: RequestT) -> None:
        """Queue `request`. Raises Busy when its community's share of the queue is used up."""
        waiting, own = len(self), len(self._waiting.get(request.community, ()))
        communities = len(self._waiting.keys() | {request.community})
        share = self._max_waiting // communities
        runs_at_once = not waiting and self._may_run(request.community)
        has_its_share = own >= share or waiting >= _CEILING * self._max_waiting
        if not runs_at_once and waiting >= self._max_waiting and has_its_share:
            raise Busy(self._before(request.community))
        self._waiting.setdefault(request.community, deque()).append(request)

    def take(self) -> RequestT | None:
        """The next request that may run now, if any; it counts as running until `done`."""
        for community in list(self._waiting):
            if not self._may_run(community):
                continue
            queue = self._waiting[community]
            request = queue.popleft()
            self._waiting.move_to_end(community)
            if not queue:
                del self._waiting[community]
            self._running[community] += 1
            return request
        return None

    def done(self, request: RequestT) -> None:
        """`request`, taken before, no longer runs."""
        self._running[request.community] -= 1
        if not self._running[request.community]:
            del self._running[request.community]

    def remove(self, request: RequestT) -> bool:
        """Take a waiting request out; False when it doesn't wait here."""
        queue = self._waiting.get(request.community)
        if queue is None or request not in queue:
            return False
        queue.remove(request)
        if not queue:
            del self._waiting[request.community]
        return True

    def clear(self) -> list[RequestT]:
        """Empty the queue and return what waited."""
        waiting = [request for queue in self._waiting.values() for request in queue]
        self._waiting.clear()
        return waiting

    def _may_run(self, community: str) -> bool:
        running = self._running.total()
        if running < self._max_running:
            return True
        return community not in self._running and running < _CEILING * self._max_running

    def _before(self, community: str) -> int:
        own = len(self._waiting.get(community, ()))
        others = (min(len(queue), own + 1) for name, queue in self._waiting.items() if name != community)
        return own + sum(others)
