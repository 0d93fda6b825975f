"""The checkpoints in a run's folder, as transformers' Trainer writes them: the newest one that is whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

SFT: Final = "checkpoints"
PREFERENCE: Final = "preference-checkpoints"
"""Where each training keeps its own in the run's folder."""
STATE: Final = "trainer_state.json"
"""The last file of a checkpoint to be written."""


def newest(folder: Path) -> Path | None:
    """The newest checkpoint in `folder` that was written to its end."""
    written = sorted((path.parent for path in folder.glob(f"checkpoint-*/{STATE}")), key=step)
    whole = [checkpoint for checkpoint in written if _is_json(checkpoint / STATE)]
    return whole[-1] if whole else None


def step(checkpoint: Path) -> int:
    """The optimiser step that a checkpoint was written after."""
    return int(checkpoint.name.rpartition("-")[2])


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except ValueError:
        return False
    return True
