"""The overview in a real browser: what was asked and liked, what waits, what serves, how the parts are."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from feedback import journal, votes
from tests.bot.console.conftest import HOME, Served

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]


async def test_a_day_without_questions_says_what_to_do(page: Page, served: Served) -> None:
    await page.goto("/overview")
    await expect(page.get_by_text("Nobody has asked anything in these days.")).to_be_visible()
    await expect(page.get_by_text("No votes in these days.")).to_be_visible()
    await expect(page.get_by_role("row").filter(has_text="base model")).to_contain_text("everyone")


async def test_questions_votes_and_what_waits_are_shown_with_intervals(page: Page, served: Served) -> None:
    turns = await served.waiting("Yes.", "No.", "Perhaps.")
    async with served.database.session() as session:
        await journal.community(session, HOME.platform, HOME.community, name="A community")
        for number, value in enumerate((1, 1, 1, -1)):
            member = await journal.member(session, HOME.platform, f"voter {number}")
            await votes.vote(session, turn_id=turns[0], member_id=member.id or 0, value=value)  # type: ignore[arg-type]
    await page.goto("/overview")
    await expect(page.get_by_role("link", name="Waiting for review 3")).to_be_visible()
    await expect(page.get_by_role("img", name="Bars: questions by day")).to_be_visible()
    await expect(page.get_by_role("img", name="75% in all")).to_be_visible()
    # Wilson's interval of 3 in 4
    await expect(page.get_by_role("row").filter(has_text="30% – 95%").first).to_contain_text("75%")
    await page.get_by_role("link", name="7 days").click()
    await expect(page.get_by_role("link", name="7 days")).to_have_attribute("aria-current", "true")
