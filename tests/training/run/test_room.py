"""A run that might fill the disk does not begin."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from training.errors import DiskTooFull
from training.run import room


def test_a_run_is_refused_where_the_adapters_that_there_are_leave_it_too_little_room(tmp_path: Path) -> None:
    shelf = tmp_path / "adapters" / "community" / "1"
    shelf.mkdir(parents=True)
    with (shelf / "adapter_model.safetensors").open("wb") as weights:
        weights.truncate(shutil.disk_usage(tmp_path).free)  # a hole takes no room itself
    with pytest.raises(DiskTooFull, match="adapter prune") as refused:
        room.require_room(tmp_path)
    assert refused.value.needed > refused.value.free


def test_with_room_it_begins(tmp_path: Path) -> None:
    room.require_room(tmp_path)
