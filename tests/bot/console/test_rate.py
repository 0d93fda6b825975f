"""The page of blind rating in a real browser: by key, without names, and what it comes to."""

from __future__ import annotations

import csv
import io
import json

import httpx
import pytest
from playwright.async_api import Page, expect
from sqlmodel import col, select

from feedback import ratings
from feedback.tables import Rating, RatingQuestion
from tests.bot.console.conftest import Served
from tests.rounds import open_round

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]
SAID = {"base": "Nobody knows.", "candidate": "Eight or *sixteen*."}


async def new_round(served: Served, questions: int = 1) -> int:
    """The number of a new round with so many questions."""
    turns = await served.waiting(*(f"Answer {one}" for one in range(questions)), question="How large?")
    return await open_round(served.database, turns, SAID)


async def given(served: Served) -> list[tuple[str, int, int, int]]:
    async with served.database.session(read_only=True) as session:
        rows = (await session.exec(select(Rating).order_by(col(Rating.subject)))).all()
    return [(one.subject, one.accuracy, one.style, one.safety) for one in rows]


async def test_digits_rate_answer_by_answer_and_enter_brings_the_next_question(
    page: Page, served: Served
) -> None:
    await new_round(served, 2)
    await page.goto("/rate")
    await expect(page.get_by_text("Rated: 0 of 2")).to_be_visible()
    html = await page.content()
    assert "How large?" in html and "Nobody knows." in html
    first = await page.get_by_role("region", name="Answer A").inner_text()
    await expect(page.get_by_role("button", name="Save and go on")).to_be_disabled()
    for digit in "543211":
        await page.keyboard.press(digit)
    await expect(page.get_by_role("button", name="Save and go on")).to_be_enabled()
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("Rated: 1 of 2")).to_be_visible()
    mine, theirs = ("candidate", "base") if "sixteen" in first else ("base", "candidate")
    assert sorted(await given(served)) == sorted([(mine, 5, 4, 3), (theirs, 2, 1, 1)])


async def test_the_page_never_says_whose_answer_it_is(page: Page, served: Served) -> None:
    await new_round(served)
    await page.goto("/rate")
    await expect(page.get_by_role("article").get_by_text("How large?")).to_be_visible()
    told = await page.get_by_role("article").first.evaluate("element => element.outerHTML")
    assert "candidate" not in told and "base" not in told


async def test_a_click_scores_the_arrows_move_and_undo_brings_the_question_back(
    page: Page, served: Served
) -> None:
    await new_round(served)
    await page.goto("/rate")
    accuracy = page.get_by_role("radiogroup", name="B: is it right?")
    await accuracy.get_by_role("radio", name="4").click()
    await expect(accuracy.get_by_role("radio", name="4")).to_be_checked()
    for key in (
        "ArrowUp",
        "ArrowUp",
        "3",
        "4",
        "5",
    ):  # from B's style to its accuracy: 3, then what is missing
        await page.keyboard.press(key)
    for digit in "5432":
        await page.keyboard.press(digit)
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("There is nothing for you to rate")).to_be_visible()
    assert len(await given(served)) == 2
    await page.keyboard.press("u")
    await expect(page.get_by_text("Rated: 0 of 1")).to_be_visible()
    assert await given(served) == []


async def test_what_is_passed_over_waits_at_the_end(page: Page, served: Served) -> None:
    await new_round(served, 2)
    await page.goto("/rate")
    await expect(page.get_by_text("Rated: 0 of 2")).to_be_visible()
    await page.keyboard.press("s")
    for digit in "333333":
        await page.keyboard.press(digit)
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("Rated: 1 of 2")).to_be_visible()
    async with served.database.session(read_only=True) as session:
        (left,) = (
            await session.exec(
                select(RatingQuestion.place).where(~col(RatingQuestion.id).in_(select(Rating.question_id)))
            )
        ).all()
    assert left == 1


async def test_the_rounds_show_what_they_came_to_and_are_exported(page: Page, served: Served) -> None:
    round_id = await new_round(served, 2)
    async with served.database.session() as session:
        for rater in ("a", "b"):
            while (asked := await ratings.next_question(session, rater)) is not None:
                scores = [
                    ratings.Scores(5, 5, 5) if "sixteen" in said else ratings.Scores(1, 5, 5)
                    for said in asked.answers
                ]
                await ratings.rate(session, asked.question_id, rater, scores)
    await page.goto("/rate")
    row = page.get_by_role("row", name="accuracy")
    await expect(row).to_contain_text("1.00")
    await expect(row).to_contain_text("+4.00")
    async with httpx.AsyncClient(base_url=served.url) as client:
        lines = (await client.get(f"/ratings/{round_id}.jsonl")).text.splitlines()
        table = (await client.get(f"/ratings/{round_id}.csv")).text
        assert (await client.get("/ratings/4711.csv")).status_code == 404
    rows = list(csv.DictReader(io.StringIO(table)))
    assert len(lines) == len(rows) == 8
    assert json.loads(lines[0])["question"] == rows[0]["question"] == "How large?"
    assert {row["rater"] for row in rows} == {"1", "2"}


async def test_a_round_is_closed_and_takes_no_more(page: Page, served: Served) -> None:
    await new_round(served)
    await page.goto("/rate")
    await page.get_by_role("button", name="Close the round").click()
    await expect(page.get_by_text("There is nothing for you to rate")).to_be_visible()
    await expect(page.get_by_text("closed", exact=True)).to_be_visible()
