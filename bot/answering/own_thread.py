"""Heavy computing on a thread that ends with it.

OpenMP keeps a team of threads for each thread that ever computed in parallel, until that thread ends. While
there are more of them than cores, every team sleeps between two pieces of work instead of spinning, and is
woken for each: one answer alone then comes a third slower (measured on two cores). So in a process that
answers only the engine's own thread may keep a team.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

Result = TypeVar("Result")


async def apart(work: Callable[[], Result]) -> Result:
    """The result of `work`, done on a thread of its own. Raises what it raises."""
    threads = ThreadPoolExecutor(1, "apart")
    try:
        return await asyncio.get_running_loop().run_in_executor(threads, work)
    finally:
        threads.shutdown(wait=False)


@asynccontextmanager
async def own_threads() -> AsyncIterator[None]:
    """Let the threads of `asyncio.to_thread` end with the block."""
    loop = asyncio.get_running_loop()
    threads = ThreadPoolExecutor(thread_name_prefix="apart")
    loop.set_default_executor(threads)
    try:
        yield
    finally:
        loop.set_default_executor(ThreadPoolExecutor())
        threads.shutdown(wait=False)
