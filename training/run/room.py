"""Whether a run has room on the disk, asked before it begins: a full disk would stop the record, too."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from training.adapters import registry
from training.errors import DiskTooFull

RECORD_BYTES: Final = 500_000_000
"""What stays free for the record, logs and answers whatever a run writes."""
COPIES: Final = 7
"""An adapter's size is written so often in a run: two checkpoints are kept, each with the optimiser's two
moments, and the adapter itself."""
UNKNOWN_BYTES: Final = 100_000_000
"""The size of an adapter where none has been trained yet; a small model's at rank 16 has less."""


def require_room(data: Path) -> None:
    """Raise DiskTooFull when a run might leave too little for the record."""
    needed = RECORD_BYTES + COPIES * _adapter_bytes(data)
    free = shutil.disk_usage(data).free
    if free < needed:
        raise DiskTooFull(free, needed)


def _adapter_bytes(data: Path) -> int:
    """The size of the largest adapter that is kept here."""
    weights = (data / registry.ADAPTERS).glob(f"*/*/{registry.WEIGHTS}")
    return max((file.stat().st_size for file in weights), default=UNKNOWN_BYTES)
