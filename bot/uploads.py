"""Files that people hand over to be imported: on this machine only until they are in or discarded.

They hold what members said to one another, so what nobody imports is deleted after a week.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Final

KEPT: Final = timedelta(days=7)
"""How long an upload waits for whoever handed it over."""
FOLDER: Final = "uploads"
_LONGEST_NAME: Final = 120

Upload = tuple[str, Callable[[Path], Awaitable[None]]]
"""The name of a file, and what saves it at a path."""


class Uploads:
    """The uploads in the data folder `data`. Each has a folder of its own, which only this user may read."""

    def __init__(self, data: Path) -> None:
        self._folder = data / FOLDER

    async def keep(self, files: Sequence[Upload]) -> Path:
        """Keep the files of one upload; the path to import: the file, of several the folder they are in."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        place = self._folder / secrets.token_hex(8)
        place.mkdir(mode=0o700)
        names = [_safe(name) for name, _ in files]
        path = place / names[0]
        if len(files) > 1:
            path = place / f"{PurePosixPath(names[0]).stem} +{len(files) - 1}"
            path.mkdir()
        for number, (name, (_, save)) in enumerate(zip(names, files, strict=True)):
            if len(files) == 1:
                await save(path)
            else:
                await save(path / (name if names.index(name) == number else f"{number}-{name}"))
        return path

    def waiting(self) -> list[Path]:
        """The paths to import, the newest first."""
        if not self._folder.is_dir():
            return []
        places = sorted(self._folder.iterdir(), key=lambda place: -place.stat().st_mtime)
        return [path for place in places for path in sorted(place.iterdir())[:1]]

    def discard(self, path: Path) -> None:
        """Delete an upload, by the path that `keep` gave."""
        shutil.rmtree(path.parent, ignore_errors=True)

    def delete_old(self, now_s: float) -> int:
        """Delete what has waited for longer than KEPT; how many uploads. `now_s` is seconds since 1970."""
        old = [path for path in self.waiting() if now_s - path.parent.stat().st_mtime > KEPT.total_seconds()]
        for path in old:
            self.discard(path)
        return len(old)


def _safe(name: str) -> str:
    """A name without folders, never empty nor hidden: hidden files of a folder are not imported."""
    bare = PurePosixPath(name.replace("\\", "/")).name.lstrip(".")
    return bare[-_LONGEST_NAME:] or "upload"
