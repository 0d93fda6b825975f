"""Processes killed by SIGKILL at the worst moments: nothing half-written serves, the next start tidies up."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import col, select

from feedback.database import Database
from feedback.tables import Adapter, Run
from tests.chronicle import Chronicle
from tests.conftest import SQLITE
from tests.training import lessons
from training.adapters import deployments, pruning, registry
from training.model.base_model import ModelChoice
from training.progress import Progress
from training.run import retrain
from training.run.conclusion import Outcome

SETTINGS = lessons.settings(min_pairs=4, validation_share=0.2, examination_questions=4)


def killed(processes: ForkServerContext, script: Callable[..., None], *arguments: object) -> None:
    """Run a function in a process of its own, in which it kills itself half-way."""
    process = processes.Process(target=script, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def _die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _dies_after(module: Any, name: str) -> None:
    do = getattr(module, name)

    def done(*given: Any, **more: Any) -> None:
        do(*given, **more)
        _die()

    setattr(module, name, done)


def _run(url: str, data: Path, model: Path, moment: str) -> None:
    if moment == "placed":
        _dies_after(registry, "_take_place")

    def heard(progress: Progress) -> None:
        if progress.step == moment and progress.done >= 1:
            _die()

    asyncio.run(_retrain(Database(url), data, model, on_progress=heard))


def _prune(url: str, data: Path, moment: str) -> None:
    if moment == "recorded":
        pruning._clear_away = _die
    else:
        shutil.rmtree = _die  # type: ignore[assignment]
    asyncio.run(pruning.prune(Database(url), data, keep=1, by="ada"))


async def _retrain(database: Database, data: Path, model: Path, **more: Any) -> Outcome:
    return await retrain.retrain(
        database,
        data=data,
        model=ModelChoice(str(model), model.parent, device="cpu", precision="fp32"),
        settings=SETTINGS,
        gate_settings=lessons.LENIENT,
        default_persona="plain",
        started_by="ada",
        **more,
    )


async def rows(database: Database, table: Any) -> list[Any]:
    async with database.session(read_only=True) as session:
        return list((await session.exec(select(table).order_by(col(table.id)))).all())


@pytest.mark.slow
@SQLITE
@pytest.mark.parametrize("moment", ["training", "evaluation", "placed"])
async def test_a_run_that_is_killed_leaves_nothing_that_serves_and_the_next_one_tidies_up(
    moment: str,
    processes: ForkServerContext,
    chronicle: Chronicle,
    database_url: str,
    tmp_path: Path,
    tiny_model_folder: Path,
) -> None:
    for number in range(10):
        await chronicle.approved(
            f"What is item {number}?", f"Item {number} is a lamp.", conversation=f"thread {number}"
        )
    database, data = chronicle.database, tmp_path / "data"
    killed(processes, _run, database_url, data, tiny_model_folder, moment)
    assert await rows(database, Adapter) == []
    async with database.session(read_only=True) as session:
        assert await deployments.serving(session) is None
    outcome = await _retrain(database, data, tiny_model_folder)
    assert outcome.adapter == "community@1"
    assert [run.state for run in await rows(database, Run)] == ["failed", "promoted"]
    (adapter,) = await rows(database, Adapter)
    registry.verify(data, adapter)
    assert [path.name for path in (data / "adapters" / "community").iterdir()] == ["1"]
    assert not list(data.rglob(".*.part"))


@pytest.mark.parametrize("moment", ["recorded", "renamed"])
async def test_a_prune_that_is_killed_is_finished_by_the_next(
    moment: str, processes: ForkServerContext, database: Database, database_url: str, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    for number in range(3):
        staged = data / "staged"
        staged.mkdir(parents=True)
        (staged / "adapter_config.json").write_text("{}")
        (staged / "adapter_model.safetensors").write_bytes(b"weights")
        async with database.session() as session:
            adapter = await registry.add(
                session, data, staged, name="community", base_model="tiny", base_revision=str(number)
            )
            adapter.state = "promoted"
            session.add(adapter)
    killed(processes, _prune, database_url, data, moment)
    states = [adapter.state for adapter in await rows(database, Adapter)]
    assert states == ["retired", "retired", "promoted"]
    assert await pruning.prune(database, data, keep=1, by="ada") == []
    await pruning.sweep(database, data)
    assert [path.name for path in (data / "adapters" / "community").iterdir()] == ["3"]
    registry.verify(data, (await rows(database, Adapter))[2])
