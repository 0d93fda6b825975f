"""Which kinds of files hold pairs, and how much of one is in memory at once."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from training.errors import PairsError

ENDINGS: Final = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
ROWS_AT_ONCE: Final = 1000
"""Rows of a Parquet file that are in memory at the same time."""
LONGEST_ROW: Final = 16 * 2**20
"""Bytes that one row of a text file may have: thousands of pages, and far less than would hurt."""


def too_long(path: Path, place: str) -> PairsError:
    """The error about a row beyond LONGEST_ROW."""
    return PairsError(
        f"{path}, {place}: this is longer than {LONGEST_ROW // 2**20} MiB, more than any pair has.",
        "Put one pair on each line, and leave out what is no pair.",
    )


def unknown_kind(path: Path) -> PairsError:
    """The error about a file whose ending says nothing."""
    found = f"ends in {path.suffix}" if path.suffix else "has no ending"
    return PairsError(f"{path} {found}, which is no kind of pairs file.", f"Use one of {', '.join(ENDINGS)}.")
