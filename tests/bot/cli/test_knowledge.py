"""`thumbloop knowledge` on the real command line: documents come, are looked at, and go."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from bot.schedule import refresh_when_due
from tests.bot.cli.conftest import Thumbloop


@pytest.fixture(autouse=True)
def club(thumbloop: Thumbloop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record with one community, in which words alone are searched."""
    monkeypatch.setenv("THUMBLOOP_KNOWLEDGE__EMBEDDING", "off")
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(json.dumps({"instruction": "What is this?", "output": "A club."}) + "\n")
    assert thumbloop("import", pairs, "--community", "Club").status == 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    given = tmp_path / "docs"
    given.mkdir()
    (given / "rules.md").write_text(
        "# Zasady\n\nBądź miły.\n\n## Składka\n\nPięćdziesiąt złotych.\n", encoding="utf-8"
    )
    (given / "broken.pdf").write_bytes(b"%PDF-1.7 half")
    (given / "logo.png").write_bytes(b"\x89PNG")
    return given


def test_a_folder_is_added_listed_shown_read_anew_and_removed(thumbloop: Thumbloop, folder: Path) -> None:
    added = thumbloop("knowledge", "add", folder)
    assert added.status == 0 and "reading 2/2" in added.err
    assert added.out.splitlines()[0] == "1  docs: 1 new, 1 refused; 2 passages."
    assert "broken.pdf is broken and cannot be read" in added.out and "left aside: 1 .png" in added.out
    (listed,) = thumbloop("knowledge", "list", "--json").json
    assert (listed["id"], listed["source_kind"], listed["documents"], listed["refused"]) == (
        1,
        "folder",
        2,
        1,
    )
    assert "1 document refused" in thumbloop("knowledge", "list").out
    shown = thumbloop("knowledge", "show", folder / "rules.md")
    assert "Zasady > Składka\nPięćdziesiąt złotych." in shown.out
    content = thumbloop("knowledge", "show", folder / "rules.md", "--json").json["content"]
    assert [one["titles"] for one in content] == [["Zasady"], ["Zasady", "Składka"]]
    (folder / "rules.md").write_text("# Zasady\n\nBądź miły.\n", encoding="utf-8")
    (again,) = thumbloop("knowledge", "refresh", "--all", "--json").json
    assert (again["changed"], again["passages"], again["refused"][0]["name"]) == (1, 1, "broken.pdf")
    removed = thumbloop("knowledge", "remove", 1)
    assert removed.status == 0 and "with 2 documents of it" in removed.out
    assert "no documents yet" in thumbloop("knowledge", "list").out


def test_who_asks_to_learn_from_too_little_is_told_what_it_takes(thumbloop: Thumbloop) -> None:
    learnt = thumbloop("knowledge", "learn")
    assert learnt.status == 0 and "30 wordings" in learnt.out
    assert json.loads(thumbloop("knowledge", "learn", "--json").out) is None


def test_several_are_added_though_one_of_them_is_refused(thumbloop: Thumbloop, folder: Path) -> None:
    added = thumbloop("knowledge", "add", folder / "broken.pdf", folder / "rules.md", "http://10.0.0.1/")
    assert added.status == 1
    assert "broken.pdf is broken and cannot be read. Save it anew, and add it again." in added.out
    assert "Zasady: 1 new; 2 passages." in added.out
    assert "It leads into a private network (10.0.0.1)" in added.out


def test_a_document_that_is_not_there_is_a_sentence_and_no_traceback(
    thumbloop: Thumbloop, folder: Path
) -> None:
    assert thumbloop("knowledge", "show", 7).err.startswith("There is no document 7.")
    missing = thumbloop("knowledge", "add", folder / "nothing.md")
    assert missing.status == 1 and "nothing.md cannot be opened (No such file or directory)" in missing.out


def test_the_scheduled_job_reads_documents_anew(thumbloop: Thumbloop, folder: Path, data: Path) -> None:
    thumbloop("knowledge", "add", folder)
    (folder / "new.txt").write_text("We meet in May.", encoding="utf-8")
    asyncio.run(refresh_when_due(str(data)))
    (listed,) = thumbloop("knowledge", "list", "--json").json
    assert (listed["documents"], listed["passages"]) == (3, 3)
    at_once = thumbloop("schedule", "run-now", "refresh-documents")
    assert at_once.status == 2 and "`thumbloop knowledge refresh --all` does it now" in at_once.err


def test_where_there_are_several_communities_one_is_named(
    thumbloop: Thumbloop, folder: Path, tmp_path: Path
) -> None:
    assert thumbloop("import", tmp_path / "pairs.jsonl", "--community", "Other").status == 0
    unnamed = thumbloop("knowledge", "add", folder)
    assert unnamed.status == 2 and "No community is named. Name one of them by its id: 1" in unnamed.err
    assert thumbloop("knowledge", "add", folder, "--community", "Other").status == 0
    assert thumbloop("knowledge", "list", "--community", "Club", "--json").json == []
