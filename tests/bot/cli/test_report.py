"""Reports and overruled verdicts at the command line."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from feedback.database import Database
from tests.bot.cli.conftest import Thumbloop
from tests.training import finished


@pytest.fixture
def run(thumbloop: Thumbloop, data: Path) -> int:
    """A run that was rejected, in the record of the test."""
    thumbloop("review", "list")  # whatever is asked first makes the record
    return _finished(data, state="rejected")


def _finished(data: Path, **given: Any) -> int:
    async def made() -> int:
        database = Database(f"sqlite:///{data / 'thumbloop.db'}")
        try:
            return await finished.run(database, **given)
        finally:
            await database.close()

    return asyncio.run(made())


def test_report_says_where_the_last_one_lies_and_writes_it_when_it_is_not_there(
    thumbloop: Thumbloop, run: int, data: Path
) -> None:
    said = thumbloop("report")
    page = data / "reports" / f"run-{run}" / "report.html"
    assert (said.status, said.out.strip()) == (0, str(page))
    assert "community@1" in page.read_text(encoding="utf-8")
    newer = _finished(data)
    assert f"run-{newer}" in thumbloop("report").out
    assert thumbloop("report", run).out == said.out


def test_report_is_written_anew_when_asked(thumbloop: Thumbloop, run: int, data: Path) -> None:
    page = Path(thumbloop("report").out.strip())
    page.write_text("old", encoding="utf-8")
    thumbloop("report", run)
    assert page.read_text(encoding="utf-8") == "old"
    thumbloop("report", run, "--anew")
    assert "community@1" in page.read_text(encoding="utf-8")


def test_report_as_json_holds_all_of_it(thumbloop: Thumbloop, run: int) -> None:
    told = thumbloop("report", "--json").json
    assert told["run"]["state"] == "rejected" and told["metrics"]["candidate"]["loss"] == 1.5
    assert told["answers"][0]["answers"]["base"]["text"] == "What base said 0."


def test_a_report_that_there_is_not_is_said_with_what_to_do(thumbloop: Thumbloop) -> None:
    without = thumbloop("report")
    assert without.status != 0 and "thumbloop retrain" in without.err and without.out == ""
    assert "There is no run 9" in thumbloop("report", 9).err


def test_a_rejected_adapter_is_promoted_by_a_person_with_a_reason(thumbloop: Thumbloop, run: int) -> None:
    refused = thumbloop("adapter", "overrule", "community@1", "promote", "--reason", " ")
    assert refused.status != 0 and "needs a reason" in refused.err
    said = thumbloop("adapter", "overrule", "community@1", "promote", "--reason", "Read them all.")
    assert said.status == 0 and "thumbloop adapter switch community@1" in said.out
    states = {one["label"]: one["state"] for one in thumbloop("adapter", "list", "--json").json}
    assert states["community@1"] == "promoted"
    assert "has no verdict" in thumbloop("adapter", "overrule", "base", "reject", "--reason", "x").err
