"""The columns that rows of pairs may have, and how people write their names."""

from __future__ import annotations

from typing import Final

from training.data.pairs import COLUMNS

HISTORY: Final = "history"
SYSTEM: Final = "system"
KNOWN: Final = frozenset({*COLUMNS, HISTORY, SYSTEM})
"""What a row may say: a pair's own fields, and Alpaca's earlier turns and system text."""


def canonical(name: str) -> str:
    """The column that a name means, whatever its case and spacing; another name as it is."""
    plain = name.strip().casefold().replace(" ", "_").replace("-", "_")
    return plain if plain in KNOWN else name.strip()
