"""Opening the record may be stopped at any moment; no connection outlives it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from pathlib import Path

import pytest

from bot.settings import load_settings
from feedback.database import opened


@pytest.mark.parametrize("steps", range(0, 40, 3))
def test_whoever_is_stopped_while_the_record_opens_leaves_no_thread_that_complains(
    steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_settings(data=tmp_path)
    complaints: list[object] = []
    monkeypatch.setattr(threading, "excepthook", complaints.append)
    before = set(threading.enumerate())

    async def stop_after() -> None:
        opening = asyncio.create_task(opened(settings.database_url))
        for _ in range(steps):
            await asyncio.sleep(0)
        opening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await (await opening).close()

    asyncio.run(open_and_close(settings.data))
    asyncio.run(stop_after())
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=10)
    assert complaints == []


async def open_and_close(data: Path) -> None:
    """Make the record's file, so that opening it again is quick."""
    await (await opened(load_settings(data=data).database_url)).close()
