"""Uploaded files wait in the data folder under harmless names, and not for ever."""

from __future__ import annotations

from pathlib import Path

from bot.uploads import KEPT, Uploads


def saying(text: str) -> object:
    async def save(path: Path) -> None:
        path.write_text(text)

    return save


async def test_a_name_never_leads_out_of_the_folder(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path)
    path = await uploads.keep([("../../.evil", saying("x"))])  # type: ignore[list-item]
    assert path.name == "evil" and path.read_text() == "x"
    assert path.parent.parent.parent == tmp_path
    assert path.parent.stat().st_mode & 0o077 == 0


async def test_several_files_of_one_name_are_all_kept(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path)
    path = await uploads.keep([("a.json", saying("1")), ("a.json", saying("2"))])  # type: ignore[list-item]
    assert sorted(one.read_text() for one in path.iterdir()) == ["1", "2"]


async def test_what_nobody_imports_is_deleted_after_a_week(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path)
    path = await uploads.keep([("a.json", saying("1"))])  # type: ignore[list-item]
    moment = path.parent.stat().st_mtime
    assert uploads.delete_old(moment + KEPT.total_seconds() - 1) == 0
    assert uploads.delete_old(moment + KEPT.total_seconds() + 1) == 1
    assert uploads.waiting() == []
