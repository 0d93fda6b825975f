"""Training from the command line: a run, its verdict, and what stops it."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from feedback.database import Database
from feedback.tables import Run
from tests.bot.cli.conftest import Thumbloop
from training.fit import stages


@pytest.mark.slow
def test_a_better_adapter_is_trained_examined_and_put_into_service(
    thumbloop: Thumbloop, pairs_file: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    # what a random tiny model learns is not right, and costs it what it knows
    for setting, value in {
        "MIN_QUESTIONS": "1",
        "MIN_GAIN": "-1",
        "MAX_WORSE_GENERAL_LOSS": "5",
    }.items():
        monkeypatch.setenv(f"THUMBLOOP_GATE__{setting}", value)
    thumbloop("import", pairs_file(40))
    outcome = thumbloop("retrain", "--json").json
    losses = {one["subject"]: one["metrics"]["loss"] for one in outcome["examined"]}
    assert losses["candidate"] < losses["base"]
    assert outcome["verdict"]["promote"] is True and "it now answers" in outcome["verdict"]["reasons"][0]
    listed = {one["label"]: one["serves"] for one in thumbloop("adapter", "list", "--json").json}
    assert listed["community@1"] == ["every community"]
    assert thumbloop("ask", "What is 7?", "--json").json["adapter"] == "community@1"
    assert "promoted" in thumbloop("retrain", "--status").out
    assert thumbloop("adapter", "rollback", "--json").json["now"] == "base"


def test_a_scheduled_run_is_not_started_before_enough_pairs_are_new(
    thumbloop: Thumbloop, pairs_file: Callable[[int], Path]
) -> None:
    thumbloop("import", pairs_file(12))
    left_alone = thumbloop("retrain", "--if-due", "--started-by", "schedule")
    assert left_alone.status == 0
    assert "none was started" in left_alone.out
    assert thumbloop("retrain", "--status", "--json").json == []


def test_a_plan_says_what_a_run_would_do_and_starts_none(
    thumbloop: Thumbloop, pairs_file: Callable[[int], Path]
) -> None:
    thumbloop("import", pairs_file(12))
    told = thumbloop("retrain", "--plan", "--json").json
    assert told["stages"] == ["sft"] and told["rank"] == 16
    assert min(told[name] for name in ("peak_mib", "steps", "tokens")) > 0
    said = thumbloop("retrain", "--plan").out
    assert told["reasons"][0] in said and "MiB free" in said
    assert thumbloop("retrain", "--status", "--json").json == []


def test_a_run_under_way_keeps_a_second_one_away_and_ctrl_c_leaves_only_what_may_be_gone_on_from(
    thumbloop: Thumbloop, under_way: subprocess.Popen[str], data: Path
) -> None:
    refused = thumbloop("retrain")
    assert refused.status == 1
    assert f"process {under_way.pid}" in refused.err
    assert "thumbloop retrain --status" in refused.err
    (run,) = thumbloop("retrain", "--status", "--json").json
    assert run["state"] == "running"

    under_way.send_signal(signal.SIGINT)
    out, err = under_way.communicate(timeout=120)
    assert under_way.returncode == 130
    assert out == ""
    assert err.splitlines()[-1] == "Stopped on request; nothing is left half-written."
    assert "Traceback" not in err
    assert all(stages.is_resumable(path) for path in data.rglob("*.part"))
    assert not (data / "adapters").exists()
    assert [run["state"] for run in thumbloop("retrain", "--status", "--json").json] == ["cancelled"]


@pytest.fixture
def under_way(
    thumbloop: Thumbloop,
    started: Callable[..., subprocess.Popen[str]],
    pairs_file: Callable[[int], Path],
    environment: dict[str, str],
) -> subprocess.Popen[str]:
    """A run in a process of its own that has taken its first steps and has very many before it."""
    thumbloop("import", pairs_file(40))
    environment["THUMBLOOP_TRAINING__EPOCHS"] = "100"
    environment["THUMBLOOP_TRAINING__PATIENCE"] = "1000"
    run = started("retrain")
    assert run.stderr is not None
    for line in run.stderr:
        if line.startswith("training ") and "/" in line:
            return run
    raise AssertionError("the run ended before it trained")


def test_a_run_under_way_is_stopped_from_another_terminal_and_where_there_is_none_that_is_said(
    thumbloop: Thumbloop, data: Path
) -> None:
    thumbloop("adapter", "list")
    none = thumbloop("retrain", "--cancel")
    assert none.status != 0 and "No training run is under way" in none.err
    trains = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        number = asyncio.run(_begin(data, trains.pid))
        assert thumbloop("retrain", "--cancel", "--json").json == {"run": number}
        assert trains.wait() == -signal.SIGTERM
    finally:
        trains.kill()


async def _begin(data: Path, pid: int) -> int:
    """A run in the record that the process `pid` of this machine carries out; its number."""
    database = Database(f"sqlite:///{data / 'thumbloop.db'}")
    try:
        async with database.session() as session:
            run = Run(adapter_name="community", started_by="schedule", pid=pid, host=socket.gethostname())
            session.add(run)
            await session.flush()
            return run.id or 0
    finally:
        await database.close()
