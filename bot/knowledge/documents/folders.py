"""Which files of a folder are documents, and what is left aside.

A folder holds more than documents, and source code is text as well, so names decide what is looked at; what
a file is, its content says afterwards. Hidden files and folders, `.git` among them, and links that lead out
of the folder are left aside. Of a git checkout the folder `docs` is meant, where it has one.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ENDINGS: Final = frozenset(
    (".md", ".markdown", ".mdx", ".rst", ".txt", ".html", ".htm", ".xhtml", ".pdf", ".docx", ".csv", ".tsv")
)
_NOT_OURS: Final = frozenset(("node_modules", "__pycache__", "venv"))


@dataclass(frozen=True)
class Listing:
    """The documents of `folder` by their paths; `skipped` counts other files by their endings."""

    folder: Path
    files: tuple[Path, ...]
    skipped: dict[str, int]


def documents_in(given: Path) -> Listing:
    """The documents in a folder and those below it. Raises OSError when the folder itself cannot be read."""
    folder = given / "docs" if (given / ".git").exists() and (given / "docs").is_dir() else given
    inside = folder.resolve(strict=True)
    os.scandir(inside).close()
    files: list[Path] = []
    skipped: Counter[str] = Counter()
    for parent, folders, names in os.walk(inside):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _NOT_OURS)
        for name in names:
            path = Path(parent, name)
            ending = path.suffix.lower()
            if name.startswith("."):
                skipped["hidden"] += 1
            elif ending not in ENDINGS:
                skipped[ending or "without ending"] += 1
            elif not path.is_file() or not path.resolve().is_relative_to(inside):
                skipped["links that lead elsewhere"] += 1
            else:
                files.append(path)
    return Listing(inside, tuple(sorted(files)), dict(sorted(skipped.items())))
