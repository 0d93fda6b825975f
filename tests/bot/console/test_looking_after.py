"""The pages for those who look after a community: settings, members and privacy, audit."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect
from sqlmodel import select

from feedback import consent, journal
from feedback.tables import Community
from tests.bot.console.conftest import HOME, Served

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]


async def community(served: Served) -> Community:
    async with served.database.session(read_only=True) as session:
        return (await session.exec(select(Community).where(Community.external_id == HOME.community))).one()


async def test_a_persona_is_seen_as_the_model_will_before_it_is_saved(page: Page, served: Served) -> None:
    await served.waiting("Any.")
    await page.goto("/settings")
    save = page.get_by_role("button", name="Save")
    await expect(save).to_be_disabled()
    await expect(save).to_have_attribute("title", "Nothing has been changed yet")
    await page.get_by_label("Persona: who answers, and how").fill("You are a gardener.")
    await page.get_by_role("combobox", name="How to answer").click()
    await page.get_by_role("option", name="checklist").click()
    await expect(page.locator(".tl-settings .tl-diff")).to_have_text(
        "You are a gardener. Answer as a checklist of short lines, each starting with a dash."
    )
    assert (await community(served)).persona == ""
    await save.click()
    await expect(page.get_by_text("Saved: A community.")).to_be_visible()
    saved = await community(served)
    assert (saved.persona, saved.default_mode) == ("You are a gardener.", "checklist")


async def test_training_is_switched_on_where_members_are_told(page: Page, served: Served) -> None:
    async with served.database.session() as session:
        await journal.community(session, HOME.platform, HOME.community, name="A community")
        await journal.community(session, "discord", "4711", name="Gardeners")
    await page.goto("/settings")
    await page.get_by_role("combobox", name="Community").click()
    await page.get_by_role("option", name="Gardeners").click()
    await expect(page.get_by_text("Switch it on with /settings on the platform")).to_be_visible()
    await expect(page.get_by_role("switch")).to_be_disabled()


async def test_who_stays_out_and_how_far_forgetting_has_come_is_shown(page: Page, served: Served) -> None:
    async with served.database.session() as session:
        stays_out = await journal.member(session, "discord", "abcdef0123456789")
        await consent.opt_out(session, stays_out.id or 0)
        forgotten = await journal.member(session, "discord", "ffff0000ffff0000")
        await consent.forget(session, forgotten.id or 0)
    await page.goto("/members")
    await expect(page.get_by_text("discord:abcdef01")).to_be_visible()
    row = page.get_by_role("row").filter(has_text="0 turns")
    await expect(row).to_contain_text("UTC")
    await expect(row).to_contain_text("not yet")
    await expect(page.get_by_text("ffff0000")).to_have_count(0)


async def test_the_audit_is_searched_and_read_further_back(page: Page, served: Served) -> None:
    async with served.database.session() as session:
        for number in range(60):
            journal.audit(session, "discord:ada", "trial.done", f"thing {number}", number=number)
    await page.goto("/audit")
    await expect(page.get_by_role("cell", name="thing 59", exact=True)).to_be_visible()
    await page.get_by_role("button", name="Older").click()
    await expect(page.get_by_role("cell", name="thing 5", exact=True)).to_be_visible()
    search = page.get_by_label("What (review.)")
    await search.fill("thing 7")
    await search.press("Enter")
    await expect(page.get_by_role("row")).to_have_count(2)
    await expect(page.get_by_role("cell", name="thing 7", exact=True)).to_be_visible()
    await search.fill("nobody:")
    await page.get_by_role("button", name="Search").click()
    await expect(page.get_by_text("Nothing like that was done")).to_be_visible()
