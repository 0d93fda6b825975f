"""One thing after another where order counts, such as the thumbs of one member under one answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary


class KeyedLock:
    """Lets blocks of the same key run one after another, first come first; others wait for none."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[tuple[Hashable, ...], asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def of(self, *key: Hashable) -> AsyncIterator[None]:
        """Wait until everything that came earlier with that key is done."""
        # as long as somebody is in it or waits for it, somebody holds the lock, and the dictionary knows it
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            yield
