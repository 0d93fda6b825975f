"""What people do wrong, and machines do to them: one sentence with what to do, nothing half-written."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.bot.cli.conftest import Result, Thumbloop


def _is_one_sentence(refused: Result, *, status: int) -> bool:
    lines = [line for line in refused.err.splitlines() if not line.endswith("…")]
    return (refused.status, refused.out, len(lines)) == (status, "", 1) and "Traceback" not in refused.err


@pytest.mark.parametrize(
    ("question", "told"),
    [
        ("", "is empty"),
        (" \n\t ", "is empty"),
        ("\x00\x01\x1b\x7f", "is empty"),
        ("a" * 100_000, "100,000 characters"),
    ],
    ids=["empty", "blank", "control characters", "100,000 characters"],
)
def test_a_question_that_is_none_is_refused_before_anything_is_written(
    question: str, told: str, thumbloop: Thumbloop, data: Path
) -> None:
    refused = thumbloop("ask", question)
    assert _is_one_sentence(refused, status=2)
    assert told in refused.err
    assert not data.exists()


def test_control_characters_within_a_question_are_taken_out(thumbloop: Thumbloop) -> None:
    thumbloop("ask", "What is\x1b[31m LoRA?\x07")
    (entry,) = thumbloop("review", "list", "--json").json["entries"]
    assert entry["question"] == "What is[31m LoRA?"


@pytest.mark.parametrize("model", ["no-such-model", "/no/such/folder"])
def test_a_model_that_does_not_exist_is_named_with_what_is_allowed(
    model: str, thumbloop: Thumbloop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THUMBLOOP_MODEL", model)
    refused = thumbloop("ask", "What is LoRA?")
    assert _is_one_sentence(refused, status=1)
    assert model in refused.err
    assert "SmolLM2-135M-Instruct" in refused.err


def test_a_data_folder_that_cannot_be_made_is_named(thumbloop: Thumbloop, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused = thumbloop("--data", tmp_path / "file" / "data", "ask", "What is LoRA?")
    assert _is_one_sentence(refused, status=1)
    assert str(tmp_path / "file" / "data") in refused.err


@pytest.mark.parametrize(
    ("options", "told"),
    [("ro,size=8m", "may be written"), ("size=64k", "disk is full")],
    ids=["read-only", "full"],
)
def test_a_disk_that_takes_nothing_is_named_with_what_to_do(
    options: str, told: str, environment: dict[str, str], tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    environment["THUMBLOOP_DATA"] = str(disk)
    refused = _on_a_disk_of_its_own(disk, options, ["adapter", "list"], environment)
    assert refused.returncode == 1
    assert told in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def _on_a_disk_of_its_own(
    disk: Path, options: str, arguments: Sequence[str], environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a command in a mount namespace where `disk` is a small or read-only file system."""
    unshare = shutil.which("unshare")
    private = [unshare or "", "--map-root-user", "--mount", "--propagation", "private"]
    if unshare is None or subprocess.run([*private, "true"], capture_output=True).returncode:
        pytest.skip("this machine allows no mount namespaces, so no disk can be made full or read-only")
    mounted = 'mount -t tmpfs -o "$1" thumbloop "$2" && shift 2 && exec "$@"'
    command = [sys.executable, "-m", "bot", *arguments]
    return subprocess.run(
        [*private, "sh", "-c", mounted, "sh", options, str(disk), *command],
        env=environment,
        capture_output=True,
        text=True,
    )


def test_a_database_of_a_newer_thumbloop_is_left_alone(thumbloop: Thumbloop, data: Path) -> None:
    thumbloop("db", "upgrade")
    with sqlite3.connect(data / "thumbloop.db") as record:
        record.execute("UPDATE alembic_version SET version_num = '9999'")
    for verb in (("adapter", "list"), ("db", "upgrade")):
        refused = thumbloop(*verb)
        assert _is_one_sentence(refused, status=1)
        assert "9999" in refused.err
        assert "Install the newer Thumbloop" in refused.err


def test_a_file_that_is_no_database_is_named(thumbloop: Thumbloop, data: Path) -> None:
    data.mkdir()
    (data / "thumbloop.db").write_text("This is a shopping list, not a database. " * 100)
    refused = thumbloop("adapter", "list")
    assert _is_one_sentence(refused, status=1)
    assert "is not a database" in refused.err


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"instruction": "What is 3?", "output":', "not JSON"),
        ('{"instruction": "What is 3?"}', "'output' is missing"),
        ("[1, 2]", "expected an object"),
    ],
)
def test_a_corrupted_line_is_named_and_the_rest_goes_in_unless_all_must_be_good(
    line: str, told: str, thumbloop: Thumbloop, pairs_file: Callable[[int], Path], tmp_path: Path
) -> None:
    file = pairs_file(5)
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:3], line, *lines[3:]]) + "\n")
    refused = thumbloop("import", file, "--strict")
    assert _is_one_sentence(refused, status=2)
    assert f"{file}, line 4" in refused.err
    assert told in refused.err
    assert thumbloop("export", tmp_path / "all.jsonl", "--all", "--json").json["pairs"] == 0
    taken = thumbloop("import", file)
    assert taken.status == 0 and "line 4" in taken.out and told in taken.out
    assert thumbloop("export", tmp_path / "all.jsonl", "--all", "--json").json["pairs"] == 5


def test_a_file_that_is_not_there_and_one_of_no_known_kind_are_refused(
    thumbloop: Thumbloop, tmp_path: Path
) -> None:
    for name, told in (("none.jsonl", "No such file"), ("notes.docx", ".jsonl, .json, .csv, .tsv, .parquet")):
        refused = thumbloop("import", tmp_path / name)
        assert _is_one_sentence(refused, status=2)
        assert told in refused.err


def test_an_export_that_fails_leaves_no_file(thumbloop: Thumbloop, tmp_path: Path) -> None:
    refused = thumbloop("export", tmp_path / "missing" / "out.jsonl")
    assert _is_one_sentence(refused, status=2)
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize("pairs", [0, 3])
@pytest.mark.parametrize("verb", [("dataset", "build"), ("retrain",)], ids=" ".join)
def test_too_few_pairs_say_how_many_are_needed(
    verb: tuple[str, ...], pairs: int, thumbloop: Thumbloop, pairs_file: Callable[[int], Path], data: Path
) -> None:
    if pairs:
        thumbloop("import", pairs_file(pairs))
    refused = thumbloop(*verb)
    assert refused.status == 1
    assert refused.out == ""
    assert "at least 8" in refused.err.splitlines()[-1]
    assert "thumbloop import FILE" in refused.err
    assert _half_written(data) == []


def test_a_turn_number_that_no_database_can_hold_is_a_usage_error(thumbloop: Thumbloop) -> None:
    assert thumbloop("review", "approve", 2**31).status == 2


def test_json_stays_alone_on_stdout(thumbloop: Thumbloop) -> None:
    asked = thumbloop("ask", "What is LoRA?", "--json")
    assert json.loads(asked.out)["adapter"] == "base"


def _half_written(data: Path) -> list[str]:
    return [str(path) for path in data.rglob("*") if ".part" in path.name or "staging" in path.name]
