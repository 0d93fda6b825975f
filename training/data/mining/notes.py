"""What mining has found so far, on the disk, so that an import that was killed goes on where it was.

One line of JSON for each stretch of a talk. The lines hold what people said, names and all, since names are
masked when all of them are known: the file is for this user only, deleted when the import is in, when anybody
asks to be forgotten, and in any case after a week.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from training.data.mining.answers import Answer, Candidate, Phrasing

FOLDER: Final = "mining"
"""In the data folder."""
KEPT: Final = timedelta(days=7)
"""How long the notes of an import that nobody repeats are kept."""
_METHOD: Final = 4
"""Grows with every change of what is found, so that no import is half of one method and half of another."""


@dataclass
class Stretch:
    """What a stretch of a talk gave: counts, and the candidates among the best so far, in their order."""

    messages: int = 0
    threads: int = 0
    questions: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    candidates: list[Candidate] = field(default_factory=list)


class Notes:
    """The notes of one import, by the SHA-256 of what is imported."""

    def __init__(self, data: Path, file_hash: str) -> None:
        self._path = data / FOLDER / f"{file_hash}.jsonl"

    def read(self) -> Iterator[Stretch]:
        """The stretches that were noted whole; what a kill has torn, or another method wrote, is dropped."""
        if not self._path.exists():
            return
        messages = whole = 0
        with self._path.open("r+b") as file:
            for line in file:
                noted = json.loads(line) if line.endswith(b"\n") else {}
                if noted.pop("method", 0) != _METHOD:
                    break
                whole += len(line)
                # two processes that import the same file note the same stretches, each of them
                if noted.pop("before") == messages:
                    stretch = _stretch(noted)
                    messages += stretch.messages
                    yield stretch
            file.truncate(whole)

    def write(self, stretch: Stretch, before: int) -> None:
        """Note a stretch that came after `before` messages, so that it is on the disk when this returns."""
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        noted = {"method": _METHOD, "before": before, **asdict(stretch)}
        line = json.dumps(noted, ensure_ascii=False)
        with open(self._path, "ab", opener=_private) as file:
            file.write(line.encode(errors="replace") + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def delete(self) -> None:
        """Forget all of it."""
        self._path.unlink(missing_ok=True)


def delete_old(data: Path, now_s: float) -> None:
    """Delete notes that nobody added to for longer than KEPT. `now_s` is seconds since 1970."""
    for path in (data / FOLDER).glob("*.jsonl"):
        if now_s - path.stat().st_mtime > KEPT.total_seconds():
            path.unlink(missing_ok=True)


def delete_all(data: Path) -> None:
    """Delete the notes of every import: one that is resumed later starts over."""
    for path in (data / FOLDER).glob("*.jsonl"):
        path.unlink(missing_ok=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _stretch(noted: dict[str, Any]) -> Stretch:
    return Stretch(**{**noted, "candidates": [_candidate(one) for one in noted["candidates"]]})


def _candidate(noted: dict[str, Any]) -> Candidate:
    answers = [
        Answer(**{**one, "reasons": tuple((reason, count) for reason, count in one["reasons"])})
        for one in noted["answers"]
    ]
    return Candidate(
        **{
            **noted,
            "answers": answers,
            "voices": tuple(noted["voices"]),
            "phrasings": [Phrasing(**one) for one in noted["phrasings"]],
            "messages": tuple((talk, message) for talk, message in noted["messages"]),
        }
    )
