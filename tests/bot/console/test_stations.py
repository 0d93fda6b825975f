"""The strip of stations in a real browser: what the visitor has done is lit, and it goes when all is."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from feedback import review
from feedback.tables import Deployment, Run
from tests.bot.console.conftest import OPERATOR, Served, ask

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]


async def test_stations_light_up_as_they_are_done(page: Page, served: Served) -> None:
    await page.goto("/")
    strip = page.get_by_role("navigation", name="The loop, step by step")
    await expect(strip.get_by_role("listitem")).to_have_text(
        ["1Ask", "2Vote", "3Review", "4Train", "5Switch"]
    )
    answer = await ask(page, "Does it light up?")
    await answer.get_by_role("button", name="Helpful", exact=True).click()
    await page.goto("/overview")
    for done in ("Ask", "Vote"):
        await expect(strip.get_by_role("link", name=f"{done}: done")).to_be_visible()
    await expect(strip.get_by_role("link", name="Review", exact=True)).to_be_visible()
    (turn,) = await served.waiting("Yes.")
    async with served.database.session() as session:
        await review.decide(session, turn, OPERATOR, "approve")
        session.add(Run(adapter_name="community", started_by=OPERATOR, state="failed"))
        session.add(Deployment(decided_by=OPERATOR))
    await page.reload()
    await expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    await expect(strip).to_have_count(0)
