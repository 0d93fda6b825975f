"""What a person does at the command line: ask, vote, review, move pairs in and out, switch adapters."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.bot.cli.conftest import Thumbloop


def test_a_newcomers_first_question_is_answered_and_waits_for_review(thumbloop: Thumbloop) -> None:
    asked = thumbloop("ask", "What is LoRA?")
    assert asked.status == 0
    assert asked.out.strip()
    waiting = thumbloop("review", "list", "--json").json
    assert [entry["question"] for entry in waiting["entries"]] == ["What is LoRA?"]
    assert waiting["entries"][0]["answer"] == asked.out.strip()


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"], indirect=True)
def test_asking_reviewing_and_undoing_work_on_both_databases(
    database_url: str, thumbloop: Thumbloop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THUMBLOOP_RECORD__DATABASE_URL", database_url)
    turn = thumbloop("ask", "What is LoRA?", "--json").json["turn_id"]
    assert thumbloop("review", "approve", turn, "--json").json[0]["trains"] is True
    assert thumbloop("review", "list", "--json").json["waiting"] == 0
    assert thumbloop("review", "undo", turn, "--json").json[0]["state"] == "waiting"
    assert thumbloop("review", "edit", turn, "A better answer.", "--json").json[0]["approved_answer"]
    assert thumbloop("review", "undo", turn).status == 0
    assert "rejected" in thumbloop("review", "reject", turn, "--note", "off topic").out


def test_a_question_may_be_asked_in_another_community(
    thumbloop: Thumbloop, pairs_file: Callable[[int], Path]
) -> None:
    thumbloop("import", pairs_file(1), "--community", "cooks")
    thumbloop("ask", "What is salt?", "--community", "import:cooks", "--mode", "tldr")
    (entry,) = thumbloop("review", "list", "--community", "cooks", "--json").json["entries"]
    assert (entry["question"], entry["mode"]) == ("What is salt?", "tldr")


def test_an_edit_without_an_answer_and_without_a_terminal_says_what_is_missing(thumbloop: Thumbloop) -> None:
    turn = thumbloop("ask", "What is LoRA?", "--json").json["turn_id"]
    refused = thumbloop("review", "edit", turn)
    assert refused.status == 2
    assert "after the turn's number" in refused.err


def test_of_several_decisions_those_before_a_refusal_stand(thumbloop: Thumbloop) -> None:
    turn = thumbloop("ask", "What is LoRA?", "--json").json["turn_id"]
    refused = thumbloop("review", "approve", turn, turn + 1)
    assert refused.status == 1
    assert f"no turn {turn + 1}" in refused.err
    assert thumbloop("review", "list", "--json").json["waiting"] == 0


def test_pairs_come_in_once_and_go_out_again(
    thumbloop: Thumbloop, pairs_file: Callable[[int], Path], tmp_path: Path
) -> None:
    file = pairs_file(12)
    assert thumbloop("import", file, "--json").json["new"] == 12
    assert thumbloop("import", file, "--json").json["known"] == 12
    out = tmp_path / "out.jsonl"
    assert thumbloop("export", out, "--json").json["pairs"] == 12
    assert {json.loads(line)["instruction"] for line in out.read_text().splitlines()} == {
        f"What is {n}?" for n in range(12)
    }


def test_a_dataset_is_built_shown_and_found_damaged(
    thumbloop: Thumbloop, pairs_file: Callable[[int], Path], data: Path
) -> None:
    thumbloop("import", pairs_file(20))
    built = thumbloop("dataset", "build", "--json").json
    assert sum(built["pairs"].values()) == 20
    assert thumbloop("dataset", "build", "--json").json["label"] == built["label"]
    assert built["label"] in thumbloop("dataset", "show").out
    assert thumbloop("dataset", "show", built["label"]).status == 0
    train = data / built["folder"] / "train.jsonl"
    lines = train.read_text().splitlines(keepends=True)
    train.write_text("".join([lines[0], "{no json\n", *lines[2:]]))
    damaged = thumbloop("dataset", "show", built["label"])
    assert damaged.status == 1
    assert "train.jsonl, line 2" in damaged.out


def test_an_adapter_is_shown_switched_to_and_rolled_back(thumbloop: Thumbloop, adapter: str) -> None:
    assert thumbloop("adapter", "show", adapter, "--json").json["fault"] == ""
    switched = thumbloop("adapter", "switch", adapter, "--reason", "a try", "--json").json
    assert switched == {"before": "base", "now": adapter, "whom": "every community", "changed": True}
    listed = {one["label"]: one["serves"] for one in thumbloop("adapter", "list", "--json").json}
    assert listed == {"base": [], adapter: ["every community"]}
    assert "a try" in thumbloop("adapter", "show", adapter).out
    assert f"before it was {adapter}" in thumbloop("adapter", "rollback").out
    nothing = thumbloop("adapter", "rollback")
    assert nothing.status == 1
    assert "nothing to roll back to" in nothing.err


def test_a_corrupted_adapter_is_named_by_every_verb_that_meets_it(
    thumbloop: Thumbloop, adapter: str, data: Path
) -> None:
    weights = data / "adapters" / "tiny" / "1" / "adapter_model.safetensors"
    weights.write_bytes(b"\0" * weights.stat().st_size)
    assert "adapter_model.safetensors is corrupt" in thumbloop("adapter", "show", adapter).out
    for verb in (("adapter", "switch", adapter), ("ask", "What is LoRA?", "--adapter", adapter)):
        refused = thumbloop(*verb)
        assert refused.status == 1
        assert "adapter_model.safetensors is corrupt" in refused.err
        assert refused.out.strip() == ""


def test_an_unknown_adapter_is_refused_before_the_model_is_loaded(
    thumbloop: Thumbloop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THUMBLOOP_MODEL", "no-such-model")
    refused = thumbloop("ask", "What is LoRA?", "--adapter", "poet@3")
    assert refused.status == 1
    assert "There is no adapter poet@3" in refused.err


def test_the_retrain_job_is_listed_paused_and_resumed(thumbloop: Thumbloop) -> None:
    (job,) = thumbloop("schedule", "list", "--json").json
    assert job["id"] == "retrain"
    assert job["next_run"]
    assert thumbloop("schedule", "pause", "--json").json["paused"] is True
    assert "paused" in thumbloop("schedule", "list").out
    assert thumbloop("schedule", "resume", "--json").json["paused"] is False
    unknown = thumbloop("schedule", "pause", "dishes")
    assert unknown.status == 1
    assert "thumbloop schedule list" in unknown.err


def test_a_job_of_a_named_adapter_is_run_now_and_its_own_pairs_are_what_counts(
    thumbloop: Thumbloop, pairs_file: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = {"communities": ["import:docs"], "schedule": "off"}
    monkeypatch.setenv("THUMBLOOP_TRAINING__ADAPTERS", json.dumps({"docs": docs}))
    monkeypatch.setenv("THUMBLOOP_MODEL", "no-such-model")  # the run ends before it trains
    thumbloop("import", pairs_file(30))
    thumbloop("import", pairs_file(2), "--community", "docs")
    refused = thumbloop("schedule", "run-now", "retrain-docs")
    assert refused.status == 1 and "2 approved pairs are ready for docs" in refused.err
    assert thumbloop("retrain", "--status", "--json").json == []
    thumbloop("import", pairs_file(20), "--community", "docs")
    told = thumbloop("schedule", "run-now", "retrain-docs").out
    assert told.startswith("A training run of docs has started (process ")
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(int(re.findall(r"process (\d+)", told)[0])).wait()
    (run,) = thumbloop("retrain", "--status", "--json").json
    assert (run["adapter"], run["started_by"]) == ("docs", "terminal:ada")


def test_a_job_that_there_is_not_cannot_be_run_now(thumbloop: Thumbloop) -> None:
    refused = thumbloop("schedule", "run-now", "dishes")
    assert refused.status == 1 and refused.err == thumbloop("schedule", "pause", "dishes").err


def test_an_api_key_is_shown_with_its_settings_line_and_kept_nowhere(
    thumbloop: Thumbloop, monkeypatch: pytest.MonkeyPatch, data: Path
) -> None:
    made = thumbloop("api-key", "website")
    key, line = made.out.strip(), made.err.strip().splitlines()[-1]
    monkeypatch.setenv("THUMBLOOP_API__KEYS", json.dumps([line]))
    assert thumbloop("adapter", "list").status == 0
    assert key not in line
    log = data / "logs" / "thumbloop.log"
    assert not log.exists() or key not in log.read_text()


def test_the_first_upgrade_makes_the_schema_and_the_second_changes_nothing(thumbloop: Thumbloop) -> None:
    made = thumbloop("db", "upgrade", "--json").json
    assert made["before"] == ""
    again = thumbloop("db", "upgrade", "--json").json
    assert again["before"] == again["after"] == made["after"]
