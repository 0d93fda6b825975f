"""The adapters page in a real browser: switch, roll back, compare."""

from __future__ import annotations

import asyncio

import pytest
from nicegui import Client, background_tasks
from playwright.async_api import Page, expect
from sqlmodel import select

from feedback.tables import Audit, Deployment
from tests.bot.console.conftest import OPERATOR, Served, ask
from training.adapters import deployments, registry

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

METRICS = {"candidate": {"loss": 1.25}, "base": {"loss": 4.5}}


async def test_a_switch_is_confirmed_answers_at_once_and_is_rolled_back(page: Page, served: Served) -> None:
    adapter = await served.assembly.add_adapter("switched", metrics=METRICS)
    await page.goto("/adapters")
    row = page.get_by_role("row").filter(has_text="switched@1")
    await expect(row).to_contain_text("1.250")
    await expect(page.get_by_role("row").filter(has_text="base model")).to_contain_text("4.500")
    await row.get_by_role("button", name="Switch to it").click()
    await page.get_by_role("dialog").get_by_role("button", name="Switch to it").click()
    await expect(page.get_by_text("Answering now: switched@1.")).to_be_visible()
    await expect(row).to_contain_text("everyone")
    async with served.database.session(read_only=True) as session:
        newest = (await deployments.history(session))[0]
    assert (newest.adapter_id, newest.decided_by) == (adapter.id, OPERATOR)

    await page.goto("/")
    answer = await ask(page, "Who answers?")
    await expect(answer.get_by_label("Answered by: switched@1")).to_be_visible()

    await page.goto("/adapters")
    await page.get_by_role("button", name="Roll back").click()
    await page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    await expect(page.get_by_text("Answering now: base model.")).to_be_visible()
    async with served.database.session(read_only=True) as session:
        assert await deployments.serving(session) is None


async def test_a_switch_that_is_not_confirmed_changes_nothing(page: Page, served: Served) -> None:
    await served.assembly.add_adapter("unwanted")
    await page.goto("/adapters")
    await page.get_by_role("row").filter(has_text="unwanted@1").get_by_role("button", name="Switch").click()
    await page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    async with served.database.session(read_only=True) as session:
        assert await deployments.serving(session) is None


async def test_a_page_that_is_left_while_it_asks_back_is_no_fault(
    page: Page, served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    await served.assembly.add_adapter("undecided")
    await page.goto("/adapters")
    before = set(background_tasks.running_tasks)
    await page.get_by_role("row").filter(has_text="undecided@1").get_by_role("button", name="Switch").click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    asking_back = background_tasks.running_tasks - before
    for left in list(Client.instances.values()):
        left.delete()
    await asyncio.wait(asking_back)
    assert not [entry for entry in caplog.records if entry.levelname == "ERROR"]


async def test_a_damaged_adapter_is_refused_with_its_sentence(page: Page, served: Served) -> None:
    adapter = await served.assembly.add_adapter("damaged")
    (registry.folder(served.assembly.data, adapter) / "adapter_model.safetensors").write_bytes(b"no")
    await page.goto("/adapters")
    await page.get_by_role("row").filter(has_text="damaged@1").get_by_role("button", name="Switch").click()
    await page.get_by_role("dialog").get_by_role("button", name="Switch to it").click()
    await expect(page.get_by_text("damaged@1 in")).to_contain_text("cannot be used")
    async with served.database.session(read_only=True) as session:
        assert await deployments.serving(session) is None


async def test_an_adapter_without_a_verdict_is_not_offered(page: Page, served: Served) -> None:
    await served.assembly.add_adapter("unexamined", state="candidate")
    await page.goto("/adapters")
    row = page.get_by_role("row").filter(has_text="unexamined@1")
    await expect(row).to_contain_text("candidate")
    await expect(row.get_by_role("button")).to_have_count(0)


async def test_any_two_are_asked_the_same_and_both_answers_are_kept(page: Page, served: Served) -> None:
    compared = await served.assembly.add_adapter("compared", seed=5)
    other = await served.assembly.add_adapter("other", seed=9)
    await page.goto("/adapters")
    for side, label in (("On the left", "other@1"), ("On the right", "compared@1")):
        await page.get_by_role("combobox", name=side).click()
        await page.get_by_role("option", name=label).click()
        await expect(page.get_by_role("option")).to_have_count(0)
    await page.get_by_label("Question").fill("What is different?")
    await page.get_by_role("button", name="Ask both").click()
    await expect(page.get_by_role("article")).to_have_count(2)
    for side in (0, 1):
        await expect(page.get_by_role("article").nth(side)).to_have_attribute("aria-busy", "false")
    said = [turn for turn in await served.turns() if turn.question == "What is different?"]
    assert {turn.adapter_id for turn in said} == {other.id, compared.id}
    assert said[0].answer != said[1].answer


async def test_a_rejected_adapter_is_promoted_by_a_person_with_a_reason(page: Page, served: Served) -> None:
    await served.assembly.add_adapter("doubtful", state="rejected")
    await page.goto("/adapters")
    row = page.get_by_role("row").filter(has_text="doubtful@1")
    await row.get_by_role("button", name="Promote anyway").click()
    await page.get_by_role("dialog").get_by_label("Reason").fill("Read them all.")
    await page.get_by_role("dialog").get_by_role("button", name="Promote anyway").click()
    await expect(page.get_by_text("Promoted: doubtful@1.")).to_be_visible()
    await expect(row.get_by_role("button", name="Promote anyway")).to_have_count(0)
    async with served.database.session(read_only=True) as session:
        entry = (await session.exec(select(Audit).where(Audit.action == "adapter.overrule"))).one()
    assert (entry.actor, entry.detail["reason"]) == (OPERATOR, "Read them all.")


async def test_a_canary_is_begun_with_a_share_and_rolling_back_ends_it(page: Page, served: Served) -> None:
    adapter = await served.assembly.add_adapter("careful")
    await page.goto("/adapters")
    row = page.get_by_role("row").filter(has_text="careful@1")
    await row.get_by_role("button", name="Canary: careful@1").click()
    await page.get_by_role("dialog").get_by_label("Share of conversations").fill("25")
    await page.get_by_role("dialog").get_by_role("button", name="Canary").click()
    await expect(page.get_by_text("careful@1 answers 25% of the conversations.")).to_be_visible()
    own = select(Deployment).where(Deployment.adapter_id == adapter.id)
    async with served.database.session(read_only=True) as session:
        canary = (await session.exec(own)).one()
    assert (canary.share, canary.decided_by, canary.until) == (0.25, OPERATOR, None)
    await page.get_by_role("button", name="Roll back").click()
    await page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    await expect(page.get_by_text("Answering now: base model.", exact=True)).to_be_visible()
    async with served.database.session(read_only=True) as session:
        assert (await session.exec(own)).one().until is not None
