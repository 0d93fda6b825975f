"""What the tests of training start from."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.doubles.tiny_model import write_tiny_model


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model on disk; tests read it and never write to it."""
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny-llama")
