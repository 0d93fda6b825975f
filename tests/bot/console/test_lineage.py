"""The pages of lineage in a real browser: from an adapter back to turns, and from a turn on to adapters."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect
from sqlmodel import select

from feedback import review
from feedback.tables import Adapter, Pair, Turn
from tests.bot.console.conftest import Served
from tests.training import finished
from training.data import dataset
from training.settings import TrainingSettings

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]


async def _trained(served: Served) -> tuple[int, int]:
    """A turn and the run that learnt from it; its adapter answered the turn, too."""
    turns = []
    for number in range(8):
        answer = f"This is what is known of subject {number}."
        (turn,) = await served.waiting(answer, question=f"What is subject {number}?")
        turns.append(turn)
        async with served.database.session() as session:
            await review.decide(session, turn, "discord:mo", "approve")
    frozen = await dataset.build(
        served.database,
        served.assembly.data,
        name="community",
        settings=TrainingSettings(min_pairs=4),
        default_persona="Be brief.",
    )
    run = await finished.run(served.database, dataset_id=frozen.id)
    async with served.database.session() as session:
        learnt = (await session.exec(select(Pair.turn_id).where(Pair.split == "train"))).first()
        turn_row = (await session.exec(select(Turn).where(Turn.id == learnt))).one()
        adapter = (await session.exec(select(Adapter).where(Adapter.run_id == run))).one()
        turn_row.adapter_id = adapter.id
        session.add(turn_row)
    return turn_row.id or 0, run


async def test_lineage_is_walked_from_an_adapter_to_a_turn_and_back(page: Page, served: Served) -> None:
    turn, run = await _trained(served)
    await page.goto(f"/adapters/community@{run}")
    stations = page.get_by_role("main").get_by_role("list").filter(has_text="Adapter").get_by_role("listitem")
    for number, station in enumerate(("Adapter", f"Run {run}", "community@1", "discord:mo", "Turns")):
        await expect(stations.nth(number)).to_contain_text(station)
    await page.get_by_role("link", name=f"{turn}", exact=True).first.click()
    await expect(page.get_by_role("heading", name=f"Turn {turn}")).to_be_visible()
    answered = page.get_by_role("main").get_by_role("list").filter(has_text="Adapter").get_by_role("listitem")
    await expect(answered.nth(1)).to_contain_text(f"community@{run}")
    became = page.get_by_role("main").get_by_role("list").filter(has_text="Learnt by").get_by_role("listitem")
    for number, station in enumerate(("Turn", "approved", "community@1", f"community@{run}")):
        await expect(became.nth(number)).to_contain_text(station)
    await became.nth(3).get_by_role("link").click()
    await expect(page.get_by_role("heading", name=f"community@{run}")).to_be_visible()


async def test_what_there_is_not_leads_back(page: Page) -> None:
    await page.goto("/adapters/nobody@3")
    await expect(page.get_by_role("heading", name="There is no such adapter.")).to_be_visible()
    for number in ("4711", "99999999999", "x"):
        await page.goto(f"/turns/{number}")
        await expect(page.get_by_role("heading", name="There is no such turn.")).to_be_visible()


async def test_an_answer_that_people_wrote_is_no_model_s(page: Page, served: Served) -> None:
    (turn,) = await served.waiting("At nine.", question="When does it open?")
    async with served.database.session() as session:
        row = (await session.exec(select(Turn).where(Turn.id == turn))).one()
        row.base_model = ""
        session.add(row)
    await page.goto(f"/turns/{turn}")
    await expect(page.get_by_role("listitem").filter(has_text="written by people")).to_be_visible()
    await expect(page.get_by_text("base model")).to_have_count(0)
