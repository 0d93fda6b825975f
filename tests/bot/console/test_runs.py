"""The pages of runs in a real browser: start, watch, stop, look back, compare."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from datetime import timedelta

import pytest
from playwright.async_api import Page, expect
from sqlmodel import select

from feedback.tables import Audit, Run, now
from tests.bot.console.conftest import OPERATOR, Served
from tests.training import finished
from training.fit import checkpoints, stages
from training.run import lifecycle
from training.settings import TrainingSettings

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]


async def test_a_run_is_watched_live_until_its_verdict(page: Page, served: Served) -> None:
    async with served.database.session() as session:
        run = Run(adapter_name="community", started_by="schedule", step="training")
        run.pid, run.host = os.getppid(), socket.gethostname()  # a process other than the service
        run.progress = {"done": 3, "total": 12, "per_second": 410.0, "figures": {"loss": 2.5}}
        session.add(run)
    await page.goto("/runs")
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
    await page.goto("/runs")
    await expect(page.get_by_text("No process of this run is to be seen")).to_be_visible()
    await expect(page.get_by_role("button", name="Retrain now")).to_be_enabled()


async def test_retrain_starts_a_run_and_a_refusal_is_told(page: Page, served: Served) -> None:
    await page.goto("/runs")
    await page.get_by_role("button", name="Retrain now").click()
    await expect(page.get_by_text("A training run has started.")).to_be_visible()
    assert served.retrainer.started_by == [OPERATOR]
    await page.goto("/audit")
    await page.goto("/runs")  # whoever comes back sees that their click was heard
    await expect(page.get_by_text("The run is starting")).to_be_visible()
    await expect(page.get_by_role("button", name="Retrain now")).to_be_disabled()
    served.retrainer.starting = False
    await page.reload()
    await page.get_by_role("button", name="Retrain now").click()
    await expect(page.get_by_text("A training run is under way already.")).to_be_visible()


async def test_a_run_that_does_not_begin_is_told_in_the_readers_language(page: Page, served: Served) -> None:
    await page.context.add_cookies([{"name": "thumbloop_language", "value": "pl", "url": served.url}])
    await page.goto("/runs")
    await page.get_by_role("button", name="Trenuj teraz").click()
    await expect(page.get_by_text("Trening się rozpoczął.")).to_be_visible()
    served.retrainer.starting = False
    await expect(page.get_by_text("Trening zakończył się, zanim się zaczął.")).to_be_visible()


async def test_of_several_adapters_the_chosen_one_is_trained(page: Page, served: Served) -> None:
    served.retrainer.settings = TrainingSettings.model_validate({"adapters": {"docs": {}}})
    await page.goto("/runs")
    await page.get_by_role("combobox", name="What to train").click()
    await page.get_by_role("option", name="docs").click()
    await page.get_by_role("button", name="Retrain now").click()
    await expect(page.get_by_text("A training run of docs has started.")).to_be_visible()
    assert served.retrainer.adapters[-1] == "docs"


async def test_a_stopped_run_is_resumed_whatever_adapter_is_chosen(page: Page, served: Served) -> None:
    served.retrainer.settings = TrainingSettings.model_validate({"adapters": {"docs": {}}})
    async with served.database.session() as session:
        run = Run(adapter_name="docs", started_by=OPERATOR, state="cancelled", verdict="Stopped.")
        session.add(run)
    left = served.assembly.data / lifecycle.RUNS / f".run-{run.id}.1.part"
    checkpoint = left / checkpoints.SFT / "checkpoint-3"
    checkpoint.mkdir(parents=True)
    for file in (left / stages.JOB, checkpoint / checkpoints.STATE):
        file.write_text("{}", encoding="utf-8")
    await page.goto("/runs")
    await page.get_by_role("button", name="Resume at step 3").click()
    await expect(page.get_by_text("A training run of docs has started.")).to_be_visible()
    assert served.retrainer.adapters[-1] == "docs"


async def test_the_only_adapter_is_not_asked_for(page: Page, served: Served) -> None:
    await page.goto("/runs")
    await expect(page.get_by_role("button", name="Retrain now")).to_be_visible()
    await expect(page.get_by_label("What to train")).to_be_hidden()


async def test_a_run_s_report_opens_from_its_verdict_and_symptoms_are_named(
    page: Page, served: Served
) -> None:
    symptom = {"name": "style collapse", "meaning": "its answers all look the same", "figures": []}
    run = await finished.run(served.database, metrics={"symptoms": [symptom | {"remedy": "Less."}]})
    await page.goto("/runs")
    await expect(page.get_by_text("Symptom: style collapse: its answers all look the same")).to_be_visible()
    async with page.expect_popup() as opened:
        await page.get_by_role("link", name=f"Report: {run}").last.click()
    report = await opened.value
    await expect(report.get_by_role("heading", name=f"community@{run}")).to_be_visible()
    await report.get_by_role("searchbox").fill("question 3")
    await expect(report.get_by_role("article")).to_have_count(1)
    polish = await page.request.get(f"/reports/{run}", headers={"accept-language": "pl,en;q=0.5"})
    assert "Odpowiedzi obok siebie" in await polish.text()


async def test_only_reports_are_served_from_the_data_folder(page: Page, served: Served) -> None:
    for path in ("/reports/0", "/reports/99999", "/reports/..%2Fthumbloop.db", "/reports/run-1"):
        response = await page.request.get(served.url + path)
        assert response.status == 404, path
    asked = {"Accept": "text/html", "Accept-Language": "pl"}
    response = await page.request.get(f"{served.url}/reports/run-1", headers=asked)
    assert "Nie ma takiej strony." in await response.text()


async def test_a_page_opened_late_is_told_the_time_left_of_the_whole_run(page: Page, served: Served) -> None:
    """It was 6 minutes where 50 were left: each page went by the step under way and its own short look."""
    async with served.database.session() as session:
        run = Run(adapter_name="community", started_by="schedule", step="training")
        run.pid, run.host = os.getppid(), socket.gethostname()
        measured = now() - timedelta(minutes=2)
        run.progress = {"done": 9, "total": 12, "seconds_left": 52 * 60, "at": measured.isoformat()}
        session.add(run)
    await page.goto("/runs")
    await expect(page.get_by_text("about 50 min left")).to_be_visible()


async def test_a_run_under_way_is_stopped_once_it_is_confirmed(page: Page, served: Served) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(600)")
    async with served.database.session() as session:
        run = Run(adapter_name="community", started_by="schedule", pid=process.pid)
        run.host, run.step = socket.gethostname(), "training"
        session.add(run)
    await page.goto("/runs")
    await page.get_by_role("button", name="Stop the run").click()
    async with served.database.session() as session:  # it goes on while the question stands
        run.progress = {"done": 7, "total": 12}
        session.add(run)
    await expect(page.get_by_text("7 / 12")).to_be_visible()
    await page.get_by_role("dialog").get_by_role("button", name="Stop the run").click()
    await expect(page.get_by_text(f"Run {run.id} was told to stop")).to_be_visible()
    assert await process.wait() != 0
    async with served.database.session() as session:
        audited = (await session.exec(select(Audit).where(Audit.action == "run.cancel"))).one()
    assert (audited.actor, audited.subject) == (OPERATOR, f"run {run.id}")


async def test_a_run_s_page_says_verdict_reasons_symptoms_and_what_each_answered(
    page: Page, served: Served
) -> None:
    symptom = {"name": "style collapse", "meaning": "its answers all look the same", "figures": []}
    metrics = {
        "symptoms": [symptom | {"remedy": "Approve other answers."}],
        "reasons": ["It answers more rightly."],
        "training": {"curve": [{"step": 1, "loss": 3.25}, {"step": 2, "loss": 2.5, "validation_loss": 2.75}]},
    }
    run = await finished.run(served.database, metrics=metrics, lost="Question 4?")
    await page.goto("/runs")
    await expect(page.get_by_role("listitem").filter(has_text="It answers more rightly.")).to_be_visible()
    await page.goto(f"/runs/{run}")
    await expect(page.get_by_text("It answers more rightly.")).to_have_count(1)
    await expect(page.locator(".tl-sample").first).to_contain_text("Question 4?")  # right before, now wrong
    await expect(page.get_by_role("row", name="answered rightly 0.500 0.500")).to_be_visible()
    await expect(page.get_by_text("What to do: Approve other answers.")).to_be_visible()
    chart = page.get_by_role("img", name="Loss by step: training and validation")
    await expect(chart).to_be_visible()
    await page.get_by_text("The figures as a table").click()
    await expect(page.get_by_role("cell", name="2.7500")).to_be_visible()
    await page.get_by_text("Question 3?").click()
    await expect(page.get_by_text("What candidate said 3.")).to_be_visible()

    without_reasons = await finished.run(served.database, metrics={})
    await page.goto(f"/runs/{without_reasons}")
    await expect(page.get_by_text("Promoted: its figures say so.")).to_be_visible()


async def test_a_run_that_there_is_not_leads_back_to_the_others(page: Page) -> None:
    await page.goto("/runs/4711")
    await expect(page.get_by_role("heading", name="There is no such run.")).to_be_visible()
    await page.get_by_role("link", name="All runs").click()
    await expect(page.get_by_role("heading", name="Runs", exact=True)).to_be_visible()


async def test_two_chosen_runs_are_shown_beside_one_another(page: Page, served: Served) -> None:
    curve = [{"step": 1, "validation_loss": 3.0}, {"step": 2, "validation_loss": 2.0}]
    first, second = [
        await finished.run(served.database, metrics={"training": {"curve": curve}}) for _ in range(2)
    ]
    await page.goto("/runs")
    button = page.get_by_role("button", name="Compare the chosen runs")
    await expect(button).to_be_disabled()
    await expect(page.get_by_text("Choose two or more runs to compare.")).to_be_visible()
    for number in (first, second):
        await page.get_by_role("checkbox", name=f"Choose run {number} to compare", exact=True).click()
    await button.click()
    await expect(page.get_by_role("heading", name=f"Runs {first}, {second} beside")).to_be_visible()
    await expect(page.get_by_role("img", name="validation loss")).to_be_visible()


async def test_older_runs_are_a_page_away(page: Page, served: Served) -> None:
    oldest = await finished.run(served.database)
    for _ in range(21):
        await finished.run(served.database)
    await page.goto("/runs")
    await expect(page.get_by_role("row")).to_have_count(21)
    await page.get_by_role("link", name="Older").click()
    await expect(page.get_by_role("link", name=f"Run {oldest}", exact=True)).to_be_visible()
    await page.get_by_role("link", name="Newest").click()
    await expect(page.get_by_role("link", name=f"Run {oldest}", exact=True)).to_have_count(0)
