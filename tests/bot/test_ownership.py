"""Several services on one record, as real processes: each job runs once, whoever dies or believes what."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from bot import schedule
from bot.ownership import ADVISORY_LOCK
from feedback.database import Database
from tests.bot.one_service import note_run

Start = Callable[[float], "subprocess.Popen[str]"]
OFTEN, NEVER = 0.05, 3600.0
"""Seconds between two looks at who runs the jobs."""


@pytest.fixture
def start(database_url: str, tmp_path: Path) -> Iterator[Start]:
    """Start a service that looks again every so many seconds."""
    started: list[subprocess.Popen[str]] = []

    def begin(seconds: float) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.bot.one_service", database_url, str(tmp_path), str(seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def test_of_two_services_one_runs_a_job_and_the_other_takes_over_when_that_is_killed(
    start: Start, database: Database, tmp_path: Path
) -> None:
    first = start(OFTEN)
    assert _says(first) == "owner"
    second = start(OFTEN)
    assert _says(second) == "onlooker"
    _let_come_due(database)
    _look(second)
    _look(first)
    assert _runs(tmp_path) == [first.pid]
    first.kill()
    first.wait()
    assert _says(second) == "owner"
    _let_come_due(database)
    _look(second)
    assert _runs(tmp_path) == [first.pid, second.pid]


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_an_owner_that_was_cut_off_and_does_not_know_it_runs_no_job(
    start: Start, database: Database, database_url: str, tmp_path: Path
) -> None:
    first = start(NEVER)
    assert _says(first) == "owner"
    second = start(NEVER)
    assert _says(second) == "onlooker"
    _cut_off_the_owner(database_url)
    _tell(second, "take")
    assert _says(second) == "owner"
    _let_come_due(database)
    _look(first)  # it believes that the jobs are its own
    _look(second)
    assert _runs(tmp_path) == [second.pid]


def _says(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


def _look(process: subprocess.Popen[str]) -> None:
    _tell(process, "look")
    assert _says(process) == "looked"


def _runs(folder: Path) -> list[int]:
    """The processes that ran the job, one for each time."""
    return [int(line) for line in (folder / "runs").read_text().split()]


def _let_come_due(database: Database) -> None:
    """Let the job be due, and note who runs it instead of training."""
    with schedule._reading(database) as scheduler:
        due = datetime.now(UTC) - timedelta(minutes=1)
        scheduler.modify_job(schedule.RETRAIN, schedule.RECORD, func=note_run, next_run_time=due)


def _cut_off_the_owner(url: str) -> None:
    """End the connection with the lock, as a network that fails does; its process hears of it later."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' "
            "AND ((classid::bigint << 32) | objid::bigint) = %s",
            (ADVISORY_LOCK,),
        )
