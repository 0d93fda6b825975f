"""Two hundred decisions by keyboard: each lands in the record, and how long the server took is printed.

The server's share of a decision is from the key's arrival until the next card has been made. It is timed and
never asserted, for it says as much about the machine: `pytest -s` shows it. Processor time, which a busy
machine does not stretch, is the whole process's: the test's own and what loads in the background count in.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from statistics import median, quantiles
from typing import Any

import pytest
from playwright.async_api import Page, expect

from bot.console import review as review_module
from bot.console.review import _Review
from tests.bot.console.conftest import Served

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]
DECISIONS = 200
WORDS = ("rank", "alpha", "tokens", "loss", "adapter", "dataset", "prompt", "vote", "batch")


async def test_two_hundred_decisions_by_keyboard_all_land(
    page: Page, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = await served.only_waiting(
        *(f"Answer {number} about {WORDS[number % len(WORDS)]}." for number in range(DECISIONS))
    )
    took: list[float] = []
    worked: list[float] = []
    decide: Callable[..., Awaitable[None]] = _Review._decide

    async def timed(self: _Review, *arguments: Any, **named: Any) -> None:
        began, before = time.perf_counter(), time.process_time()
        await decide(self, *arguments, **named)
        took.append(1000 * (time.perf_counter() - began))
        worked.append(1000 * (time.process_time() - before))

    monkeypatch.setattr(review_module._Review, "_decide", timed)
    await page.goto("/review")
    began = time.perf_counter()
    for number, turn in enumerate(turns):
        await expect(page.get_by_text(f"#{turn} ·")).to_be_visible()
        if number % 4 == 3:
            await page.keyboard.press("r")
            await page.keyboard.press(str(number % 5 + 1))
        else:
            await page.keyboard.press("a")
    await expect(page.get_by_text("Nothing waits for review")).to_be_visible()
    whole = time.perf_counter() - began
    states = [(await served.turn(turn)).review_state for turn in turns]
    assert states == ["rejected" if number % 4 == 3 else "approved" for number in range(DECISIONS)]
    assert len(took) == DECISIONS
    print(
        f"\n{DECISIONS} decisions in {whole:.0f} s; the server's share of each: "
        f"median {median(took):.1f} ms, p95 {quantiles(took, n=20)[-1]:.1f} ms, most {max(took):.1f} ms; "
        f"its processor time: median {median(worked):.1f} ms, p95 {quantiles(worked, n=20)[-1]:.1f} ms"
    )
