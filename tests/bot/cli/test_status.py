"""`thumbloop status`: what serves whom, what runs, what is next, what is wrong."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import socket
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bot import disk, schedule
from bot.settings import Settings
from feedback.database import Database
from feedback.tables import Run, now
from tests.bot.cli.conftest import Thumbloop, answering


def test_a_fresh_installation_says_that_the_base_model_serves_and_nothing_runs(
    thumbloop: Thumbloop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THUMBLOOP_WEB__PORT", str(_free_port()))
    status = thumbloop("status", "--json").json
    (everyone,) = status["serving"]
    assert (everyone["whom"], everyone["adapter"]) == ("every community", "base")
    assert (status["running"], status["service"], status["troubles"]) == (None, "does not run", [])
    (job,) = status["jobs"]
    assert job["id"] == "retrain" and job["next_run"]


def test_what_serves_is_told_with_since_when_by_whom_and_why(thumbloop: Thumbloop, adapter: str) -> None:
    thumbloop("adapter", "switch", adapter, "--reason", "it knows the prices")
    (serving,) = thumbloop("status", "--json").json["serving"]
    assert (serving["adapter"], serving["reason"]) == (adapter, "it knows the prices")
    assert serving["decided_by"] and serving["since"]
    page = thumbloop("status").out
    assert adapter in page and "it knows the prices" in page and "Nothing is wrong." in page


def test_a_long_verdict_does_not_push_what_is_wrong_off_the_page(thumbloop: Thumbloop, adapter: str) -> None:
    verdict = "Promoted: of 50.5 it answers 14. " + "Over 50 questions, it is righter. " * 40
    thumbloop("adapter", "switch", adapter, "--reason", verdict)
    page = thumbloop("status").out
    assert "Promoted: of 50.5 it answers 14." in page and "Over 50" not in page
    assert thumbloop("status", "--json").json["serving"][0]["reason"] == verdict


def test_a_run_whose_process_died_is_wrong_and_counts_as_no_run(thumbloop: Thumbloop, data: Path) -> None:
    thumbloop("db", "upgrade")
    died = Run(adapter_name="community", started_by="ada", pid=2**22 + 1, host=socket.gethostname())
    asyncio.run(_add_run(data, died))
    status = thumbloop("status", "--json").json
    assert status["running"] is None
    assert [(one["where"], "died" in one["what"]) for one in status["troubles"]] == [("run 1", True)]


def test_a_job_that_was_due_and_did_not_run_is_wrong(thumbloop: Thumbloop, data: Path) -> None:
    thumbloop("schedule", "pause")
    thumbloop("schedule", "resume")
    assert thumbloop("status", "--json").json["troubles"] == []
    _set_back(data)
    (trouble,) = thumbloop("status", "--json").json["troubles"]
    assert trouble["where"] == "retrain" and "thumbloop serve" in trouble["what"]


def test_what_the_service_says_of_its_parts_is_passed_on(
    thumbloop: Thumbloop, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [
        {"name": "model", "state": "ok", "why": ""},
        {"name": "Discord", "state": "down", "why": "Discord refused the bot token."},
    ]
    with answering(json.dumps({"status": "degraded", "components": parts})) as port:
        monkeypatch.setenv("THUMBLOOP_WEB__PORT", str(port))
        status = thumbloop("status", "--json").json
    assert (status["service"], status["port"]) == ("runs", port)
    assert status["troubles"] == [{"where": "Discord", "what": "Discord refused the bot token."}]


def test_a_disk_that_is_nearly_full_is_wrong(thumbloop: Thumbloop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "SCARCE_BYTES", 2**62)
    (trouble,) = thumbloop("status", "--json").json["troubles"]
    assert trouble["where"] == "disk" and "GB are free" in trouble["what"]


def test_a_live_page_needs_a_terminal(thumbloop: Thumbloop) -> None:
    asked = thumbloop("status", "--watch")
    assert asked.status == 2 and "terminal" in asked.err


def test_the_live_page_shows_what_serves_and_is_left_by_ctrl_c(
    thumbloop: Thumbloop, started: Callable[..., subprocess.Popen[str]]
) -> None:
    thumbloop("db", "upgrade")
    ours, theirs = pty.openpty()
    try:
        process = started("status", "--watch", stdout=theirs, stdin=theirs)
        os.close(theirs)
        shown = b""
        while b"every community" not in shown:
            shown += os.read(ours, 4096)
        process.send_signal(signal.SIGINT)
        while _goes_on(ours):
            pass
        assert process.wait() == 0
    finally:
        os.close(ours)


def _goes_on(terminal: int) -> bool:
    """Whether the terminal's other end still writes; on Linux its end is an error."""
    try:
        return bool(os.read(terminal, 4096))
    except OSError:
        return False


async def _add_run(data: Path, run: Run) -> None:
    database = Database(f"sqlite:///{data / 'thumbloop.db'}")
    async with database.session() as session:
        session.add(run)
    await database.close()


def _set_back(data: Path) -> None:
    """Let the stored job have been due an hour ago, as when no service was up then."""
    database: Any = Database(Settings(data=data).database_url)
    with schedule._reading(database) as scheduler:
        scheduler.modify_job("retrain", schedule.RECORD, next_run_time=now() - timedelta(hours=1))


def _free_port() -> int:
    with answering("") as port:
        return port
