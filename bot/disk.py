"""Whether the disk of the data folder has room: for the record, and for the next training."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from bot.health import Component

DISK: Final = "disk"
"""The component of the service's health that the disk is."""
SCARCE_BYTES: Final = 2_000_000_000
"""Free disk below which the next conversion or training run may not fit: model, checkpoints, dataset."""
TOO_LITTLE_BYTES: Final = 200_000_000
"""Free disk below which even the record may soon not be written."""


def look(data: Path) -> Component:
    """How much is free where the data folder lies, or would: "degraded" when scarce, "down" when too little.

    A network drive may take a moment.
    """
    free = free_bytes(data)
    told = f"{free / 1e9:.1f} GB are free on the disk of the data folder"
    if free < TOO_LITTLE_BYTES:
        return Component(DISK, "down", f"{told}: soon nothing can be written.")
    if free < SCARCE_BYTES:
        return Component(DISK, "degraded", f"{told}: the next training may not fit.")
    return Component(DISK, "ok")


def free_bytes(folder: Path) -> int:
    """Bytes that may still be written in `folder`, or where it would be made."""
    place = next(place for place in (folder, *folder.absolute().parents) if os.path.isdir(place))
    return shutil.disk_usage(place).free
