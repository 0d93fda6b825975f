"""`thumbloop` as a process of its own, with the real default model, in an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path, default_model_folder: Path) -> Iterator[Start]:
    """Start `thumbloop …` with these settings; what it started is gone after the test."""
    processes: list[subprocess.Popen[str]] = []

    def begin(*arguments: str, **settings: str) -> subprocess.Popen[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("THUMBLOOP_")}
        environment |= {
            "THUMBLOOP_DATA": str(tmp_path / "data"),
            "THUMBLOOP_MODEL": str(default_model_folder),
            "THUMBLOOP_DEVICE": "cpu",
            "PYTHONPATH": str(ROOT),
        }
        environment |= {f"THUMBLOOP_{name.upper()}": value for name, value in settings.items()}
        process = subprocess.Popen(
            [sys.executable, "-m", "bot", *arguments],
            text=True,
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        process.kill()
        process.communicate()
