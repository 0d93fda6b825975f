"""What a run's process may take of the machine, seen from another process that steps back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from training.run import background
from training.settings import TrainingSettings

STEPS_BACK = """
import json, os, resource, sys
from training.run import background
from training.settings import TrainingSettings
background.step_back(TrainingSettings(**json.loads(sys.argv[1])))
import torch
seen = {"nice": os.nice(0), "threads": torch.get_num_threads(),
        "memory": resource.getrlimit(resource.RLIMIT_DATA)[0]}
for name in ("oom_score_adj", "autogroup"):
    try:
        seen[name] = open(f"/proc/self/{name}").read().strip()
    except OSError:
        seen[name] = None
try:
    torch.ones(3 * 2**28)
    seen["allocated"] = True
except RuntimeError:
    seen["allocated"] = False
print(json.dumps(seen))
"""


def stepped_back(**settings: Any) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", STEPS_BACK, json.dumps(settings)],
        cwd=Path(__file__).parents[3],
        start_new_session=True,
        capture_output=True,
        check=True,
    )
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


def test_a_run_is_niced_in_its_session_too_and_goes_first_when_memory_runs_out() -> None:
    seen = stepped_back(niceness=7)
    assert seen["nice"] == min(19, os.nice(0) + 7)
    assert seen["oom_score_adj"] in (None, str(background.GOES_FIRST))
    assert seen["autogroup"] is None or seen["autogroup"].endswith("nice 7")


def test_a_run_keeps_to_its_threads_and_its_memory() -> None:
    seen = stepped_back(threads=1, memory_gib=2)
    assert seen["threads"] == 1
    assert seen["memory"] == 2 * 2**30
    assert not seen["allocated"]


def test_less_memory_than_torch_itself_takes_is_refused() -> None:
    with pytest.raises(ValueError, match="torch alone takes more"):
        TrainingSettings(memory_gib=0.5)
