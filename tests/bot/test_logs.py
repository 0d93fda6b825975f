"""The log is JSON lines without secrets, shared by processes, and never in the way of the work."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import structlog

from bot import logs

SECRET = "s3cret/with:odd\"chars'ż"
ROOT = Path(__file__).parent.parent.parent
NOW = datetime(2030, 6, 3, 4, tzinfo=UTC)
log = structlog.get_logger("bot.somewhere")


@pytest.fixture(autouse=True)
def undisturbed() -> Iterator[None]:
    """Logging as it was, for the tests that come after."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    for handler in [handler for handler in root.handlers if handler not in handlers]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder that is not there yet, with logging set up for it."""
    logs.configure(tmp_path / "data", known_secrets=[SECRET])
    return tmp_path / "data"


def records(data: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text(data).splitlines()]


def text(data: Path) -> str:
    return logs.log_file(data).read_text(encoding="utf-8")


# what is written


def test_a_record_is_one_json_line_with_time_level_and_origin(data: Path) -> None:
    log.info("zażółć\nsecond line", turn=7)
    (record,) = records(data)
    assert record.pop("timestamp").endswith("Z")
    assert record == {
        "event": "zażółć\nsecond line",
        "level": "info",
        "logger": "bot.somewhere",
        "turn": 7,
    }


def test_records_of_libraries_go_the_same_way(data: Path) -> None:
    logging.getLogger("apscheduler.jobs").info("job %s ran in %.1f s", "retrain", 2.0)
    (record,) = records(data)
    assert (record["event"], record["logger"]) == ("job retrain ran in 2.0 s", "apscheduler.jobs")


def test_warnings_of_libraries_go_to_the_file_and_not_to_people(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old ways", UserWarning, stacklevel=1)
    assert "old ways" in text(data)
    assert capsys.readouterr().err == ""


def test_nothing_is_made_before_the_first_record(data: Path) -> None:
    assert not data.exists()


def test_what_is_below_the_level_is_left_out(tmp_path: Path) -> None:
    logs.configure(tmp_path, level="warning")
    log.info("chatter")
    log.warning("matters")
    assert [record["event"] for record in records(tmp_path)] == ["matters"]


def test_half_a_character_does_not_cost_the_record(data: Path) -> None:
    log.info("half \ud83d of it")
    assert len(records(data)) == 1


def test_setting_it_up_again_writes_each_record_once_and_to_the_new_place(tmp_path: Path) -> None:
    logs.configure(tmp_path / "one")
    logs.configure(tmp_path / "two")
    log.info("hello")
    assert not (tmp_path / "one").exists()
    assert len(records(tmp_path / "two")) == 1


def test_an_unexpected_error_is_found_again_by_its_reference(data: Path) -> None:
    try:
        raise ValueError("deep inside")
    except ValueError as error:
        reference, place = logs.note_unexpected(error)
    assert place == logs.log_file(data)
    (record,) = records(data)
    assert reference in record["event"]
    assert "deep inside" in record["exception"] and "test_logs.py" in record["exception"]


# what people see


def test_people_see_warnings_without_traceback_and_no_chatter(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log.info("chatter")
    try:
        raise ValueError("deep inside")
    except ValueError:
        log.exception("the answer failed", turn=7)
    seen = capsys.readouterr().err
    assert "the answer failed" in seen and "turn=7" in seen
    assert "chatter" not in seen and "Traceback" not in seen and "deep inside" not in seen


def test_of_libraries_people_see_errors_only(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("apscheduler").warning("a missed run")
    logging.getLogger("apscheduler").error("a broken store")
    seen = capsys.readouterr().err
    assert "a broken store" in seen and "a missed run" not in seen


# secrets


@pytest.mark.parametrize(
    "key",
    [
        "token",
        "bot_token",
        "TELEGRAM_TOKEN",
        "api_key",
        "X-Api-Key",
        "Authorization",
        "database_url",
        "cookie",
    ],
)
def test_values_of_telling_names_are_masked_wherever_they_stand(data: Path, key: str) -> None:
    log.info("said", **{key: "abc123"})
    log.info("said", headers={"deep": [{key: "abc123"}]})
    assert "abc123" not in text(data)
    assert text(data).count(logs.MASK) == 2


def test_counts_of_tokens_are_no_secrets(data: Path) -> None:
    log.info("answered", prompt_tokens=11, max_new_tokens=12, first_token_s=0.5)
    assert logs.MASK not in text(data)


def test_a_known_secret_is_masked_in_every_spelling(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spellings = [
        SECRET,
        quote(SECRET, safe=""),
        json.dumps({"a": SECRET}),
        json.dumps(SECRET, ensure_ascii=False),
    ]
    for spelling in spellings:
        log.error(
            f"calling {spelling}", at=[spelling], deep={spelling: (spelling, {spelling})}, odd=Path(spelling)
        )
        logging.getLogger("httpx").error("calling %s", spelling)
    kept = text(data) + capsys.readouterr().err
    assert "s3cret" not in kept


def test_a_secret_in_a_traceback_is_masked(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def connect(password: str) -> None:
        raise ValueError(f"no entry for {password!r}")

    try:
        connect(SECRET)
    except ValueError as error:
        logs.note_unexpected(error)
        log.exception("failed", error=error)
        logging.getLogger("lib").exception("failed: %s", error)
    kept = text(data) + capsys.readouterr().err
    assert "no entry for" in kept
    assert "s3cret" not in kept


def test_a_password_in_a_url_is_masked_though_nobody_knew_it(data: Path) -> None:
    log.info("connecting to postgresql://bot:letmein@db/record and http://host:8000/v1 at 10:30")
    assert "letmein" not in text(data)
    assert f"postgresql://bot:{logs.MASK}@db/record and http://host:8000/v1 at 10:30" in text(data)


def test_too_short_a_secret_tears_no_holes(tmp_path: Path) -> None:
    logs.configure(tmp_path, known_secrets=["a", ""])
    log.info("a cat")
    assert records(tmp_path)[0]["event"] == "a cat"


# never in the way


def test_a_full_disk_stops_nothing_and_says_nothing_and_the_log_goes_on_when_there_is_room(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = logs.log_file(data)
    place.parent.mkdir(parents=True)
    place.symlink_to("/dev/full")  # every write fails as on a full disk
    log.info("lost")
    assert logs.note_unexpected(ValueError("lost"))[1] is None
    place.unlink()
    log.info("kept")
    assert [record["event"] for record in records(data)] == ["kept"]
    assert capsys.readouterr().err == ""


def test_a_data_folder_that_cannot_be_made_stops_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").write_text("a file stands where the folder should be")
    logs.configure(tmp_path / "data")
    log.info("lost")
    assert logs.note_unexpected(ValueError("lost"))[1] is None
    assert capsys.readouterr().err == ""


def test_a_log_folder_removed_meanwhile_is_made_again(data: Path) -> None:
    log.info("one")
    logs.log_file(data).unlink()
    logs.log_file(data).parent.rmdir()
    log.info("lost, perhaps")
    log.info("two")
    assert records(data)[-1]["event"] == "two"


def test_a_value_that_cannot_be_shown_stops_nothing(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Odd:
        def __str__(self) -> str:
            raise RuntimeError("no")

    log.info("odd", value=Odd())
    log.info("next")
    assert records(data)[-1]["event"] == "next"


def test_a_large_log_is_put_aside_at_the_next_start(data: Path) -> None:
    place = logs.log_file(data)
    place.parent.mkdir(parents=True)
    with place.open("wb") as file:
        file.truncate(logs.MOST_BYTES + 1)
    log.info("fresh")
    assert [record["event"] for record in records(data)] == ["fresh"]
    (aside,) = place.parent.glob("thumbloop.log.*")
    assert aside.stat().st_size == logs.MOST_BYTES + 1


def test_several_processes_share_the_file_line_by_line(tmp_path: Path) -> None:
    code = (
        "import sys, structlog\nfrom pathlib import Path\nfrom bot import logs\n"
        "logs.configure(Path(sys.argv[1]))\nlog = structlog.get_logger('bot')\n"
        "for n in range(30): log.info('line', by=sys.argv[2], n=n, text='ż' * n * 3000)"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(number)], cwd=ROOT)
        for number in range(3)
    ]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert {(record["by"], record["n"]) for record in records(tmp_path)} == {
        (str(by), n) for by in range(3) for n in range(30)
    }


def test_a_log_that_grew_while_the_program_runs_is_put_aside_and_writing_goes_on(data: Path) -> None:
    log.info("before")
    with logs.log_file(data).open("r+b") as file:
        file.truncate(logs.MOST_BYTES + 1)
    assert logs.prune(data, timedelta(days=30), 1 << 30, datetime.now(UTC)) == []
    log.info("after")
    assert [record["event"] for record in records(data)] == ["after"]
    assert len(list(data.glob("logs/thumbloop.log.*"))) == 1


def test_logs_put_aside_go_by_age_and_by_what_they_take_together(data: Path) -> None:
    log.info("today")
    for days, size in ((1, 300), (2, 300), (3, 300), (40, 1)):
        old = logs.aside(logs.log_file(data), NOW - timedelta(days=days))
        old.write_bytes(b"x" * size)
        os.utime(old, ((NOW - timedelta(days=days)).timestamp(),) * 2)
    deleted = logs.prune(data, timedelta(days=30), 700, NOW)
    assert [path.name.rpartition(".")[2][:8] for path in deleted] == ["20300531", "20300424"]
    assert [record["event"] for record in records(data)] == ["today"]
