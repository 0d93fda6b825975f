"""Several processes training together: the same adapter as one would make, and what happens when one dies."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from accelerate.data_loader import SeedableRandomSampler
from safetensors.torch import load_file
from sqlmodel import col, select
from torch.distributed import TCPStore
from torch.utils.data import BatchSampler

import training.errors
from feedback.errors import UsageError
from feedback.tables import Adapter, Run
from tests.chronicle import Chronicle
from tests.conftest import SQLITE
from tests.training import lessons, together
from training.adapters import registry
from training.data.dataset import messages
from training.data.preferences import Preferences
from training.errors import TrainingError, TrainingInterrupted
from training.fit import accelerate_config, launch, machine, stages
from training.fit.distributed import Ranks, SharedBatches, SharedLoader
from training.fit.forecast import Forecast
from training.fit.packing import answer_loss
from training.fit.sft import Trained, packed
from training.fit.worker import Job
from training.model import attach
from training.model.chat_format import training_example
from training.progress import Progress
from training.settings import TrainingSettings


@pytest.fixture
async def taught(chronicle: Chronicle) -> Chronicle:
    for number in range(14):
        await chronicle.approved(
            f"What is item {number}?",
            f"Item {number} is {'a lamp. ' * (1 + number % 4)}",
            conversation=f"thread {number}",
        )
    return chronicle


def _workers() -> list[psutil.Process]:
    under = psutil.Process().children(recursive=True)
    return [
        process
        for process in under
        if "training.fit.worker" in process.cmdline() and "RANK" in process.environ()
    ]


async def _weights(chronicle: Chronicle, data: Path) -> dict[str, torch.Tensor]:
    async with chronicle.database.session(read_only=True) as session:
        adapter = (await session.exec(select(Adapter).order_by(col(Adapter.id).desc()))).first()
    assert adapter is not None
    return load_file(registry.verify(data, adapter) / "adapter_model.safetensors")


@pytest.mark.slow
@pytest.mark.timeout(600)  # two groups of processes, one after the other
@SQLITE
async def test_two_processes_of_which_one_is_killed_end_at_the_adapter_of_one(
    taught: Chronicle, tiny_model_folder: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    run: dict[str, Any] = {"batch_size": 4, "epochs": 4, "replay_weight": 1}
    ended: list[psutil.Process] = []

    def kill_one(progress: Progress) -> None:
        if progress.step == "training" and progress.done >= 4 and not ended:
            ended.extend(_workers())
            (second,) = [process for process in ended if process.environ()["RANK"] == "1"]
            os.kill(second.pid, signal.SIGKILL)

    with pytest.raises(TrainingInterrupted, match=r"(process 2|one) of 2( processes)? died"):
        await lessons.retrained(taught, data, tiny_model_folder, **run, processes=2, on_progress=kill_one)
    assert len(ended) == 2 and not any(process.is_running() for process in ended)
    plans: list[Forecast] = []
    steps: list[int] = []

    def heard(progress: Progress) -> None:
        if progress.step == "training" and progress.total:
            steps.append(progress.done)

    await lessons.retrained(
        taught,
        data,
        tiny_model_folder,
        **run,
        processes=2,
        on_progress=heard,
        on_plan=plans.append,
    )
    assert plans[0].processes == 2 and plans[0].reasons[-1].en.startswith("Resuming run 1 at step ")
    assert min(steps) > 1
    together = await _weights(taught, data)
    async with taught.database.session(read_only=True) as session:
        runs = (await session.exec(select(Run).order_by(col(Run.id)))).all()
    assert runs[0].state == "failed"
    assert not list((data / "runs").glob(".run-*"))

    await lessons.retrained(taught, data, tiny_model_folder, **run, processes=1)
    alone = await _weights(taught, data)
    assert alone.keys() == together.keys()
    assert all(torch.allclose(alone[name], together[name], atol=1e-4) for name in alone)


# --- several kinds of training, several ways to spread a model ---


@pytest.mark.slow
def test_preferences_and_a_model_that_is_spread_over_processes_end_at_the_adapter_of_one(
    processes: ForkServerContext, tiny_model_folder: Path, tmp_path: Path
) -> None:
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    arguments = (store.port, tiny_model_folder, tmp_path)
    group = [processes.Process(target=together.main, args=(own, *arguments), daemon=True) for own in range(2)]
    for process in group:
        process.start()
    while alive := [process.sentinel for process in group if process.exitcode is None]:
        wait(alive)
        if any(process.exitcode for process in group):  # the other one would wait for it
            for process in group:
                process.kill()
    assert [process.exitcode for process in group] == [0, 0]
    alone = together.preferred("dpo", tiny_model_folder, tmp_path / "alone")
    _assert_alike(tmp_path / "dpo" / "preferred" / "adapter", alone.folder)
    alone = together.supervised(tiny_model_folder, tmp_path / "alone")
    _assert_alike(tmp_path / "fsdp" / "adapter", alone.folder)
    # KTO compares with neighbours: of a half as many in a process, so it goes another way
    assert load_file(tmp_path / "kto" / "preferred" / "adapter" / "adapter_model.safetensors")


def _assert_alike(one: Path, other: Path) -> None:
    configs = [json.loads((folder / "adapter_config.json").read_bytes()) for folder in (one, other)]
    assert configs[0] == configs[1]
    left, right = (load_file(folder / "adapter_model.safetensors") for folder in (one, other))
    assert left.keys() == right.keys()
    assert all(torch.allclose(left[name], right[name], atol=1e-4) for name in left)


# --- who gets what of a batch ---


@pytest.mark.parametrize(("count", "rounds"), [(2, 1), (3, 2), (5, 1)])
def test_a_step_of_several_ranks_takes_the_examples_that_a_step_of_one_takes(count: int, rounds: int) -> None:
    lengths = [20 + 7 * number % 60 for number in range(23)]
    whole = list(BatchSampler(SeedableRandomSampler(lengths, data_seed=17), 6, drop_last=False))
    shares = [
        SharedBatches(lengths, batch=6, rounds=rounds, ranks=Ranks(own, count), seed=17)
        for own in range(count)
    ]
    groups = [list(share) for share in shares]
    assert [len(share) for share in shares] == [len(mine) for mine in groups] == [4 * rounds] * count
    for step, batch in enumerate(whole):
        dealt = [group for mine in groups for group in mine[step * rounds : (step + 1) * rounds]]
        assert sorted(example for group in dealt for example in group) == sorted(batch)
        assert max(map(len, dealt)) - min(map(len, dealt)) <= 1


def test_the_order_of_another_epoch_is_another() -> None:
    share = SharedBatches([9] * 16, batch=4, rounds=1, ranks=Ranks(1, 2), seed=17)
    loader = SharedLoader(list(range(16)), batch_sampler=share, collate_fn=list)
    first, again = list(loader), [loader.set_epoch(0), list(loader)][1]
    loader.set_epoch(1)
    assert first == again != list(loader)


def test_who_has_no_example_goes_through_the_model_and_learns_nothing(tiny_model_folder: Path) -> None:
    base = lessons.load(tiny_model_folder)
    peft_model = attach.attach(base, lessons.settings(), start=None)
    example = training_example(base.tokenizer, messages(lessons.pair(1)))
    loss = answer_loss(peft_model, packed([], idle=example))
    loss.backward()
    assert loss.item() == 0
    weights = [weight for weight in peft_model.parameters() if weight.requires_grad]
    assert weights and all(not weight.grad.any() for weight in weights)


# --- why a group ended ---

LOST = {"problem": "A training process failed (RuntimeError: Connection reset by peer).", "remedy": ""}
SENTENCE = {"problem": "The loss became nan at step 3; the run was stopped.", "remedy": "Lower the rate."}
KILLED = "failed (exitcode: -9) local_rank: 1 (pid: 4711) of binary: python"


@pytest.mark.parametrize(
    ("failures", "output", "reason"),
    [
        ([LOST, SENTENCE], KILLED, "The loss became nan at step 3; the run was stopped. Lower the rate."),
        ([LOST], KILLED, "process 2 of 4 died by signal 9 (somebody killed it, or memory ran out)"),
        ([], KILLED, "process 2 of 4 died by signal 9"),
        ([LOST], "exitcode: 1) local_rank: 0", "one of 4 processes died without a word"),
        ([], "", "did not start"),
    ],
)
def test_the_reason_is_told_and_not_what_followed_from_it(
    failures: list[dict[str, Any]], output: str, reason: str
) -> None:
    kinds = {"expected": False, "out_of_memory": False}
    reported = [{**kinds, **failure, "expected": failure is SENTENCE} for failure in failures]
    error = launch.failure(reported, output, 4)
    assert reason in str(error)
    assert isinstance(error, TrainingInterrupted) == (SENTENCE not in failures)


def test_a_group_that_runs_out_of_memory_is_begun_again_with_less_at_once(tmp_path: Path) -> None:
    full = {**LOST, "expected": False, "out_of_memory": True}
    tried: list[int] = []

    def train_stage(stage: str, start: Path | None, batch_divisor: int) -> Trained:
        tried.append(batch_divisor)
        if batch_divisor < 4:
            raise launch.failure([LOST | {"expected": False, "out_of_memory": False}, full], "", 2)
        return Trained(tmp_path, {})

    forecast = Forecast(("sft",), lessons.settings(), 512, False, 1, 1, 1, 1.0, 1, 1)
    assert stages.run_stages(train_stage, forecast, tmp_path).metrics == {"stages": ["sft"]}
    assert tried == [1, 2, 4]


# --- what cannot be ---


def test_the_processes_find_our_packages_wherever_thumbloop_is_started(
    tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    settings = lessons.settings()
    forecast = Forecast(("sft",), settings, 512, False, 1, 1, 1, 1.0, 1, 1, processes=2)
    prepared = stages.Prepared(Preferences(), forecast)
    job = Job(lessons.choice(tiny_model_folder), lessons.splits(), prepared, "sft", None, False, tmp_path)
    found = subprocess.run(
        [sys.executable, "-S", "-c", "import training.errors; print(training.errors.__file__)"],
        env=launch.environment(job, tmp_path),
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert found.stdout.strip() == training.errors.__file__, found.stderr


def test_a_process_that_is_one_of_several_is_told_how_to_start_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="THUMBLOOP_TRAINING__PROCESSES"):
        launch.refuse_inside_a_group()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "is not there"),
        ("distributed_type: [", "cannot be read"),
        ("num_processes: 2", "distributed_type"),
        ("distributed_type: FSDP\nprocesses: 2", "unknown keys .*processes"),
        ("distributed_type: MEGATRON_LM", "is for"),
        ("distributed_type: FSDP\nnum_machines: 2", "several machines"),
    ],
)
def test_a_configuration_that_accelerate_could_not_use_is_refused_by_name(
    tmp_path: Path, content: str | None, why: str
) -> None:
    path = tmp_path / "cluster.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(TrainingError, match=rf"cluster\.yaml .*{why}"):
        accelerate_config.read(path)


@pytest.mark.parametrize(
    ("content", "sharded"),
    [
        ("distributed_type: MULTI_GPU", False),
        ("distributed_type: FSDP\nfsdp_config:\n  fsdp_version: 2", True),
        ("distributed_type: DEEPSPEED\ndeepspeed_config:\n  zero_stage: 2", False),
        (
            "distributed_type: DEEPSPEED\ndeepspeed_config:\n  zero_stage: 3\n  zero3_save_16bit_model: true",
            True,
        ),
    ],
)
def test_a_configuration_says_whether_the_model_is_spread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, sharded: bool
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)  # as if DeepSpeed were installed
    path = tmp_path / "cluster.yaml"
    path.write_text(f"{content}\nnum_processes: 3")
    found = accelerate_config.read(path)
    assert (found.processes, found.sharded) == (3, sharded)
    assert bool(found.identity(3)) == (found.kind != "DDP")


def test_zero_3_that_would_not_gather_an_adapter_is_refused_before_it_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    path = tmp_path / "cluster.yaml"
    path.write_text("distributed_type: DEEPSPEED\nnum_processes: 2\ndeepspeed_config:\n  zero_stage: 3\n")
    with pytest.raises(TrainingError, match="zero3_save_16bit_model: true"):
        accelerate_config.read(path)


def test_deepspeed_that_is_not_installed_is_missed_before_anything_starts(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text("distributed_type: DEEPSPEED\nnum_processes: 2")
    if importlib.util.find_spec("deepspeed") is None:
        with pytest.raises(TrainingError, match="pip install deepspeed"):
            accelerate_config.read(path)


def test_a_model_is_not_spread_over_processors(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text("distributed_type: FSDP\nnum_processes: 2")
    with pytest.raises(TrainingError, match="FSDP by accelerate needs GPUs"):
        machine.processes_of(TrainingSettings(accelerate_config=str(path)), "cpu")
