"""A backup of a working loop, and what comes back of it, on both databases."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from pydantic import SecretStr

from bot import backup, schedule
from bot.pseudonym_key import pseudonym_key
from bot.settings import Settings
from feedback.database import Database
from feedback.errors import Conflict, SchemaTooNew, UsageError
from feedback.settings import RecordSettings
from tests.chronicle import Chronicle
from tests.conftest import SQLITE
from training.adapters import deployments, registry


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    """Those of the service that is backed up; its data folder holds a pseudonym key."""
    found = _settings(tmp_path / "data", database_url)
    pseudonym_key(found)
    return found


@pytest.fixture
def elsewhere(tmp_path: Path, empty_database_url: str) -> Settings:
    """Those of another machine, where nothing is yet."""
    return _settings(tmp_path / "elsewhere", empty_database_url)


async def test_what_was_backed_up_comes_back_with_its_adapters_its_key_and_what_serves(
    settings: Settings, elsewhere: Settings, database: Database, chronicle: Chronicle, tmp_path: Path
) -> None:
    await chronicle.answered("What is alpha?")
    label = await _deployed(database, settings.data)
    made = await backup.back_up(settings, database, tmp_path / "loop.zip")
    assert (made.rows["turn"], made.damaged) == (1, ())
    restored = await backup.restore(elsewhere, tmp_path / "loop.zip")
    assert (restored.rows["turn"], restored.damaged) == (1, ())
    assert pseudonym_key(elsewhere) == pseudonym_key(settings)
    there = Database(elsewhere.database_url)
    await there.require_current()
    async with there.session(read_only=True) as session:
        serving = await deployments.serving(session)
        assert serving is not None and registry.label(serving) == label
        registry.verify(elsewhere.data, serving)
    await there.close()


async def test_a_paused_job_stays_paused(
    settings: Settings, elsewhere: Settings, database: Database, tmp_path: Path
) -> None:
    await schedule.pause(database, settings.schedule, settings.training, settings.data, "retrain")
    await backup.back_up(settings, database, tmp_path / "loop.zip")
    await backup.restore(elsewhere, tmp_path / "loop.zip")
    there = Database(elsewhere.database_url)
    (job,) = await schedule.list_jobs(there, elsewhere.schedule, elsewhere.training, elsewhere.data)
    assert job.paused
    await there.close()


async def test_only_its_owner_reads_a_backup_and_the_key_that_came_from_it(
    settings: Settings, elsewhere: Settings, database: Database, tmp_path: Path
) -> None:
    await backup.back_up(settings, database, tmp_path / "loop.zip")
    await backup.restore(elsewhere, tmp_path / "loop.zip")
    for path in (tmp_path / "loop.zip", elsewhere.data / "pseudonym.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@SQLITE
async def test_an_adapter_that_was_damaged_before_is_named_and_the_rest_is_backed_up(
    settings: Settings, database: Database, tmp_path: Path
) -> None:
    label = await _deployed(database, settings.data)
    (settings.data / "adapters" / "tiny" / "1" / "adapter_config.json").unlink()
    made = await backup.back_up(settings, database, tmp_path / "loop.zip")
    assert len(made.damaged) == 1 and label in made.damaged[0]


@SQLITE
async def test_a_backup_never_replaces_a_file(settings: Settings, database: Database, tmp_path: Path) -> None:
    (tmp_path / "loop.zip").write_text("the only one")
    with pytest.raises(UsageError, match="already"):
        await backup.back_up(settings, database, tmp_path / "loop.zip")
    assert (tmp_path / "loop.zip").read_text() == "the only one"


@SQLITE
async def test_what_a_killed_backup_left_beside_it_goes_with_the_next(
    settings: Settings, database: Database, tmp_path: Path
) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    left = tmp_path / f".loop-monday.zip.{gone.pid}-0a1b2c3d.part"
    (left / "record").mkdir(parents=True)
    alive = tmp_path / f".loop-other.zip.{os.getppid()}-0a1b2c3d.part"
    alive.mkdir()
    await backup.back_up(settings, database, tmp_path / "loop-tuesday.zip")
    assert not left.exists() and alive.exists()


async def test_what_is_half_written_is_left_out(
    settings: Settings, database: Database, tmp_path: Path
) -> None:
    unfinished = settings.data / "adapters" / ".tiny.1-ab.part"
    unfinished.mkdir(parents=True)
    (unfinished / "adapter_model.safetensors").write_bytes(b"half")
    await backup.back_up(settings, database, tmp_path / "loop.zip")
    names = zipfile.ZipFile(tmp_path / "loop.zip").namelist()
    assert not [name for name in names if "part" in name]


@SQLITE
async def test_a_data_folder_that_is_not_empty_is_left_alone(
    settings: Settings, elsewhere: Settings, database: Database, tmp_path: Path
) -> None:
    await backup.back_up(settings, database, tmp_path / "loop.zip")
    with pytest.raises(Conflict, match=r"pseudonym\.key"):
        await backup.restore(settings, tmp_path / "loop.zip")
    (elsewhere.data / "models").mkdir(parents=True)  # a converted model is no reason
    await backup.restore(elsewhere, tmp_path / "loop.zip")


async def test_a_database_that_holds_rows_is_left_alone(
    settings: Settings, database: Database, chronicle: Chronicle, tmp_path: Path
) -> None:
    await chronicle.asked()
    await backup.back_up(settings, database, tmp_path / "loop.zip")
    with pytest.raises(Conflict, match="already"):
        await backup.restore(_settings(tmp_path / "new", settings.database_url), tmp_path / "loop.zip")


@SQLITE
async def test_a_damaged_backup_is_refused_and_nothing_of_it_is_put_in_place(
    settings: Settings, elsewhere: Settings, database: Database, tmp_path: Path
) -> None:
    await _deployed(database, settings.data)
    await backup.back_up(settings, database, tmp_path / "loop.zip")
    whole = (tmp_path / "loop.zip").read_bytes()
    weights = whole.index(b"weights of tiny")
    for number, (damaged, told) in enumerate(
        (
            (whole[:weights] + b"WEIGHTS" + whole[weights + 7 :], "adapter_model.safetensors"),
            (whole[: len(whole) // 2], "cannot be read as a backup"),
            (b"", "cannot be read as a backup"),
        )
    ):
        file = tmp_path / f"damaged-{number}.zip"
        file.write_bytes(damaged)
        with pytest.raises(UsageError, match=told):
            await backup.restore(elsewhere, file)
        assert not elsewhere.data.exists() or not list(elsewhere.data.iterdir())


@SQLITE
async def test_a_zip_file_that_is_no_backup_is_refused(elsewhere: Settings, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("photo.png", b"")
    with pytest.raises(UsageError, match="no backup of Thumbloop"):
        await backup.restore(elsewhere, tmp_path / "photos.zip")


@SQLITE
async def test_a_backup_of_a_newer_thumbloop_is_refused_before_anything_is_written(
    settings: Settings, elsewhere: Settings, database: Database, tmp_path: Path
) -> None:
    await backup.back_up(settings, database, tmp_path / "loop.zip")
    revision = (await database.upgrade()).after
    shutil.copy(tmp_path / "loop.zip", tmp_path / "newer.zip")
    with zipfile.ZipFile(tmp_path / "loop.zip") as old, zipfile.ZipFile(tmp_path / "newer.zip", "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "manifest.json":
                content = content.replace(f'"revision": "{revision}"'.encode(), b'"revision": "9999"')
            new.writestr(name, content)
    with pytest.raises(SchemaTooNew):
        await backup.restore(elsewhere, tmp_path / "newer.zip")
    assert not elsewhere.data.exists()


@SQLITE
async def test_a_backup_of_the_other_database_is_refused(
    settings: Settings, database: Database, tmp_path: Path, postgresql_server: str
) -> None:
    await backup.back_up(settings, database, tmp_path / "loop.zip")
    with pytest.raises(Conflict, match="SQLite record, and the settings name a PostgreSQL one"):
        await backup.restore(_settings(tmp_path / "new", postgresql_server), tmp_path / "loop.zip")


def _settings(data: Path, database_url: str) -> Settings:
    return Settings(data=data, record=RecordSettings(database_url=SecretStr(database_url)))


async def _deployed(database: Database, data: Path) -> str:
    """The label of an adapter that serves everyone."""
    staged = data / "staged"
    staged.mkdir(parents=True)
    (staged / "adapter_config.json").write_text("{}")
    (staged / "adapter_model.safetensors").write_bytes(b"weights of tiny")
    async with database.session() as session:
        adapter = await registry.add(session, data, staged, name="tiny", base_model="m", base_revision="r")
        adapter.state = "promoted"
        await session.flush()
        await deployments.switch(session, adapter, by="mo")
        return registry.label(adapter)
