"""The whole way in one run, on both databases; and every way in which it can end."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import col, select

from bot.knowledge.knowledge import Knowledge
from bot.knowledge.training_lookup import TrainingLookup
from feedback import review
from feedback.database import Database
from feedback.tables import Adapter, Dataset, Deployment, Evaluation, Run, now
from tests.chronicle import Chronicle
from tests.conftest import SQLITE
from tests.doubles.tiny_model import write_tiny_model
from tests.training import lessons
from training.adapters import deployments, registry
from training.data import dataset
from training.errors import (
    ModelError,
    NotEnoughPairs,
    PairsError,
    ReviewsQuarantined,
    RunUnderWay,
    TakenForDead,
    TrainingError,
)
from training.examination import reasons
from training.fit.forecast import Forecast
from training.model.base_model import ModelChoice
from training.progress import Progress
from training.run import due, lifecycle, report, retrain, threads
from training.run.conclusion import Outcome
from training.settings import GateSettings

SETTINGS = lessons.settings(min_pairs=4, min_new_pairs=3, validation_share=0.2, examination_questions=4)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
async def taught(chronicle: Chronicle) -> Chronicle:
    """A community with enough approved answers for a tiny run."""
    await _teach(chronicle, 0, 10)
    return chronicle


@pytest.fixture
def model(tiny_model_folder: Path) -> ModelChoice:
    return _choice(tiny_model_folder)


async def _teach(chronicle: Chronicle, first: int, count: int) -> None:
    for number in range(first, first + count):
        await chronicle.approved(
            f"What is item {number}?", f"Item {number} is a lamp.", conversation=f"thread {number}"
        )


def _choice(folder: Path) -> ModelChoice:
    return ModelChoice(str(folder), folder.parent, device="cpu", precision="fp32")


async def _retrain(chronicle: Chronicle, data: Path, model: ModelChoice, **given: Any) -> Outcome:
    options: dict[str, Any] = {
        "settings": SETTINGS,
        "gate_settings": lessons.LENIENT,
        "default_persona": "plain",
        "started_by": "ada",
    }
    return await retrain.retrain(chronicle.database, data=data, model=model, **(options | given))


async def _rows(database: Database, table: Any) -> list[Any]:
    async with database.session(read_only=True) as session:
        return list((await session.exec(select(table).order_by(col(table.id)))).all())


async def _run(database: Database) -> Run:
    found: Run = (await _rows(database, Run))[-1]
    return found


def _unfinished(data: Path) -> list[Path]:
    return sorted(data.rglob(".*.part"))


# --- the whole way ---


async def test_a_better_adapter_is_trained_registered_and_serves_everyone(
    taught: Chronicle, data: Path, model: ModelChoice
) -> None:
    outcome = await _retrain(taught, data, model)
    database = taught.database
    assert (outcome.adapter, outcome.verdict.promote) == ("community@1", True)
    assert outcome.metrics["candidate"]["loss"] < outcome.metrics["base"]["loss"]
    assert list(outcome.seconds) == ["dataset", "training", "evaluation", "verdict", "deployment"]

    run = await _run(database)
    assert (run.id, run.state, run.step, run.started_by) == (outcome.run, "promoted", "deployment", "ada")
    assert (run.pid, run.verdict) == (os.getpid(), str(outcome.verdict))
    assert run.finished_at is not None and run.settings["rank"] == SETTINGS.rank

    async with database.session(read_only=True) as session:
        serving = await deployments.serving(session)
    assert serving is not None and (registry.label(serving), serving.state) == ("community@1", "promoted")
    assert (serving.run_id, serving.dataset_id) == (run.id, run.dataset_id)
    assert serving.metrics["candidate"] == outcome.metrics["candidate"]
    registry.verify(data, serving)
    deployment = (await _rows(database, Deployment))[0]
    assert (deployment.community_id, deployment.decided_by) == (None, f"run {run.id}")

    evaluations = {row.subject: row for row in await _rows(database, Evaluation)}
    assert evaluations.keys() == {"base", "candidate"}
    assert evaluations["candidate"].adapter_id == serving.id
    first = evaluations["candidate"].answers[0]
    assert first["kind"] == "held-out" and first["turn"] and first["community"] == taught.community_id
    assert first["values"].keys() >= {"chrf", "repetition", "memorisation"}
    assert not _unfinished(data)


@SQLITE
async def test_everybody_is_examined_with_notes_and_once_more_without(
    taught: Chronicle, data: Path, model: ModelChoice
) -> None:
    lookup = TrainingLookup(Knowledge(taught.database, None), 3)
    outcome = await _retrain(taught, data, model, lookup=lookup)
    manifest = (await _rows(taught.database, Dataset))[-1].manifest
    assert manifest["notes"]["pairs"] > manifest["notes"]["right"] > 0
    for one in outcome.examined:
        assert len(one.without_notes) == len(one.answers) > 0
        assert [a.loss for a in one.without_notes] != [a.loss for a in one.answers]
    kept = {row.subject: row for row in await _rows(taught.database, Evaluation)}
    assert any(answer["kind"] == "without notes" for answer in kept["candidate"].answers)


@SQLITE
async def test_a_run_leaves_its_report_and_its_symptoms_with_the_verdict(
    taught: Chronicle, data: Path, model: ModelChoice
) -> None:
    outcome = await _retrain(taught, data, model)
    assert outcome.report == report.page(data, outcome.run)
    assert outcome.adapter in outcome.report.read_text(encoding="utf-8")
    kept = (await _rows(taught.database, Adapter))[0].metrics
    assert [symptom["name"] for symptom in kept["symptoms"]] == [one.name for one in outcome.symptoms]
    assert kept["gate"]["min_questions"] == 1 and reasons.kept(kept["reasons"]) == outcome.verdict.reasons
    assert {one["metric"] for one in kept["comparisons"]} >= {"rank_generalisation", "chrf", "general_loss"}


@SQLITE
async def test_a_report_that_cannot_be_written_does_not_undo_the_verdict(
    taught: Chronicle, data: Path, model: ModelChoice
) -> None:
    data.mkdir()
    (data / lifecycle.REPORTS).write_text("in the way", encoding="utf-8")
    outcome = await _retrain(taught, data, model)
    assert outcome.verdict.promote and outcome.report is None
    assert (await _run(taught.database)).state == "promoted"
    async with taught.database.session(read_only=True) as session:
        assert await deployments.serving(session) is not None


@SQLITE
async def test_with_too_few_held_out_questions_a_run_is_rejected_and_says_what_to_do(
    taught: Chronicle, data: Path, model: ModelChoice
) -> None:
    outcome = await _retrain(taught, data, model, gate_settings=GateSettings())
    assert not outcome.verdict.promote and "approve more different answers" in str(outcome.verdict)
    assert (await _rows(taught.database, Adapter))[0].state == "rejected" and outcome.report is not None
    async with taught.database.session(read_only=True) as session:
        assert await deployments.serving(session) is None


@SQLITE
async def test_the_next_run_is_compared_with_what_serves_by_then(
    taught: Chronicle, data: Path, model: ModelChoice
) -> None:
    await _retrain(taught, data, model)
    # the same pairs and seed give the same adapter, which is not better than itself
    second = await _retrain(taught, data, model, gate_settings=GateSettings(min_questions=1))
    assert second.adapter == "community@2" and not second.verdict.promote
    assert second.metrics["candidate"]["loss"] == pytest.approx(second.metrics["current"]["loss"], rel=1e-6)
    database = taught.database
    assert [adapter.state for adapter in await _rows(database, Adapter)] == ["promoted", "rejected"]
    assert [run.state for run in await _rows(database, Run)] == ["promoted", "rejected"]
    assert len(await _rows(database, Dataset)) == 1
    assert len(await _rows(database, Deployment)) == 1


async def test_how_far_a_run_is_can_be_read_in_the_record_meanwhile(
    taught: Chronicle, data: Path, model: ModelChoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "RECORD_EVERY_S", 0.0)
    noted: list[tuple[str, int]] = []
    note = lifecycle.record_heartbeat

    async def listen(database: Database, run_id: int, progress: Progress | None) -> None:
        await note(database, run_id, progress)
        run = await _run(database)
        noted.append((run.step, run.progress.get("total", 0)))

    monkeypatch.setattr(lifecycle, "record_heartbeat", listen)
    heard: list[Progress] = []
    await _retrain(taught, data, model, on_progress=heard.append)
    assert {progress.step for progress in heard} == set(
        ("dataset", "training", "evaluation", "verdict", "deployment")
    )
    assert "training" in {step for step, total in noted if total}


@SQLITE
async def test_an_adapter_in_service_of_another_base_model_is_not_compared_with(
    taught: Chronicle, data: Path, model: ModelChoice, tmp_path: Path
) -> None:
    await _retrain(taught, data, model)
    other = _choice(write_tiny_model(tmp_path / "other-llama", seed=7))
    outcome = await _retrain(taught, data, other)
    assert outcome.metrics.keys() == {"base", "candidate"}
    assert outcome.verdict.promote
    assert "belongs to another base model (tiny-llama)" in str(outcome.verdict)


@SQLITE
async def test_a_damaged_adapter_in_service_does_not_keep_its_successor_away(
    taught: Chronicle, data: Path, model: ModelChoice
) -> None:
    await _retrain(taught, data, model)
    (data / "adapters/community/1/adapter_model.safetensors").write_bytes(b"")
    outcome = await _retrain(taught, data, model)
    assert outcome.verdict.promote and "adapter_model.safetensors is corrupt" in str(outcome.verdict)


@SQLITE
async def test_what_was_switched_by_hand_meanwhile_is_not_replaced(
    taught: Chronicle, data: Path, model: ModelChoice
) -> None:
    await _retrain(taught, data, model)
    loop = asyncio.get_running_loop()

    async def switch() -> None:
        async with taught.database.session() as session:
            await deployments.switch(session, None, by="mo")

    heard = _when("evaluation", 1, lambda: asyncio.run_coroutine_threadsafe(switch(), loop).result())
    better = SETTINGS.model_copy(update={"epochs": 8})
    outcome = await _retrain(taught, data, model, settings=better, on_progress=heard)
    assert not outcome.verdict.promote and "while this run was under way" in str(outcome.verdict)
    async with taught.database.session(read_only=True) as session:
        assert await deployments.serving(session) is None


async def test_a_run_that_another_machine_took_for_dead_deploys_nothing_when_it_wakes_up(
    taught: Chronicle, data: Path, model: ModelChoice
) -> None:
    loop = asyncio.get_running_loop()

    async def close() -> None:
        run_id = (await _run(taught.database)).id or 0
        async with taught.database.session() as session:
            await lifecycle.end(session, run_id, "failed", lifecycle.DIED)

    heard = _when("evaluation", 1, lambda: asyncio.run_coroutine_threadsafe(close(), loop).result())
    with pytest.raises(TakenForDead):
        await _retrain(taught, data, model, on_progress=heard)
    assert (await _run(taught.database)).verdict == lifecycle.DIED
    assert not await _rows(taught.database, Adapter) and not await _rows(taught.database, Deployment)
    assert not list((data / "adapters").glob("*/*"))


# --- stopped ---


class _Here(Exception):
    pass


def _when(step: str, done: int, do: Callable[[], Any]) -> Callable[[Progress], None]:
    def heard(progress: Progress) -> None:
        if progress.step == step and progress.done >= done:
            do()

    return heard


async def _cancelled(
    chronicle: Chronicle, data: Path, model: ModelChoice, step: str, done: int, **given: Any
) -> None:
    """A run that is cancelled, and knows it, before it goes further than that."""
    loop = asyncio.get_running_loop()
    work: list[asyncio.Task[Outcome]] = []

    async def cancel() -> None:
        work[0].cancel()
        await asyncio.sleep(0)

    heard = _when(step, done, lambda: asyncio.run_coroutine_threadsafe(cancel(), loop).result())
    work.append(asyncio.create_task(_retrain(chronicle, data, model, on_progress=heard, **given)))
    with pytest.raises(asyncio.CancelledError):
        await work[0]


@pytest.mark.parametrize(("step", "done"), [("training", 1), ("evaluation", 1)])
async def test_a_run_that_is_cancelled_leaves_nothing_but_its_row(
    taught: Chronicle, data: Path, model: ModelChoice, step: str, done: int
) -> None:
    await _cancelled(taught, data, model, step, done)
    run = await _run(taught.database)
    assert (run.state, run.verdict) == ("cancelled", lifecycle.CANCELLED)
    assert run.finished_at is not None
    assert not _unfinished(data) and not (data / "adapters").exists()
    assert not await _rows(taught.database, Adapter)


@SQLITE
async def test_a_run_that_is_cancelled_after_a_checkpoint_is_resumed(
    taught: Chronicle, data: Path, model: ModelChoice
) -> None:
    settings = SETTINGS.model_copy(update={"epochs": 4.0, "batch_size": 4})
    await _cancelled(taught, data, model, "training", 5, settings=settings)
    run = await _run(taught.database)
    assert run.state == "cancelled" and "resumes at step 4." in run.verdict
    told: list[Forecast] = []
    await _retrain(taught, data, model, settings=settings, on_plan=told.append)
    assert told[0].reasons[-1].en == f"Resuming run {run.id} at step 4."
    assert not _unfinished(data)


async def test_a_run_that_is_cancelled_again_while_it_stops_still_tidies_up(
    taught: Chronicle, data: Path, model: ModelChoice
) -> None:
    loop = asyncio.get_running_loop()
    work: list[asyncio.Task[Outcome]] = []
    told: list[Progress] = []

    def cancel_twice(progress: Progress) -> None:
        if progress.step == "training" and progress.done >= 1:
            told.append(progress)
            asyncio.run_coroutine_threadsafe(twice(), loop).result()

    async def twice() -> None:
        work[0].cancel()
        await asyncio.sleep(0)
        work[0].cancel()
        await asyncio.sleep(0)

    work.append(asyncio.create_task(_retrain(taught, data, model, on_progress=cancel_twice)))
    with pytest.raises(asyncio.CancelledError):
        await work[0]
    assert len(told) == 1, "the thread had ended when the run did"
    assert (await _run(taught.database)).state == "cancelled"
    assert not _unfinished(data)


async def test_after_a_cancelled_run_the_next_one_starts(
    taught: Chronicle, data: Path, model: ModelChoice
) -> None:
    loop = asyncio.get_running_loop()
    work: list[asyncio.Task[Outcome]] = []
    heard = _when("training", 1, lambda: loop.call_soon_threadsafe(work[0].cancel))
    work.append(asyncio.create_task(_retrain(taught, data, model, on_progress=heard)))
    with suppress(asyncio.CancelledError):
        await work[0]
    assert (await _retrain(taught, data, model)).adapter == "community@1"


async def test_a_second_run_at_the_same_time_is_refused_naming_the_first(
    taught: Chronicle, data: Path, model: ModelChoice
) -> None:
    training = asyncio.Event()
    loop = asyncio.get_running_loop()
    heard = _when("training", 0, lambda: loop.call_soon_threadsafe(training.set))
    first = asyncio.create_task(_retrain(taught, data, model, on_progress=heard))
    await training.wait()
    with pytest.raises(
        RunUnderWay, match=rf"Run \d+ is already training \(process {os.getpid()}\)"
    ) as caught:
        await _retrain(taught, data, model)
    outcome = await first
    assert caught.value.run == outcome.run and outcome.verdict.promote
    assert len(await _rows(taught.database, Run)) == 1


async def test_a_run_whose_process_died_is_closed_and_its_files_are_swept(
    taught: Chronicle, data: Path, model: ModelChoice
) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead = await lifecycle.begin(taught.database, adapter_name="community", started_by="ada", settings={})
    async with taught.database.session() as session:
        dead.pid = ended.pid
        session.add(dead)
    part = data / lifecycle.RUNS / f".run-{dead.id}.{ended.pid}-0a1b2c3d.part"
    (part / "checkpoints").mkdir(parents=True)
    await _retrain(taught, data, model)
    states = [(run.state, run.verdict) for run in await _rows(taught.database, Run)]
    assert states[0] == ("failed", lifecycle.DIED)
    assert not part.exists()


async def test_a_later_process_of_the_same_number_is_not_taken_for_the_run_s(
    taught: Chronicle, data: Path, model: ModelChoice
) -> None:
    run = await lifecycle.begin(taught.database, adapter_name="community", started_by="ada", settings={})
    async with taught.database.session() as session:
        run.pid, run.started_at = os.getppid(), now() - timedelta(days=4000)
        session.add(run)
    async with lifecycle.alone(taught.database, data):
        assert (await _run(taught.database)).state == "failed"


# --- bad input ---


@pytest.mark.parametrize("pairs", [0, 3])
async def test_with_too_few_pairs_nothing_is_loaded_and_nothing_has_failed(
    chronicle: Chronicle, data: Path, tmp_path: Path, pairs: int
) -> None:
    await _teach(chronicle, 0, pairs)
    nowhere = ModelChoice(str(tmp_path / "no such model"), tmp_path)
    with pytest.raises(NotEnoughPairs, match="approved pairs are ready"):
        await _retrain(chronicle, data, nowhere)
    run = await _run(chronicle.database)
    assert run.state == "cancelled" and "approved pairs are ready" in run.verdict
    assert not _unfinished(data)


async def test_a_run_for_which_only_quarantined_approvals_are_new_is_cancelled_and_says_how_to_release_them(
    taught: Chronicle, data: Path, tmp_path: Path
) -> None:
    settings = SETTINGS.model_copy(update={"held_burst": 12})
    built = await dataset.build(
        taught.database, data, name=settings.adapter_name, settings=settings, default_persona="plain"
    )
    async with taught.database.session() as session:
        seen = Run(
            adapter_name=settings.adapter_name, started_by="test", dataset_id=built.id, state="promoted"
        )
        session.add(seen)
        await session.flush()
        adapter = Adapter(
            name=settings.adapter_name,
            version=1,
            state="promoted",
            folder="adapters/community/1",
            content_hash="h",
            base_model="tiny",
            base_revision="r",
            dataset_id=built.id,
            run_id=seen.id,
        )
        session.add(adapter)
    for number in range(13):
        turn = await taught.answered(f"What does the stranger say about thing {number}?")
        async with taught.database.session() as session:
            await review.decide(session, turn, "discord:mallory", "approve")
    with pytest.raises(ReviewsQuarantined, match="13 by discord:mallory"):
        await _retrain(taught, data, ModelChoice("no such model", tmp_path), settings=settings)
    run = await _run(taught.database)
    assert run.state == "cancelled" and "`thumbloop review trust discord:mallory`" in run.verdict


@SQLITE
async def test_a_model_that_does_not_exist_is_named_and_the_run_is_failed(
    taught: Chronicle, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="no such model"):
        await _retrain(taught, data, ModelChoice("no such model", tmp_path))
    run = await _run(taught.database)
    assert run.state == "failed" and "no such model" in run.verdict
    assert not _unfinished(data)


@SQLITE
async def test_a_corrupted_dataset_is_made_anew_from_the_record(
    taught: Chronicle, data: Path, model: ModelChoice
) -> None:
    built = await dataset.build(
        taught.database, data, name="community", settings=SETTINGS, default_persona="plain"
    )
    (data / built.folder / "train.jsonl").write_text("{broken\n", encoding="utf-8")
    assert (await _retrain(taught, data, model)).verdict.promote


@SQLITE
async def test_a_dataset_that_breaks_under_the_run_is_said_with_its_line(
    taught: Chronicle, data: Path, model: ModelChoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = dataset.load

    def broken(folder: Path, frozen: Dataset) -> dataset.Splits:
        (folder / frozen.folder / "train.jsonl").write_text("{broken\n", encoding="utf-8")
        return load(folder, frozen)

    monkeypatch.setattr(dataset, "load", broken)
    with pytest.raises(PairsError, match="line 1"):
        await _retrain(taught, data, model)
    run = await _run(taught.database)
    assert run.state == "failed" and "line 1" in run.verdict


@SQLITE
async def test_a_disk_that_fills_up_fails_the_run_with_a_sentence(
    taught: Chronicle, data: Path, model: ModelChoice
) -> None:
    def fill() -> None:
        for staging in (data / lifecycle.RUNS).glob(".run-*.part"):
            (staging / "adapter").mkdir(exist_ok=True)
            with suppress(FileExistsError):
                (staging / "adapter" / "adapter_config.json").symlink_to("/dev/full")

    with pytest.raises(TrainingError, match="disk is full"):
        await _retrain(taught, data, model, on_progress=_when("training", 1, fill))
    run = await _run(taught.database)
    assert run.state == "failed" and "disk is full" in run.verdict
    assert not _unfinished(data) and not await _rows(taught.database, Adapter)


@SQLITE
async def test_a_data_folder_that_cannot_be_written_is_named(
    taught: Chronicle, tmp_path: Path, model: ModelChoice
) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(TrainingError, match="file"):
        await _retrain(taught, tmp_path / "file" / "data", model)
    assert not await _rows(taught.database, Run)


@SQLITE
async def test_what_nobody_expected_fails_the_run_without_giving_the_details_away(
    taught: Chronicle, data: Path, model: ModelChoice
) -> None:
    def stumble() -> None:
        raise _Here("a secret")

    with pytest.raises(_Here):
        await _retrain(taught, data, model, on_progress=_when("training", 1, stumble))
    run = await _run(taught.database)
    assert (run.state, run.verdict) == ("failed", lifecycle.UNEXPECTED)
    assert not _unfinished(data)


async def test_an_adapter_that_cannot_be_recorded_leaves_no_files(
    taught: Chronicle, data: Path, model: ModelChoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: Any, **__: Any) -> None:
        raise TrainingError("The record is gone.")

    monkeypatch.setattr(deployments, "switch", refuse)
    with pytest.raises(TrainingError, match="gone"):
        await _retrain(taught, data, model)
    assert not list((data / "adapters").glob("*/*")) and not await _rows(taught.database, Adapter)
    assert (await _run(taught.database)).state == "failed"


# --- when the next one is due ---


async def _due(chronicle: Chronicle) -> tuple[int, bool]:
    async with chronicle.database.session(read_only=True) as session:
        return (
            await due.count_new_pairs(session, SETTINGS.adapter_name),
            await due.is_due(session, SETTINGS, "plain"),
        )


async def test_a_run_is_due_when_enough_pairs_were_approved_since_the_last_verdict(
    taught: Chronicle, data: Path, model: ModelChoice
) -> None:
    assert await _due(taught) == (10, True)
    await _retrain(taught, data, model)
    assert await _due(taught) == (0, False)
    await _teach(taught, 100, 2)
    assert await _due(taught) == (2, False)
    await _teach(taught, 200, 1)
    assert await _due(taught) == (3, True)


@SQLITE
async def test_a_run_without_a_verdict_has_seen_nothing(
    taught: Chronicle, data: Path, model: ModelChoice
) -> None:
    def stumble() -> None:
        raise _Here

    with pytest.raises(_Here):
        await _retrain(taught, data, model, on_progress=_when("training", 1, stumble))
    assert await _due(taught) == (10, True)


async def test_an_approval_that_was_undone_is_not_counted(taught: Chronicle) -> None:
    turn = await taught.approved("What is item 50?", "Item 50 is a lamp.")
    async with taught.database.session() as session:
        await review.undo(session, turn, "mo")
    assert await _due(taught) == (10, True)
