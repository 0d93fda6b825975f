"""The adapters page in a real browser: switch, roll back, train, compare."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest
from nicegui import Client, background_tasks
from playwright.async_api import Page, expect
from sqlmodel import select

from feedback.tables import Audit, Run
from tests.bot.console.conftest import OPERATOR, Served, ask
from tests.training import finished
from training.adapters import deployments, registry
from training.settings import TrainingSettings

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
    await page.get_by_role("row").filter(has_text="unwanted@1").get_by_role("button").click()
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
    await page.get_by_role("row").filter(has_text="undecided@1").get_by_role("button").click()
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
    await page.get_by_role("row").filter(has_text="damaged@1").get_by_role("button").click()
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


async def test_a_run_is_watched_live_until_its_verdict(page: Page, served: Served) -> None:
    async with served.database.session() as session:
        run = Run(adapter_name="community", started_by="schedule", step="training")
        run.pid, run.host = os.getppid(), socket.gethostname()  # a process other than the service
        run.progress = {"done": 3, "total": 12, "per_second": 410.0, "figures": {"loss": 2.5}}
        session.add(run)
    await page.goto("/adapters")
    await expect(page.get_by_text("3 / 12")).to_be_visible()
    await expect(page.get_by_text("410 tokens/s")).to_be_visible()
    await expect(page.get_by_text("loss 2.500")).to_be_visible()
    await expect(page.get_by_role("button", name="Retrain now")).to_be_disabled()
    async with served.database.session() as session:
        run.progress = {"done": 6, "total": 12, "per_second": 410.0, "figures": {"loss": 1.5}}
        session.add(run)
    await expect(page.get_by_text("6 / 12")).to_be_visible()
    await expect(page.get_by_text("left")).to_be_visible()
    async with served.database.session() as session:
        run.state, run.verdict = "promoted", "Promoted: it is better."
        session.add(run)
    await expect(page.get_by_text("Promoted: it is better.")).to_be_visible()
    await expect(page.get_by_role("button", name="Retrain now")).to_be_enabled()


async def test_a_run_whose_process_died_does_not_bar_the_next_one(page: Page, served: Served) -> None:
    async with served.database.session() as session:
        run = Run(adapter_name="community", started_by="schedule", host=socket.gethostname())
        session.add(run)
    await page.goto("/adapters")
    await expect(page.get_by_text("No process of this run is to be seen")).to_be_visible()
    await expect(page.get_by_role("button", name="Retrain now")).to_be_enabled()
    async with served.database.session() as session:
        run.state = "failed"
        session.add(run)


async def test_retrain_starts_a_run_and_a_refusal_is_told(page: Page, served: Served) -> None:
    await page.goto("/adapters")
    await page.get_by_role("button", name="Retrain now").click()
    await expect(page.get_by_text("A training run has started.")).to_be_visible()
    assert served.retrainer.started_by == [OPERATOR]
    await page.reload()
    await page.get_by_role("button", name="Retrain now").click()
    await expect(page.get_by_text("A training run is under way already.")).to_be_visible()


async def test_of_several_adapters_the_chosen_one_is_trained(page: Page, served: Served) -> None:
    served.retrainer.settings = TrainingSettings.model_validate({"adapters": {"docs": {}}})
    served.retrainer.started_by.clear()
    await page.goto("/adapters")
    await page.get_by_role("combobox", name="What to train").click()
    await page.get_by_role("option", name="docs").click()
    await page.get_by_role("button", name="Retrain now").click()
    await expect(page.get_by_text("A training run of docs has started.")).to_be_visible()
    assert served.retrainer.adapters[-1] == "docs"


async def test_the_only_adapter_is_not_asked_for(page: Page, served: Served) -> None:
    served.retrainer.settings = TrainingSettings()
    await page.goto("/adapters")
    await expect(page.get_by_role("button", name="Retrain now")).to_be_visible()
    await expect(page.get_by_label("What to train")).to_be_hidden()


async def test_the_same_question_goes_to_both_sides_and_both_are_kept(page: Page, served: Served) -> None:
    adapter = await served.assembly.add_adapter("compared", seed=5)
    await page.goto("/adapters")
    await page.get_by_role("combobox", name="Adapter").click()
    await page.get_by_role("option", name="compared@1").click()
    await page.get_by_label("Question").fill("What is different?")
    await page.get_by_role("button", name="Ask both").click()
    await expect(page.get_by_role("article")).to_have_count(2)
    for side in (0, 1):
        await expect(page.get_by_role("article").nth(side)).to_have_attribute("aria-busy", "false")
    said = [turn for turn in await served.turns() if turn.question == "What is different?"]
    assert {turn.adapter_id for turn in said} == {None, adapter.id}
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


async def test_a_run_s_report_opens_from_its_verdict_and_symptoms_are_named(
    page: Page, served: Served
) -> None:
    symptom = {"name": "style collapse", "meaning": "its answers all look the same", "figures": []}
    run = await finished.run(served.database, metrics={"symptoms": [symptom | {"remedy": "Less."}]})
    await page.goto("/adapters")
    await expect(page.get_by_text("Symptom: style collapse: its answers all look the same")).to_be_visible()
    async with page.expect_popup() as opened:
        await page.get_by_role("link", name=f"Report: {run}").last.click()
    report = await opened.value
    await expect(report.get_by_role("heading", name=f"community@{run}")).to_be_visible()
    await report.get_by_role("searchbox").fill("question 3")
    await expect(report.get_by_role("article")).to_have_count(1)


async def test_only_reports_are_served_from_the_data_folder(page: Page, served: Served) -> None:
    for path in ("/reports/0", "/reports/99999", "/reports/..%2Fthumbloop.db", "/reports/run-1"):
        response = await page.request.get(served.url + path)
        assert response.status in (404, 422), path
