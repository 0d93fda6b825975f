"""Work that hears of its cancellation, whatever its library makes of it."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from feedback.cancellation import insisting


async def test_work_whose_library_swallows_its_cancellation_ends_all_the_same() -> None:
    begun = asyncio.Event()

    async def serve() -> None:
        begun.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    serving = asyncio.create_task(insisting(serve(), again_s=0.0))
    await begun.wait()
    serving.cancel()
    async with asyncio.timeout(60):
        with pytest.raises(asyncio.CancelledError):
            await serving


async def test_cancelled_work_is_given_time_to_put_its_things_in_order() -> None:
    begun, put_in_order = asyncio.Event(), asyncio.Event()

    async def serve() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(100):
                await asyncio.sleep(0)
            put_in_order.set()

    serving = asyncio.create_task(insisting(serve()))
    await begun.wait()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert put_in_order.is_set()


async def test_what_work_gives_and_raises_passes_through() -> None:
    async def answer(given: int) -> int:
        return 10 // given

    assert await insisting(answer(2)) == 5
    with pytest.raises(ZeroDivisionError):
        await insisting(answer(0))
