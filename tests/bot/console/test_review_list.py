"""The list of turns to review in a real browser: found, decided many at once, and answers added."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect
from sqlmodel import select

from feedback import review
from feedback.tables import Passage
from tests.bot.console.conftest import Served

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]


async def test_many_are_decided_at_once_and_taken_back_from_the_list(page: Page, served: Served) -> None:
    turns = await served.waiting("One fish.", "Two fish.", "A bird.")
    await page.goto("/review/list")
    approve = page.get_by_role("button", name="Approve")
    await expect(approve).to_be_disabled()
    await expect(approve).to_have_attribute("title", "Choose turns first")
    search = page.get_by_label("Words in question or answer")
    await search.fill("FISH")
    await search.press("Enter")
    await expect(page.get_by_role("article")).to_have_count(2)
    await page.get_by_role("checkbox", name="Choose all of this page").click()
    await approve.click()
    await expect(page.get_by_text("Approved: 2 of 2.")).to_be_visible()
    assert [(await served.turn(turn)).review_state for turn in turns] == ["approved", "approved", "waiting"]

    await page.get_by_role("combobox", name="State").click()
    await page.get_by_role("option", name="approved").click()
    await expect(page.get_by_text("Two fish.")).to_be_visible()
    await page.get_by_role("checkbox", name=f"Choose {turns[1]}").click()
    await page.get_by_role("main").get_by_role("button", name="Undo").click()
    await expect(page.get_by_text("Undone: 1 of 1.")).to_be_visible()
    assert (await served.turn(turns[1])).review_state == "waiting"


async def test_the_note_of_many_decisions_takes_them_all_back(page: Page, served: Served) -> None:
    turns = await served.waiting("Red.", "Blue.")
    await page.goto("/review/list")
    await page.get_by_role("checkbox", name="Choose all of this page").click()
    await page.get_by_role("button", name="Reject").click()
    note = page.get_by_role("alert").filter(has_text="Rejected: 2 of 2.")
    await note.get_by_role("button", name="Undo").dispatch_event("click")
    await expect(page.get_by_role("article")).to_have_count(2)
    assert {(await served.turn(turn)).review_state for turn in turns} == {"waiting"}


async def test_what_somebody_decided_meanwhile_is_not_decided_again(page: Page, served: Served) -> None:
    first, second = await served.waiting("Mine.", "Theirs.")
    await page.goto("/review/list")
    await page.get_by_role("checkbox", name="Choose all of this page").click()
    async with served.database.session() as session:
        await review.decide(session, second, "ana", "approve")
    await page.get_by_role("button", name="Reject").click()
    await expect(page.get_by_text("Rejected: 1 of 2.")).to_be_visible()
    assert [(await served.turn(turn)).review_state for turn in (first, second)] == ["rejected", "approved"]


async def test_a_right_answer_is_added_without_a_question_and_looked_up_from_then_on(
    page: Page, served: Served
) -> None:
    await served.waiting("Any.")
    await page.goto("/review/list")
    await page.get_by_text("Add a right answer").click()
    await page.get_by_label("Question", exact=True).fill("When is the meeting?")
    await page.get_by_label("Answer", exact=True).fill("Every Friday.")
    await page.get_by_role("button", name="Add and approve").click()
    await expect(page.get_by_text("Added: “When is the meeting?”.")).to_be_visible()
    added = (await served.turns())[-1]
    assert (added.review_state, added.approved_answer) == ("approved", "Every Friday.")
    async with served.database.session(read_only=True) as session:
        passages = (await session.exec(select(Passage).where(Passage.turn_id == added.id))).all()
    assert [one.text for one in passages] == ["Every Friday."]
