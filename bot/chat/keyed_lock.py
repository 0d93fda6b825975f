"""Runs things one after another where order matters, such as one member's thumbs under one answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary


class KeyedLock:
    """Runs blocks with the same key one after another, first come, first served; other keys do not wait."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[tuple[Hashable, ...], asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def of(self, *key: Hashable) -> AsyncIterator[None]:
        """Wait until everything that came earlier with that key has finished."""
        # the dictionary keeps a lock for as long as a block holds it or waits for it
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            yield
