"""Files and folders that are whole or not there: manifests tell damage, the leftovers of the dead go."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from training import files
from training.errors import AdapterError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with files of several kinds, one of them deeper and called as manifests are."""
    made = tmp_path / "made"
    (made / "deeper").mkdir(parents=True)
    (made / "weights").write_bytes(bytes(range(256)))
    (made / "empty").write_bytes(b"")
    (made / "deeper" / files.MANIFEST).write_text("a file like any other")
    return made


# --- the manifest ---


def test_a_folder_as_it_was_written_is_sound(folder: Path) -> None:
    content_hash = files.write_manifest(folder, about="a test")
    assert files.damage(folder, content_hash) is None
    assert files.damage(folder) is None


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (
            lambda f: (f / "weights").write_bytes(b"\xff" + bytes(range(1, 256))),
            "the file weights is corrupt",
        ),
        (lambda f: (f / "weights").write_bytes(bytes(range(255))), "the file weights is corrupt"),
        (lambda f: (f / "weights").unlink(), "the file weights is missing"),
        (lambda f: (f / "empty").unlink(), "the file empty is missing"),
        (
            lambda f: (f / "deeper" / files.MANIFEST).write_text("x"),
            "the file deeper/manifest.json is corrupt",
        ),
        (lambda f: (f / files.MANIFEST).unlink(), "manifest.json is missing"),
        (lambda f: (f / files.MANIFEST).write_text("{"), "manifest.json is corrupt"),
        (lambda f: (f / files.MANIFEST).write_text("[]"), "manifest.json is corrupt"),
        (lambda f: (f / files.MANIFEST).write_text('{"files": {"weights": 1}}'), "manifest.json is corrupt"),
        (lambda f: (f / files.MANIFEST).write_bytes(b"\xff"), "manifest.json is corrupt"),
        (lambda f: f.rename(f.with_name("elsewhere")), "the folder is missing"),
    ],
)
def test_damage_is_told_with_the_file_it_befell(
    harm: Callable[[Path], object], told: str, folder: Path
) -> None:
    files.write_manifest(folder)
    harm(folder)
    assert (files.damage(folder) or "").startswith(told)


def test_a_manifest_that_was_made_to_fit_is_not_the_registered_one(folder: Path) -> None:
    registered = files.write_manifest(folder)
    (folder / "weights").write_bytes(b"other weights")
    files.write_manifest(folder)
    assert files.damage(folder) is None
    assert files.damage(folder, registered) == "manifest.json is not the one that was registered"


def test_the_content_hash_depends_on_the_contents_alone(tmp_path: Path) -> None:
    hashes = []
    for name, order in (("one", ["a", "b"]), ("two", ["b", "a"])):
        (tmp_path / name).mkdir()
        for file in order:
            (tmp_path / name / file).write_text(f"contents of {file}")
        about = {key: key for key in order}
        hashes.append(files.write_manifest(tmp_path / name, **about))
    assert hashes[0] == hashes[1]


# --- written beside, then renamed ---


def test_a_fault_leaves_nothing_of_a_part_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="stop"), files.part_folder(tmp_path / "shelf" / "1") as part:
        (part / "weights").write_text("half")
        raise ValueError("stop")
    assert list((tmp_path / "shelf").iterdir()) == []


def test_a_finished_folder_takes_the_place_of_the_former_one(folder: Path) -> None:
    with files.part_folder(folder) as part:
        (part / "new").write_text("whole")
        files.replace_folder(part, folder)
    assert [path.name for path in folder.iterdir()] == ["new"]
    assert list(folder.parent.iterdir()) == [folder]


def test_a_writer_that_is_killed_leaves_the_place_as_it_was_and_is_swept_up_after(folder: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom training import files\n"
        "with files.part_folder(Path(sys.argv[1])) as part:\n"
        "    (part / 'weights').write_text('half')\n    print('writing', flush=True)\n    sys.stdin.read()\n"
    )
    content_hash = files.write_manifest(folder)
    writer = subprocess.Popen(
        [sys.executable, "-c", script, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with writer:
        assert writer.stdout is not None and writer.stdout.readline() == "writing\n"
        assert files.sweep(folder.parent) == []  # it lives
        writer.kill()
        writer.wait()
    assert files.damage(folder, content_hash) is None
    (left,) = set(folder.parent.iterdir()) - {folder}
    assert files.sweep(folder.parent) == [left]
    assert list(folder.parent.iterdir()) == [folder]


def test_sweeping_takes_the_leftovers_of_dead_processes_and_nothing_else(tmp_path: Path) -> None:
    dead = _dead_process()
    left = [tmp_path / f".3.{dead}-0a1b.part", tmp_path / "deep" / f".pairs.jsonl.{dead}-ff.part"]
    kept = [
        tmp_path / f".3.{os.getpid()}-0a1b.part",
        tmp_path / f"3.{dead}-0a1b.part",
        tmp_path / f".3.{dead}-0a1b.part.txt",
        tmp_path / ".notes.part",
        tmp_path / "deep" / "weights",
    ]
    (left[0] / "inside").mkdir(parents=True)
    (left[0] / "inside" / "weights").write_text("half")
    (tmp_path / "deep").mkdir()
    left[1].write_text("half")
    for path in kept:
        path.write_text("of somebody")
    assert files.sweep(tmp_path) == sorted(left)
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in kept)
    assert files.sweep(tmp_path / "absent") == []


# --- faults of the operating system ---


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "The disk is full: free some space"),
        (errno.EDQUOT, "quota is used up"),
        (errno.EROFS, "read-only file system: choose another data folder"),
        (errno.EACCES, "Grant reading and writing"),
        (errno.ENOENT, "Check that the path is right"),
        (errno.EIO, "Check the disk and the path"),
    ],
)
def test_a_fault_of_the_system_says_what_to_do(number: int, remedy: str, tmp_path: Path) -> None:
    with (
        pytest.raises(AdapterError) as caught,
        files.faults_explained("Writing the adapter to", tmp_path, AdapterError),
    ):
        raise OSError(number, os.strerror(number))
    assert caught.value.problem == f"Writing the adapter to {tmp_path} failed ({os.strerror(number)})."
    assert remedy in caught.value.remedy


def test_what_is_explained_already_passes_as_it_is(tmp_path: Path) -> None:
    with (
        pytest.raises(AdapterError, match="inner"),
        files.faults_explained("Writing", tmp_path, AdapterError),
    ):
        raise AdapterError("inner")


def _dead_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid
