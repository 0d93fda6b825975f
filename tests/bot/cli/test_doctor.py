"""The doctor: each fault found, with what to do about it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.answering.engine import native
from feedback.database import Database
from feedback.tables import now
from tests.bot.cli.conftest import Result, Thumbloop, answering
from tests.chronicle import Chronicle
from tests.doubles.tiny_model import write_tiny_model


def _finding(examined: Result, name: str) -> dict[str, Any]:
    return next(finding for finding in examined.json if finding["name"] == name)


def test_a_fresh_installation_is_well_and_stays_unmade(thumbloop: Thumbloop, data: Path) -> None:
    examined = thumbloop("doctor", "--json")
    assert examined.status == 0
    assert {finding["severity"] for finding in examined.json} <= {"ok", "note"}
    assert not (data / "thumbloop.db").exists()


def test_a_record_in_use_is_reported_with_its_journal_mode(thumbloop: Thumbloop) -> None:
    thumbloop("db", "upgrade")
    assert "WAL" in _finding(thumbloop("doctor", "--json"), "database")["detail"]


def test_an_older_schema_is_a_fault_with_its_remedy(thumbloop: Thumbloop, data: Path) -> None:
    thumbloop("db", "upgrade")
    with sqlite3.connect(data / "thumbloop.db") as record:
        record.execute("UPDATE alembic_version SET version_num = '0001'")
    examined = thumbloop("doctor")
    assert examined.status == 1
    assert "FAULT" in examined.out
    assert "thumbloop db upgrade" in examined.out


def test_every_fault_is_found_in_one_go(
    thumbloop: Thumbloop, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("THUMBLOOP_DATA", str(tmp_path / "file" / "data"))
    monkeypatch.setenv("THUMBLOOP_MODEL", "no-such-model")
    monkeypatch.setenv("THUMBLOOP_SCHEDULE__TIMEZONE", "Europe/Atlantis")
    examined = thumbloop("doctor", "--json")
    assert examined.status == 1
    faults = {one["name"]: one for one in examined.json if one["severity"] == "fault"}
    assert faults.keys() == {"data folder", "model", "schedule"}
    assert all(fault["remedy"] for fault in faults.values())


def test_an_accelerate_configuration_that_cannot_be_used_is_a_fault_by_name(
    thumbloop: Thumbloop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = _finding(thumbloop("doctor", "--json"), "processes")
    assert (told["severity"], told["detail"]) == ("ok", "community in one process")
    config = tmp_path / "cluster.yaml"
    config.write_text("distributed_type: FSDP\nprocesses: 2\n")
    monkeypatch.setenv("THUMBLOOP_TRAINING__ACCELERATE_CONFIG", str(config))
    examined = thumbloop("doctor", "--json")
    told = _finding(examined, "processes")
    assert (examined.status, told["severity"]) == (1, "fault")
    assert str(config) in told["detail"] and "processes" in told["detail"] and told["remedy"]


def test_settings_that_cannot_be_read_are_a_fault_not_the_end(
    thumbloop: Thumbloop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THUMBLOOP_PRECISION", "bf12")
    examined = thumbloop("doctor", "--json")
    assert examined.status == 1
    assert "bf12" in _finding(examined, "settings")["detail"]


def test_no_secret_is_shown_but_whether_it_is_set(
    thumbloop: Thumbloop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THUMBLOOP_REMOTE__API_KEY", "sk-very-secret")
    examined = thumbloop("doctor", "--json")
    assert "remote.api_key is set" in _finding(examined, "secrets")["detail"]
    assert "sk-very-secret" not in examined.out + examined.err


def test_files_that_others_can_read_are_named_with_the_command_that_closes_them(
    thumbloop: Thumbloop, data: Path
) -> None:
    thumbloop("db", "upgrade")
    data.chmod(0o755)
    Path(".env").write_text("THUMBLOOP_REMOTE__API_KEY=sk-very-secret\n")
    Path(".env").chmod(0o644)
    examined = thumbloop("doctor", "--json")
    assert examined.status == 0
    folder, settings = _finding(examined, "data folder"), _finding(examined, "settings")
    assert folder["severity"] == settings["severity"] == "warning"
    assert f"chmod -R o-rwx {data}" in folder["remedy"] and "chmod o-rwx .env" in settings["remedy"]
    data.chmod(0o700)
    Path(".env").chmod(0o600)
    examined = thumbloop("doctor", "--json")
    assert {_finding(examined, name)["severity"] for name in ("data folder", "settings")} == {"ok"}


def test_a_clock_behind_the_record_is_noticed(thumbloop: Thumbloop, data: Path) -> None:
    thumbloop("db", "upgrade")
    asyncio.run(_ask_tomorrow(data))
    clock = _finding(thumbloop("doctor", "--json"), "clock")
    assert clock["severity"] == "warning"
    assert "clock" in clock["remedy"]


def test_a_damaged_adapter_is_worse_while_it_serves(thumbloop: Thumbloop, data: Path, adapter: str) -> None:
    assert _finding(thumbloop("doctor", "--json"), "adapters")["severity"] == "ok"
    thumbloop("adapter", "switch", adapter)
    (data / "adapters" / "tiny" / "1" / "adapter_config.json").unlink()
    serving = _finding(thumbloop("doctor", "--json"), "adapters")
    assert (serving["severity"], "adapter_config.json" in serving["detail"]) == ("fault", True)
    thumbloop("adapter", "rollback")
    assert _finding(thumbloop("doctor", "--json"), "adapters")["severity"] == "warning"


def test_a_model_folder_that_lacks_files_is_a_fault(
    thumbloop: Thumbloop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    monkeypatch.setenv("THUMBLOOP_MODEL", str(tmp_path / "model"))
    model = _finding(thumbloop("doctor", "--json"), "model")
    assert model["severity"] == "fault"
    assert "holds no model" in model["detail"]


@pytest.mark.skipif(native.library() is None, reason="only the compiled step looks into the model here")
def test_a_kind_of_model_that_nobody_knows_is_a_fault_not_the_end(
    thumbloop: Thumbloop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_tiny_model(tmp_path / "model") / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"model_type": "of-tomorrow"}))
    monkeypatch.setenv("THUMBLOOP_MODEL", str(tmp_path / "model"))
    examined = thumbloop("doctor", "--json")
    answering = _finding(examined, "answering")
    assert (examined.status, answering["severity"]) == (1, "fault")
    assert str(tmp_path / "model") in answering["detail"] and answering["remedy"]


def test_a_part_of_the_running_service_that_is_down_is_a_fault_with_its_reason(
    thumbloop: Thumbloop, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [
        {"name": "Telegram", "state": "ok", "why": ""},
        {"name": "Discord", "state": "down", "why": "Discord refused the bot token."},
    ]
    with answering(json.dumps({"status": "degraded", "components": parts})) as port:
        monkeypatch.setenv("THUMBLOOP_WEB__PORT", str(port))
        service = _finding(thumbloop("doctor", "--json"), "service")
    assert service["severity"] == "fault"
    assert service["detail"] == "Discord is down: Discord refused the bot token."


def test_a_service_that_does_not_run_and_another_program_on_its_port_are_told_apart(
    thumbloop: Thumbloop, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering("<html>Somebody else</html>") as port:
        monkeypatch.setenv("THUMBLOOP_WEB__PORT", str(port))
        assert "another program" in _finding(thumbloop("doctor", "--json"), "service")["detail"]
    service = _finding(thumbloop("doctor", "--json"), "service")
    assert (service["severity"], service["detail"]) == ("note", f"does not run on port {port}")


async def _ask_tomorrow(data: Path) -> None:
    database = Database(f"sqlite:///{data / 'thumbloop.db'}")
    chronicle = await Chronicle(database).open()
    await chronicle.date(await chronicle.answered(), now() + timedelta(days=1))
    await database.close()
