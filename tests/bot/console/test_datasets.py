"""The pages of datasets in a real browser: versions, what rules left out, differences, downloads."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator

import pyarrow.parquet
import pytest
import pytest_asyncio
from playwright.async_api import Page, expect
from sqlmodel import select

from feedback import journal, review
from feedback.tables import Audit, Turn
from tests.bot.console.conftest import OPERATOR, Served
from training.data import dataset
from training.settings import TrainingSettings

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

SETTINGS = TrainingSettings(min_pairs=4, validation_share=0.2)
QUESTIONS = ("What is a turn?", "Where do votes go?", "Who trains it?", "When does it run?", "How big is it?")
UNFINISHED = "TODO: look up what the release notes say about this."


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def frozen(served: Served) -> AsyncIterator[None]:
    """Two versions: the second has one pair more, and left the same unfinished answer out."""
    await _approve(served, {one: f"This is what is known of {one.lower().rstrip('?')}." for one in QUESTIONS})
    await _approve(served, {"What is new in the release?": UNFINISHED})
    await _build(served)
    await _approve(served, {"What is a canary?": "An adapter that serves a share of the conversations."})
    await _build(served)
    yield


async def _approve(served: Served, answers: dict[str, str]) -> list[int]:
    turns = []
    for question, answer in answers.items():
        (turn,) = await served.waiting(answer, question=question)
        async with served.database.session() as session:
            await review.decide(session, turn, "mo", "approve")
        turns.append(turn)
    return turns


async def _build(served: Served) -> None:
    await dataset.build(
        served.database,
        served.assembly.data,
        name="community",
        settings=SETTINGS,
        default_persona="Be brief.",
    )


async def test_a_version_tells_what_a_rule_left_out_and_one_click_keeps_it(
    page: Page, served: Served
) -> None:
    await page.goto("/datasets")
    await page.get_by_role("link", name="community@2").click()
    await page.get_by_text("placeholders").click()
    await expect(page.get_by_text(UNFINISHED)).to_be_visible()
    await page.get_by_role("button", name="Keep it anyway").click()
    await expect(page.get_by_text("is kept, whatever placeholders says")).to_be_visible()
    await expect(page.get_by_role("button", name="Let the rule decide")).to_be_visible()
    async with served.database.session(read_only=True) as session:
        audited = (await session.exec(select(Audit).where(Audit.action == "hygiene.overrule"))).one()
    assert audited.actor == OPERATOR


async def test_the_difference_to_the_version_before_names_the_new_question(page: Page) -> None:
    await page.goto("/datasets/community@2")
    await page.get_by_text("New pairs: 1").click()
    await expect(page.get_by_role("listitem").filter(has_text="What is a canary?")).to_be_visible()
    await page.goto("/datasets/community@1")
    await expect(page.get_by_text("There is no earlier version")).to_be_visible()


async def test_pairs_are_searched_and_opened(page: Page) -> None:
    for split in dataset.SPLITS:
        await page.goto(f"/datasets/community@2?split={split}&search=known")
        await expect(page.get_by_role("link", name=split, exact=True)).to_have_attribute(
            "aria-current", "true"
        )
    await page.goto("/datasets/community@2?search=nobody-said-that")
    await expect(page.get_by_text("Nothing was found.")).to_be_visible()


async def test_a_split_is_downloaded_as_lines_as_csv_and_as_parquet(page: Page, served: Served) -> None:
    async def fetched(kind: str) -> bytes:
        response = await page.request.get(f"{served.url}/datasets/community@2/train.{kind}")
        assert response.ok, kind
        return await response.body()

    lines = [json.loads(line) for line in (await fetched("jsonl")).splitlines()]
    rows = list(csv.DictReader(io.StringIO((await fetched("csv")).decode())))
    table = pyarrow.parquet.read_table(io.BytesIO(await fetched("parquet"))).to_pylist()
    questions = [line["instruction"] for line in lines]
    assert questions and [row["instruction"] for row in rows] == questions
    assert [row["instruction"] for row in table] == questions


async def test_nothing_but_splits_of_datasets_is_downloaded(page: Page, served: Served) -> None:
    for path in (
        "community@2/manifest.json",
        "community@9/train.csv",
        "community@2/train.exe",
        "x/..%2Fy.csv",
    ):
        response = await page.request.get(f"{served.url}/datasets/{path}")
        assert response.status == 404, path


async def test_a_place_that_is_no_beginning_of_a_pair_is_no_fault(page: Page) -> None:
    await page.goto("/datasets/community@2?at=7")
    await expect(page.get_by_text("That place in the dataset is not there")).to_be_visible()
    await page.goto("/datasets/community@77")
    await expect(page.get_by_role("heading", name="There is no such dataset.")).to_be_visible()


async def test_a_contradiction_is_settled_by_keeping_one_side(page: Page, served: Served) -> None:
    right, wrong = await _approve(
        served,
        {
            "Is the demo free?": "Yes, the demo is free for everybody.",
            "Is the demo free of charge?": "No, the demo costs something.",
        },
    )
    async with served.database.session() as session:
        for turn_id in (right, wrong):
            turn = (await session.exec(select(Turn).where(Turn.id == turn_id))).one()
            # each in a conversation of its own: after other questions it would be another question
            talk = await journal.conversation(session, turn.community_id, f"talk {turn_id}")
            turn.question, turn.conversation_id = "Is the demo free?", talk.id or 0
            session.add(turn)
    await page.goto("/datasets")
    await page.get_by_role("button", name="Look for contradictions").click()
    await page.get_by_role("button", name=f"Keep this one: {right}", exact=True).click()
    await expect(page.get_by_text(f"Turn {right} stays; rejected: {wrong}.")).to_be_visible()
    await expect(page.get_by_text("No approved answers contradict one another.")).to_be_visible()
    assert [(await served.turn(one)).review_state for one in (right, wrong)] == ["approved", "rejected"]
