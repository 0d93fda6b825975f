"""Training tells nobody of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_the_hub_is_told_of_no_training() -> None:
    asked = "import training; from huggingface_hub.constants import HF_HUB_DISABLE_TELEMETRY as o; print(o)"
    environment = {name: value for name, value in os.environ.items() if "TELEMETRY" not in name}
    told = subprocess.run(
        [sys.executable, "-c", asked],
        cwd=Path(__file__).parents[3],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == "True"
