"""Processes killed by SIGKILL at the worst moments: nothing half-written serves, the next start tidies up."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import col, select

from feedback.database import Database
from feedback.tables import Adapter, Run
from tests.chronicle import Chronicle
from tests.training import lessons
from training import registry, retrain
from training.retrain import ModelChoice
from training.settings import GateSettings

ROOT = Path(__file__).parents[2]
SETTINGS = lessons.settings(min_pairs=4, validation_share=0.2, examination_questions=4)

KILLED_AFTER = """
import asyncio, os, signal, sys
from pathlib import Path

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def dies_after(module, name):
    do = getattr(module, name)
    def done(*given, **more):
        do(*given, **more)
        die()
    setattr(module, name, done)

def dies_before(module, name):
    setattr(module, name, die)
"""

RUN = """
from feedback.database import Database
from tests.training.test_killed import SETTINGS
from training import registry, retrain
from training.retrain import ModelChoice
from training.settings import GateSettings

url, data, model, moment = sys.argv[1:]

def heard(progress):
    if progress.step == moment and progress.done >= 1:
        die()

if moment == "placed":
    dies_after(registry, "_take_place")

asyncio.run(retrain.retrain(
    Database(url), data=Path(data),
    model=ModelChoice(model, Path(model).parent, device="cpu", precision="fp32"),
    settings=SETTINGS, gate_settings=GateSettings(min_questions=1), default_persona="plain", started_by="ada",
    on_progress=heard,
))
"""

PRUNE = """
from feedback.database import Database
from training import files, registry

url, data, moment = sys.argv[1:]
if moment == "recorded":
    dies_before(registry, "_clear_away")
else:
    dies_before(files.shutil, "rmtree")
asyncio.run(registry.prune(Database(url), Path(data), keep=1, by="ada"))
"""


def killed(script: str, *arguments: object) -> None:
    """Run a script in a process of its own that kills itself half-way."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED_AFTER + script, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


async def rows(database: Database, table: Any) -> list[Any]:
    async with database.session(read_only=True) as session:
        return list((await session.exec(select(table).order_by(col(table.id)))).all())


@pytest.mark.slow
@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
@pytest.mark.parametrize("moment", ["training", "evaluation", "placed"])
async def test_a_run_that_is_killed_leaves_nothing_that_serves_and_the_next_one_tidies_up(
    moment: str, chronicle: Chronicle, database_url: str, tmp_path: Path, tiny_model_folder: Path
) -> None:
    for number in range(10):
        await chronicle.approved(
            f"What is item {number}?", f"Item {number} is a lamp.", conversation=f"thread {number}"
        )
    database, data = chronicle.database, tmp_path / "data"
    killed(RUN, database_url, data, tiny_model_folder, moment)
    assert await rows(database, Adapter) == []
    async with database.session(read_only=True) as session:
        assert await registry.serving(session) is None
    outcome = await retrain.retrain(
        database,
        data=data,
        model=ModelChoice(str(tiny_model_folder), tiny_model_folder.parent, device="cpu", precision="fp32"),
        settings=SETTINGS,
        gate_settings=GateSettings(min_questions=1),
        default_persona="plain",
        started_by="ada",
    )
    assert outcome.adapter == "community@1"
    assert [run.state for run in await rows(database, Run)] == ["failed", "promoted"]
    (adapter,) = await rows(database, Adapter)
    registry.verify(data, adapter)
    assert [path.name for path in (data / "adapters" / "community").iterdir()] == ["1"]
    assert not list(data.rglob(".*.part"))


@pytest.mark.parametrize("moment", ["recorded", "renamed"])
async def test_a_prune_that_is_killed_is_finished_by_the_next(
    moment: str, database: Database, database_url: str, tmp_path: Path
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
    killed(PRUNE, database_url, data, moment)
    states = [adapter.state for adapter in await rows(database, Adapter)]
    assert states == ["retired", "retired", "promoted"]
    assert await registry.prune(database, data, keep=1, by="ada") == []
    await registry.sweep(database, data)
    assert [path.name for path in (data / "adapters" / "community").iterdir()] == ["3"]
    registry.verify(data, (await rows(database, Adapter))[2])
