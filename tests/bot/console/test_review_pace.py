"""Decisions by keyboard, half of them on imported candidates: each lands in the record, and how long the
server took is printed.

The server's share of a decision is from the key's arrival until the next card has been made. It is timed and
never asserted, for it says as much about the machine: `pytest -s` shows it. Processor time, which a busy
machine does not stretch, is the whole process's: the test's own and what loads in the background count in.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import pytest
from playwright.async_api import Page, expect
from sqlmodel import col, select

from bot.commands import imports
from bot.console import review as review_module
from bot.console.review import _Review
from bot.demo.past import IMPORTER
from feedback.consent import pseudonym
from feedback.tables import Candidate, Turn
from tests.bot.console.conftest import Served

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]
EACH = 25
"""Decisions on answers, and on candidates; up to 100."""
SYLLABLES = ("ba", "ke", "lo", "mi", "nu", "pa", "re", "so", "ti", "vu")
WORDS = ("rank", "alpha", "tokens", "loss", "adapter", "dataset", "prompt", "vote", "batch")


def export(folder: Path, questions: int) -> Path:
    """A Discord channel in which that many questions are asked, answered and thanked for."""
    messages: list[dict[str, Any]] = []

    def say(author: str, text: str, to: int | None = None) -> int:
        number = len(messages) + 1
        message = {
            "id": str(number),
            "type": "Default" if to is None else "Reply",
            "timestamp": f"2024-03-{1 + number // 1440:02}T{number // 60 % 24:02}:{number % 60:02}:00+00:00",
            "content": text,
            "author": {"id": author, "name": f"user_{author}", "isBot": False, "roles": []},
        }
        messages.append(message if to is None else {**message, "reference": {"messageId": str(to)}})
        return number

    for number in range(questions):
        # words that no other question has, or two would be one card
        own = [SYLLABLES[number // 10] + SYLLABLES[number % 10] + ending for ending in SYLLABLES]
        asked = say(str(number), f"How do I fasten the {' '.join(own[:6])}?")
        told = say("999", f"Loosen the {own[0]} first, then push the {own[7]} into the {own[8]}.", asked)
        say(str(number), "thanks, that worked", told)
    path = folder / "help.json"
    path.write_text(json.dumps({"guild": {"id": "7"}, "channel": {"id": "2"}, "messages": messages}))
    return path


async def candidates(served: Served, folder: Path) -> list[int]:
    """The ids of new turns that come from imported talk, the best first."""
    await imports.bring_in(
        served.database,
        export(folder, EACH),
        imported_by=IMPORTER,
        pseudonym=partial(pseudonym, key=b"key"),
        agreed=True,
    )
    async with served.database.session(read_only=True) as session:
        found = await session.exec(
            select(Turn.id)
            .join(Candidate, col(Candidate.turn_id) == col(Turn.id))
            .where(col(Turn.regenerates_id).is_(None))
            .order_by(col(Turn.queue_rank), col(Turn.id))
        )
        return [number or 0 for number in found]


async def test_decisions_by_keyboard_all_land(
    page: Page, served: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    turns = await served.waiting(
        *(f"Answer {number} about {WORDS[number % len(WORDS)]}." for number in range(EACH))
    )
    turns += await candidates(served, tmp_path)
    assert len(turns) == 2 * EACH
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
    began = [time.perf_counter()]
    for number, turn in enumerate(turns):
        if number == EACH:
            began.append(time.perf_counter())
        await expect(page.get_by_text(f"#{turn} ·")).to_be_visible()
        if number % 4 == 3:
            await page.keyboard.press("r")
            await page.keyboard.press(str(number % 5 + 1))
        else:
            await page.keyboard.press("a")
    await expect(page.get_by_text("Nothing waits for review")).to_be_visible()
    began.append(time.perf_counter())
    states = [(await served.turn(turn)).review_state for turn in turns]
    assert states == ["rejected" if number % 4 == 3 else "approved" for number in range(len(turns))]
    assert len(took) == len(turns)
    for part, kind in enumerate(("answers", "imported candidates")):
        of_kind = slice(part * EACH, (part + 1) * EACH)
        print(
            f"\n{EACH} {kind} in {began[part + 1] - began[part]:.0f} s; the server's share of each: "
            f"median {median(took[of_kind]):.1f} ms, p95 {quantiles(took[of_kind], n=20)[-1]:.1f} ms; "
            f"its processor time: median {median(worked[of_kind]):.1f} ms, "
            f"p95 {quantiles(worked[of_kind], n=20)[-1]:.1f} ms"
        )
