"""`thumbloop backup` and `restore` at the command line."""

from __future__ import annotations

from pathlib import Path

from tests.bot.cli.conftest import Thumbloop


def test_a_backup_is_restored_into_another_folder_where_the_same_adapter_serves(
    thumbloop: Thumbloop, adapter: str, tmp_path: Path
) -> None:
    thumbloop("adapter", "switch", adapter, "--reason", "it knows the prices")
    made = thumbloop("backup", tmp_path / "loop.zip")
    assert made.status == 0 and "read back and whole" in made.out
    elsewhere = ("--data", tmp_path / "elsewhere")
    assert thumbloop(*elsewhere, "restore", tmp_path / "loop.zip").status == 0
    (serving,) = thumbloop(*elsewhere, "status", "--json").json["serving"]
    assert (serving["adapter"], serving["reason"]) == (adapter, "it knows the prices")


def test_restoring_over_what_is_there_is_refused_with_what_to_do(
    thumbloop: Thumbloop, tmp_path: Path
) -> None:
    thumbloop("db", "upgrade")
    thumbloop("backup", tmp_path / "loop.zip")
    refused = thumbloop("restore", tmp_path / "loop.zip")
    assert refused.status == 1 and "--data FOLDER" in refused.err
