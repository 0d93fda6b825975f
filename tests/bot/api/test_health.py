"""How the service says how it is: to anybody, cheaply, and truly when something is wrong."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from bot.api.app import api_app
from bot.health_probe import ask
from bot.readiness import FRESH_S, Readiness
from tests.bot.assembly import GUILD, GUILD_LINE, Assembly
from tests.loopback import serving
from training.adapters import deployments, registry

ROOT = Path(__file__).parents[3]


@pytest.fixture
def dialect() -> str:
    """The record itself is asked on both databases in `tests/feedback/test_database.py`."""
    return "sqlite"


async def looked_at(assembly: Assembly) -> tuple[int, dict[str, Any], dict[str, dict[str, str]]]:
    """The status, the body, and the components by name, looked at now."""
    status, body = await Readiness(assembly.core, assembly.assistant).answer()
    return status, body, {one["name"]: one for one in body["components"]}


async def refuse_writing(assembly: Assembly) -> None:
    """What a full disk does: a transaction that writes fails."""
    async with assembly.core.database.session() as session:
        await session.execute(
            text(
                "CREATE TRIGGER full BEFORE UPDATE ON alembic_version "
                "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
            )
        )


async def test_a_service_that_is_well_is_ready_and_says_so_without_a_key(url: str) -> None:
    async with httpx.AsyncClient(base_url=url) as anyone:
        ready, live = await anyone.get("/readyz"), await anyone.get("/healthz")
    assert (ready.status_code, live.status_code) == (200, 200)
    body = ready.json()
    assert body["status"] == "ready"
    assert [(one["name"], one["state"]) for one in body["components"]] == [
        ("model", "ok"),
        ("database", "ok"),
        ("files", "ok"),
    ]


async def test_without_a_model_the_process_lives_and_is_not_ready(url: str, assembly: Assembly) -> None:
    await assembly.answerer.close()
    async with httpx.AsyncClient(base_url=url) as anyone:
        ready, live = await anyone.get("/readyz"), await anyone.get("/healthz")
    assert (ready.status_code, live.status_code) == (503, 200)
    assert ready.json()["status"] == "not ready"


async def test_a_record_that_cannot_be_written_is_not_ready_though_it_can_be_read(assembly: Assembly) -> None:
    await refuse_writing(assembly)
    await assembly.core.database.require_current()
    status, body, components = await looked_at(assembly)
    assert (status, body["status"]) == (503, "not ready")
    assert components["database"]["state"] == "down"
    assert str(assembly.data) not in str(body) and "sqlite" not in str(body), "anybody may read it"


async def test_a_data_folder_without_room_degrades_the_service(assembly: Assembly) -> None:
    assembly.data.rename(assembly.data.with_name("away"))
    status, body, components = await looked_at(assembly)
    assert (status, body["status"], components["files"]["state"]) == (200, "degraded", "degraded")
    assert str(assembly.data) not in str(body)


async def test_a_damaged_adapter_in_service_degrades_it_though_the_base_model_answers(
    assembly: Assembly,
) -> None:
    (assembly.data / "adapters/support/1/adapter_model.safetensors").write_bytes(b"rubbish")
    async with assembly.core.database.session() as session:
        adapter = await registry.find(session, "support@1")
        assert adapter is not None
        await deployments.switch(session, adapter, by="test")
    async with (
        serving(api_app(assembly.core, assembly.assistant, [GUILD_LINE])) as url,
        httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {GUILD}"}) as caller,
    ):
        asked = {"model": "thumbloop", "messages": [{"role": "user", "content": "Hi"}]}
        assert (await caller.post("/v1/chat/completions", json=asked)).status_code == 200
        ready = await caller.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
    (adapters,) = [one for one in ready.json()["components"] if one["name"] == "adapters"]
    assert adapters["state"] == "degraded" and "support@1" in adapters["why"]


async def test_what_a_part_of_the_service_reports_is_told_and_its_latest_word_counts(
    assembly: Assembly,
) -> None:
    assembly.core.health.report("Discord", "down", "Discord refused the bot token.")
    status, body, components = await looked_at(assembly)
    assert (status, body["status"]) == (200, "degraded"), "the others are answered"
    assert components["Discord"]["why"] == "Discord refused the bot token."
    assembly.core.health.report("Discord", "ok")
    assert (await looked_at(assembly))[1]["status"] == "ready"


async def test_asking_often_looks_once(assembly: Assembly) -> None:
    now = 0.0
    readiness = Readiness(assembly.core, assembly.assistant, clock=lambda: now)
    assert (await readiness.answer())[0] == 200
    await refuse_writing(assembly)
    assert {status for status, _ in await asyncio.gather(*(readiness.answer() for _ in range(20)))} == {200}
    now = FRESH_S
    assert (await readiness.answer())[0] == 503


async def test_the_probe_of_containers_asks_the_service_itself(url: str, assembly: Assembly) -> None:
    port = int(url.rpartition(":")[2])
    well, said = await asyncio.to_thread(ask, "readyz", "0.0.0.0", port)
    assert well and '"ready"' in said
    assert (await asyncio.to_thread(ask, "healthz", "", port))[0]
    assert not (await asyncio.to_thread(ask, "nothing", "127.0.0.1", port))[0]


def probed(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """The probe, run in that folder with those variables."""
    return subprocess.run(
        [sys.executable, "-m", "bot.health_probe", "readyz"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_probe_fails_when_nothing_answers(tmp_path: Path) -> None:
    asked = probed(tmp_path, THUMBLOOP_WEB__PORT="9")
    assert asked.returncode == 1
    assert "nothing answers on port 9" in asked.stdout


@pytest.mark.parametrize(
    ("file", "words"),
    [("thumbloop.toml", "[web]\nport = 9\n"), (".env", "THUMBLOOP_WEB__PORT=9\n")],
)
def test_the_probe_asks_at_the_port_that_the_settings_files_name(
    tmp_path: Path, file: str, words: str
) -> None:
    (tmp_path / file).write_text(words)
    assert "nothing answers on port 9" in probed(tmp_path).stdout
    assert "nothing answers on port 7" in probed(tmp_path, THUMBLOOP_WEB__PORT="7").stdout


def test_the_probe_says_which_setting_it_cannot_read(tmp_path: Path) -> None:
    (tmp_path / "thumbloop.toml").write_text("[web]\nport = 'nine'\n")
    asked = probed(tmp_path)
    assert asked.returncode == 1 and "web.port" in asked.stdout and "Traceback" not in asked.stderr
