"""Files and folders that are either whole or not there: written beside their place, hashed, then renamed.

A folder's `manifest.json` names every file in it with size and SHA-256; the SHA-256 of the manifest itself is
the folder's content hash. What is being written is called `.<name>.<pid>-<random>.part` beside its place, so
that `sweep` can tell the leftovers of a dead process from the work of a living one.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psutil

from feedback.errors import ThumbloopError

MANIFEST: Final = "manifest.json"

_PART = re.compile(r"\..+\.(?P<pid>\d+)-[0-9a-f]+\.part")


def canonical_json(value: Any) -> bytes:
    """`value` as JSON whose bytes depend on nothing but `value`."""
    return (json.dumps(value, ensure_ascii=False, sort_keys=True, indent=1) + "\n").encode()


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def faults_explained(doing: str, path: Path, error: type[ThumbloopError]) -> Iterator[None]:
    """Turn an operating-system error inside the block into a sentence about `path`."""
    try:
        yield
    except OSError as fault:
        remedy = {
            errno.ENOSPC: "The disk is full: free some space, then try again.",
            errno.EDQUOT: "The disk quota is used up: free some space, then try again.",
            errno.EFBIG: "Files may not grow that large here: raise the limit (ulimit -f), then try again.",
            errno.EROFS: "It lies on a read-only file system: choose another data folder.",
            errno.EACCES: "Grant reading and writing there to the user that runs Thumbloop.",
            errno.EPERM: "Grant reading and writing there to the user that runs Thumbloop.",
            errno.ENOENT: "Check that the path is right.",
        }.get(fault.errno or 0, "Check the disk and the path, then try again.")
        raise error(f"{doing} {path} failed ({fault.strerror or fault}).", remedy) from fault


def part_of(place: Path) -> Path:
    """A new name beside `place`, for what is written before it is renamed there."""
    return place.with_name(f".{place.name}.{os.getpid()}-{secrets.token_hex(4)}.part")


def is_part(name: str) -> bool:
    """Whether that is the name of something half-written."""
    return _PART.fullmatch(name) is not None


@contextmanager
def part_folder(place: Path) -> Iterator[Path]:
    """A new folder beside `place`; what the block has not renamed away is removed."""
    part = part_of(place)
    part.mkdir(parents=True)
    try:
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)


def replace_folder(part: Path, place: Path) -> None:
    """Rename a finished folder to `place`; what lies there is removed first."""
    if place.exists():
        shutil.rmtree(place)
    part.rename(place)


def discard(place: Path) -> bool:
    """Delete a folder at one stroke: renamed away, then deleted; whether there was one.

    Killed in between, what is left is `sweep`'s. Two processes at once delete it once.
    """
    part = part_of(place)
    try:
        place.rename(part)
    except FileNotFoundError:
        return False
    shutil.rmtree(part)
    return True


def sweep(folder: Path, *, spare: Callable[[Path], bool] = lambda left: False) -> list[Path]:
    """Remove what dead processes left half-written anywhere in `folder`, but for what `spare`s; the paths."""
    # os.walk passes over what a living process renames or removes meanwhile
    inside = (Path(at, name) for at, folders, names in os.walk(folder) for name in (*folders, *names))
    return _remove([part for part in _left(inside) if not spare(part)])


def sweep_beside(place: Path) -> list[Path]:
    """Remove what dead processes left half-written in the folder of `place`, not below it; the paths."""
    return _remove(_left(place.absolute().parent.iterdir()))


def _left(paths: Iterable[Path]) -> list[Path]:
    """Those of the files and folders that a dead process left half-written, in order."""
    parts = ((path, _PART.fullmatch(path.name)) for path in paths)
    return sorted(path for path, match in parts if match and not psutil.pid_exists(int(match["pid"])))


def _remove(parts: list[Path]) -> list[Path]:
    for part in parts:
        shutil.rmtree(part, ignore_errors=True) if part.is_dir() else part.unlink(missing_ok=True)
    return parts


def write_manifest(folder: Path, **about: Any) -> str:
    """Hash every file of `folder` into its manifest, beside what `about` adds; the content hash."""
    manifest = folder / MANIFEST
    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != manifest
    }
    manifest.write_bytes(canonical_json({**about, "files": files}))
    return sha256(manifest)


def damage(folder: Path, content_hash: str | None = None) -> str | None:
    """What is wrong with a folder and its manifest, naming the file; None when all is well."""
    manifest = folder / MANIFEST
    try:
        if content_hash is not None and sha256(manifest) != content_hash:
            return f"{MANIFEST} is not the one that was registered"
        files = json.loads(manifest.read_bytes())["files"]
        for name, expected in files.items():
            path = folder / name
            if not path.is_file():
                return f"the file {name} is missing"
            if path.stat().st_size != expected["bytes"] or sha256(path) != expected["sha256"]:
                return f"the file {name} is corrupt (its SHA-256 differs from the manifest's)"
    except FileNotFoundError:
        return f"{MANIFEST} is missing" if folder.is_dir() else "the folder is missing"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{MANIFEST} is corrupt"
    return None
