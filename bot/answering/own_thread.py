"""Heavy computing on a thread that ends with the work.

OpenMP keeps a team of threads for each thread that ever computed in parallel, until that thread ends. While
there are more of them than cores, every team sleeps between two pieces of work instead of spinning, and must
be woken for each: a single answer then takes a third longer (measured on two cores). So in a process that
answers, only the engine's own thread may keep a team.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

Result = TypeVar("Result")


async def run_in_own_thread(work: Callable[[], Result]) -> Result:
    """The result of `work`, run on a new thread that ends with it. Raises what it raises."""
    executor = ThreadPoolExecutor(1, "own-thread")
    try:
        return await asyncio.get_running_loop().run_in_executor(executor, work)
    finally:
        executor.shutdown(wait=False)


@asynccontextmanager
async def temporary_default_executor() -> AsyncIterator[None]:
    """The threads that `asyncio.to_thread` starts within the block end with it."""
    loop = asyncio.get_running_loop()
    executor = ThreadPoolExecutor(thread_name_prefix="temporary")
    loop.set_default_executor(executor)
    try:
        yield
    finally:
        loop.set_default_executor(ThreadPoolExecutor())
        executor.shutdown(wait=False)
