"""`thumbloop dataset` and what `thumbloop review` says about datasets, on the real command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bot.cli.conftest import Thumbloop


@pytest.fixture
def quarrel(tmp_path: Path) -> Path:
    """A file of pairs, two of which contradict each other, and one of which has an address in it."""
    things = (
        "lamp",
        "bridge",
        "piano",
        "glacier",
        "compass",
        "violin",
        "harbour",
        "meadow",
        "lantern",
        "canyon",
    )
    rows = [
        {"instruction": f"What is a {thing} good for?", "output": f"People like a {thing} for its own sake."}
        for thing in things
    ]
    rows += [
        {"instruction": "Does dropout help here?", "output": "Yes, it helps a lot here."},
        {"instruction": "does dropout help here", "output": "No, it only costs time here."},
        {
            "instruction": "Whom should one write to?",
            "output": "Write to ada.byron@mathmail.net about the key.",
        },
    ]
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_a_build_tells_what_hygiene_found_and_settling_a_contradiction_lets_the_rest_train(
    thumbloop: Thumbloop, quarrel: Path
) -> None:
    assert thumbloop("import", quarrel).status == 0
    shown = thumbloop("dataset", "build")
    assert shown.status == 0
    assert "contradictions: 2 dropped (2 yes and no)" in shown.out
    assert "personal-data: 1 changed" in shown.out
    assert "thumbloop dataset contradictions" in shown.out
    (found,) = thumbloop("dataset", "contradictions", "--json").json
    wrong = next(side["turn"] for side in found["answers"] if side["answer"].startswith("No"))
    right = next(side["turn"] for side in found["answers"] if side["answer"].startswith("Yes"))
    listed = thumbloop("dataset", "contradictions").out
    assert f"turn {wrong}" in listed and f"turn {right}" in listed
    assert thumbloop("review", "reject", wrong).status == 0
    assert thumbloop("dataset", "contradictions", "--json").json == []
    before, after = thumbloop("dataset", "show", "community@1", "--json").json, _built(thumbloop)
    assert sum(after["pairs"].values()) == sum(before["pairs"].values()) + 1


def test_a_task_type_is_set_by_turn_and_an_unknown_one_is_refused(
    thumbloop: Thumbloop, pairs_file: Callable[[int], Path]
) -> None:
    thumbloop("import", pairs_file(12))
    assert _built(thumbloop)["task_types"] == {"qa": 12}
    assert "Turn 3 is explanation" in thumbloop("review", "task-type", 3, "explanation").out
    assert _built(thumbloop)["task_types"] == {"explanation": 1, "qa": 11}
    refused = thumbloop("review", "task-type", 3, "poem")
    assert refused.status == 2 and "checklist" in refused.err


def test_trust_names_a_reviewer_and_refuses_one_who_never_reviewed(
    thumbloop: Thumbloop, pairs_file: Callable[[int], Path]
) -> None:
    thumbloop("import", pairs_file(12))
    assert "0 quarantined approvals" in thumbloop("review", "trust", "terminal:ada").out
    refused = thumbloop("review", "trust", "discord:nobody")
    assert refused.status == 1 and "discord:nobody" in refused.err


def test_erasures_are_listed(thumbloop: Thumbloop) -> None:
    thumbloop("db", "upgrade")
    assert thumbloop("dataset", "erasures", "--json").json == []
    assert "Nobody has asked to be forgotten." in thumbloop("dataset", "erasures").out


def _built(thumbloop: Thumbloop) -> dict[str, dict[str, int]]:
    built: dict[str, dict[str, int]] = thumbloop("dataset", "build", "--json").json
    return built
