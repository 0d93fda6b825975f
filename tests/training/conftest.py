"""What the tests of training start from."""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from tests.doubles.tiny_model import write_tiny_model


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model on disk; tests read it and never write to it."""
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny-llama")


@pytest.fixture(scope="session")
def processes() -> ForkServerContext:
    """What starts processes: each is forked from one that has imported what trains, and done nothing yet."""
    context = multiprocessing.get_context("forkserver")
    what_trains = ("run.retrain", "fit.sft", "fit.preference_training", "examination.evaluation")
    context.set_forkserver_preload([f"training.{name}" for name in what_trains])
    return context
