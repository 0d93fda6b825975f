"""The model libraries kept quiet, and what they raise turned into sentences for people."""

from __future__ import annotations

import logging
import os
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from training.errors import ModelError
from training.model.names import ALLOWED_NAMES


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out; torch says so in a class of its own on CUDA and in words on the CPU."""
    if isinstance(error, MemoryError):
        return True
    return "out of memory" in str(error) or "can't allocate memory" in str(error)


@contextmanager
def loading_explained(path: Path) -> Iterator[None]:
    """Turn whatever keeps the model in `path` from being loaded into a ModelError."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        raise ModelError(
            f"The weights in {path} are corrupt: {_in_short(error)}", "Fetch or copy the model again."
        ) from error
    except Exception as error:  # tokenizers raises a plain Exception over a file that it cannot read
        if is_out_of_memory(error):
            raise ModelError(
                f"There is not enough memory to load the model from {path}.",
                "Choose a smaller model, or load it in 4 bits (THUMBLOOP_TRAINING__QUANTISATION=4bit).",
            ) from error
        raise ModelError(
            f"The model in {path} cannot be loaded: {_in_short(error)}", ALLOWED_NAMES
        ) from error


@contextmanager
def saving_explained(folder: Path) -> Iterator[None]:
    """Turn a full disk, as safetensors reports it, into a ModelError about the folder above `folder`."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:  # it reports a full disk in its own way
        raise ModelError(
            f"Writing the model to {folder.parent} failed: {_in_short(error)}",
            "Free some space or choose another data folder, then try again.",
        ) from error


def _in_short(error: Exception) -> str:
    text = f"{error} is missing" if isinstance(error, KeyError) else " ".join(str(error).split())
    return textwrap.shorten(text, 300, placeholder=" …").rstrip(".") + "."


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the libraries' progress bars and log lines, which would tear our own output apart."""
    from transformers.utils import logging as transformers_logging

    level, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    hub = os.environ.get("HF_HUB_DISABLE_PROGRESS_BARS")
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    quantiser = logging.getLogger("bitsandbytes")
    quantiser_level = quantiser.level
    quantiser.setLevel(logging.ERROR)  # it says at every layer of every step that it converts its input
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        quantiser.setLevel(quantiser_level)
        if bars:
            transformers_logging.enable_progress_bar()
        if hub is None:
            del os.environ["HF_HUB_DISABLE_PROGRESS_BARS"]
        else:
            os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = hub
