"""Which files of a folder are taken for documents."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.knowledge.documents.folders import documents_in


def _write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("text", encoding="utf-8")


def _names(folder: Path) -> list[str]:
    found = documents_in(folder)
    return [path.relative_to(found.folder).as_posix() for path in found.files]


def test_documents_are_found_below_and_come_in_the_order_of_their_paths(tmp_path: Path) -> None:
    _write(tmp_path, "b.md", "a/z.pdf", "a/b.HTML", "readme.txt")
    assert _names(tmp_path) == ["a/b.HTML", "a/z.pdf", "b.md", "readme.txt"]


def test_what_is_no_document_is_counted_by_its_ending(tmp_path: Path) -> None:
    _write(tmp_path, "a.md", "code.py", "more.py", "Makefile", ".env", ".hidden/b.md", "node_modules/x/c.md")
    assert _names(tmp_path) == ["a.md"]
    assert documents_in(tmp_path).skipped == {".py": 2, "hidden": 1, "without ending": 1}


def test_of_a_git_checkout_the_docs_are_meant(tmp_path: Path) -> None:
    _write(tmp_path, ".git/config", "CHANGELOG.md", "docs/start.md", "docs/.git/x.md")
    assert documents_in(tmp_path).folder == tmp_path / "docs"
    assert _names(tmp_path) == ["start.md"]


def test_a_checkout_without_docs_is_a_folder_like_any_other(tmp_path: Path) -> None:
    _write(tmp_path, ".git/config", "README.md")
    assert _names(tmp_path) == ["README.md"]


def test_links_that_lead_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    _write(tmp_path, "outside/secret.md", "given/a.md")
    (tmp_path / "given" / "out.md").symlink_to(tmp_path / "outside" / "secret.md")
    (tmp_path / "given" / "folder").symlink_to(tmp_path / "outside")
    (tmp_path / "given" / "inside.md").symlink_to(tmp_path / "given" / "a.md")
    (tmp_path / "given" / "nowhere.md").symlink_to(tmp_path / "gone.md")
    assert _names(tmp_path / "given") == ["a.md", "inside.md"]
    assert documents_in(tmp_path / "given").skipped == {"links that lead elsewhere": 2}


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        documents_in(tmp_path / "gone")
