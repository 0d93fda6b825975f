"""The trainings of a run in their order: what follows what, less memory at once, going on after a kill."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from sqlmodel import col, select

from feedback import review
from feedback.tables import Adapter, Run
from tests.chronicle import Chronicle
from tests.conftest import SQLITE
from tests.training import lessons
from training.data.pairs import PreferencePair
from training.data.preferences import Preferences
from training.errors import TrainingError
from training.fit import out_of_memory, stages
from training.fit.forecast import Forecast
from training.fit.stages import Prepared
from training.model.base_model import BaseModel
from training.progress import Progress

SETTINGS = {"preference_learning_rate": 0.01, "preference_epochs": 2}


@pytest.fixture
def base(tiny_model_folder: Path) -> BaseModel:
    return lessons.load(tiny_model_folder)


def _preferences(train: int = 8, validation: int = 2, *, contrary: bool = False) -> Preferences:
    """Preferences about items that SFT does not teach; `contrary`: the validation wants the opposite."""
    found = Preferences()
    for number in range(train + validation):
        pair = PreferencePair(
            f"Who has {number}?", chosen=f"Ada has {number}.", rejected=f"Ben, not {number}."
        )
        if number < train:
            found.pairs["train"].append(pair)
        elif contrary:
            found.pairs["validation"].append(replace(pair, chosen=pair.rejected, rejected=pair.chosen))
        else:
            found.pairs["validation"].append(pair)
    return found


def _prepared(folder: Path, found: Preferences, **given: Any) -> Prepared:
    settings = lessons.settings(**(SETTINGS | given))
    return stages.prepare(lessons.splits(), found, settings, lessons.choice(folder))


# --- what follows what ---


def test_dpo_follows_sft_and_both_are_in_the_figures(
    base: BaseModel, tiny_model_folder: Path, tmp_path: Path
) -> None:
    prepared = _prepared(tiny_model_folder, _preferences(), method="dpo")
    heard: list[Progress] = []
    trained = stages.train(base, lessons.splits(), prepared, tmp_path, on_progress=heard.append)
    figures = trained.metrics
    assert figures["stages"] == ["sft", "dpo"] and figures["pairs"] == 8
    assert figures["preference"]["examples"] == 8 and figures["preference"]["helped"]
    assert figures["preference"]["held_out_margin_after"] > figures["preference"]["held_out_margin_before"]
    sft = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    dpo = load_file(trained.folder / "adapter_model.safetensors")
    assert sft.keys() == dpo.keys() and any(not torch.equal(sft[name], dpo[name]) for name in sft)
    assert heard[-1].done == heard[-1].total == figures["preference"]["steps"]


def test_preferences_that_did_not_help_leave_the_adapter_as_sft_made_it(
    base: BaseModel, tiny_model_folder: Path, tmp_path: Path
) -> None:
    prepared = _prepared(tiny_model_folder, _preferences(contrary=True), method="dpo")
    trained = stages.train(base, lessons.splits(), prepared, tmp_path)
    assert not trained.metrics["preference"]["helped"]
    assert trained.folder == tmp_path / "adapter"


# --- memory runs out ---


def _with_room_for(base: BaseModel, tokens: int) -> list[int]:
    """Let the model run out of memory above that many tokens at once; the list hears of every pass."""
    passes: list[int] = []

    def full(module: Any, inputs: Any, options: dict[str, Any]) -> None:
        passes.append(options["input_ids"].numel())
        if passes[-1] > tokens:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    base.model.model.register_forward_pre_hook(full, with_kwargs=True)
    return passes


def test_where_memory_runs_out_it_is_tried_with_less_at_once(
    base: BaseModel, tiny_model_folder: Path, tmp_path: Path
) -> None:
    prepared = _prepared(tiny_model_folder, Preferences(), batch_size=8)
    passes = _with_room_for(base, 170)
    trained = stages.train(base, lessons.splits(), prepared, tmp_path)
    assert max(passes) > 170 and trained.metrics["steps"] == 2
    assert (trained.folder / "adapter_model.safetensors").is_file()


def test_where_the_smallest_does_not_fit_it_ends_in_a_sentence(
    base: BaseModel, tiny_model_folder: Path, tmp_path: Path
) -> None:
    prepared = _prepared(tiny_model_folder, Preferences())
    passes = _with_room_for(base, 10)
    with pytest.raises(TrainingError, match=r"not enough memory .*QUANTISATION=4bit"):
        stages.train(base, lessons.splits(), prepared, tmp_path)
    assert len(passes) >= out_of_memory.ATTEMPTS


# --- killed, and gone on with ---


class _Killed(Exception):
    pass


def _at_step(step: int, do: Callable[[], Any]) -> Callable[[Progress], None]:
    def heard(progress: Progress) -> None:
        if progress.step == "training" and progress.done == step:
            do()
            raise _Killed

    return heard


def _left_by_a_dead_process(part: Path) -> Path:
    """The folder under the name of a process that has ended."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    run = part.name.split(".")[1]
    return part.rename(part.with_name(f".{run}.{ended.pid}-0a.part"))


def _part(folder: Path, run: int) -> Path:
    part = folder / f".run-{run}.{os.getpid()}-0b.part"
    part.mkdir()
    return part


def test_a_run_killed_in_its_preferences_does_not_repeat_sft(
    base: BaseModel, tiny_model_folder: Path, tmp_path: Path
) -> None:
    prepared = _prepared(tiny_model_folder, _preferences(), method="dpo", batch_size=4)
    left = _part(tmp_path, 1)
    assert stages.begin(left, 1, "the same") is None

    def heard(progress: Progress) -> None:
        if "reward_margin" in progress.figures and progress.done == 3:
            raise _Killed

    with pytest.raises(_Killed):
        stages.train(base, lessons.splits(), prepared, left, on_progress=heard)
    _left_by_a_dead_process(left)
    staging = _part(tmp_path, 2)
    resumed = stages.begin(staging, 2, "the same")
    assert resumed is not None and resumed.run == 1 and resumed.step >= 2
    steps: list[int] = []
    trained = stages.train(
        base,
        lessons.splits(),
        prepared,
        staging,
        resume=True,
        on_progress=lambda progress: steps.append(progress.done),
    )
    assert min(steps) > 1 and max(steps) == 4, "SFT was not trained again, nor DPO from its beginning"
    assert trained.metrics["stages"] == ["sft", "dpo"] and trained.metrics["steps"] == 4


@pytest.mark.parametrize("identity", ["another", "the same"])
def test_only_a_run_of_the_same_kind_is_gone_on_with_and_the_others_are_removed(
    tmp_path: Path, identity: str
) -> None:
    left = [_part(tmp_path, run) for run in (1, 2)]
    for run, part in enumerate(left, start=1):
        stages.begin(part, run, "the same")
    checkpoint = left[0] / "checkpoints" / "checkpoint-7"
    checkpoint.mkdir(parents=True)
    (checkpoint / "trainer_state.json").write_text("{}")
    for part in left:
        _left_by_a_dead_process(part)
    staging = _part(tmp_path, 3)
    resumed = stages.begin(staging, 3, identity)
    assert resumed == (stages.Resumed(run=1, step=7) if identity == "the same" else None)
    assert (staging / "checkpoints").is_dir() == (identity == "the same")
    assert list(tmp_path.iterdir()) == [staging]
    assert json.loads((staging / stages.JOB).read_bytes())["run"] == 3


# --- whole runs ---


@pytest.fixture
async def taught(chronicle: Chronicle) -> Chronicle:
    for number in range(10):
        await chronicle.approved(
            f"What is item {number}?", f"Item {number} is a lamp.", conversation=f"thread {number}"
        )
    return chronicle


@SQLITE
async def test_a_run_killed_in_training_is_gone_on_from_by_the_next_one(
    taught: Chronicle, tiny_model_folder: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"

    def leave_behind() -> None:
        # what the file system keeps of a process that is killed at this moment
        (part,) = (data / "runs").glob(".run-1.*.part")
        _left_by_a_dead_process(shutil.copytree(part, part.with_name(f".run-1.{os.getpid()}-0c.part")))

    with pytest.raises(_Killed):
        await lessons.retrained(
            taught, data, tiny_model_folder, epochs=4, on_progress=_at_step(6, leave_behind)
        )
    told: list[Forecast] = []
    steps: list[int] = []

    def heard(progress: Progress) -> None:
        if progress.step == "training" and progress.total:
            steps.append(progress.done)

    await lessons.retrained(taught, data, tiny_model_folder, on_plan=told.append, epochs=4, on_progress=heard)
    assert told[0].reasons[-1].en.startswith("Resuming run 1 at step ")
    assert min(steps) > 1 and max(steps) > 6
    async with taught.database.session(read_only=True) as session:
        run = (await session.exec(select(Run).order_by(col(Run.id).desc()))).first()
    assert run is not None and run.settings["resumes"] == 1
    kept = run.settings["plan"]
    assert kept["stages"] == ["sft"] and kept["reasons"] == [one._asdict() for one in told[0].reasons]
    assert not list((data / "runs").glob(".run-*"))


@SQLITE
async def test_a_run_goes_on_from_the_adapter_in_service_if_told(
    taught: Chronicle, tiny_model_folder: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    first = await lessons.retrained(taught, data, tiny_model_folder, epochs=4)
    assert first.verdict.promote
    told: list[Forecast] = []
    second = await lessons.retrained(
        taught, data, tiny_model_folder, on_plan=told.append, start_from="current", epochs=2
    )
    assert "Continues community@1." in [one.en for one in told[0].reasons]
    curve = second.metrics["candidate"]
    assert curve["loss"] < first.metrics["candidate"]["loss"]
    async with taught.database.session(read_only=True) as session:
        adapters = (await session.exec(select(Adapter).order_by(col(Adapter.id)))).all()
    assert [adapter.continues_id for adapter in adapters] == [None, adapters[0].id]


@SQLITE
async def test_edits_in_the_record_are_learnt_as_preferences_and_kept_with_the_dataset(
    taught: Chronicle, tiny_model_folder: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    for number in range(10, 16):
        turn = await taught.answered(f"What is item {number}?")
        async with taught.database.session() as session:
            await review.decide(session, turn, "mo", "edit", answer=f"Item {number} is a lamp.")
    told: list[Forecast] = []
    await lessons.retrained(
        taught, data, tiny_model_folder, on_plan=told.append, epochs=4, method="dpo", **SETTINGS
    )
    assert told[0].stages == ("sft", "dpo")
    async with taught.database.session(read_only=True) as session:
        (run,) = (await session.exec(select(Run))).all()
        (adapter,) = (await session.exec(select(Adapter))).all()
    assert adapter.metrics["training"]["preference"]["method"] == "dpo"
    kept = run.settings["preferences"]
    (place,) = (data / "datasets/community/1").glob("preferences-*")
    assert place.name == f"preferences-{kept['content_hash'][:12]}"
    assert sum(kept["pairs"].values()) == len((place / "preferences.jsonl").read_bytes().splitlines())
