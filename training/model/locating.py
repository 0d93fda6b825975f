"""Where a base model's files are: the packaged default, a folder, or the hub's cache.

What is missing is converted or fetched once. A model's revision is the hub's commit, or the SHA-256 over its
files, so that an adapter knows exactly what it was trained on.
"""

from __future__ import annotations

import errno
import hashlib
import json
from pathlib import Path
from typing import Final

from training.errors import ModelError
from training.files import MANIFEST, faults_explained, sha256
from training.model import packaged
from training.model.libraries import quiet
from training.model.names import ALLOWED_NAMES, DEFAULT_MODEL, is_hub_name

HUB_SECONDS: Final = 10
"""How long the hub may take to say whether it has a model."""

_OF_THE_DISK: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
_NEEDED = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt"]


def prepare(name: str, models_folder: Path, *, revision: str = "main") -> Path:
    """The folder with the model's files; the default model is converted, a hub model fetched, once.

    Two processes at once do it once. Raises ModelError.
    """
    if name == DEFAULT_MODEL:
        return packaged.converted(models_folder)
    folder = _folder(name)
    if folder is not None:
        missing = _missing(folder)
        if missing is not None:
            raise ModelError(f"The folder {folder} holds no model: {missing} is missing.", ALLOWED_NAMES)
        return folder
    if is_hub_name(name):
        return _fetched(name, revision)
    raise ModelError(f"There is no model {name[:200]!r}.", ALLOWED_NAMES)


def present(name: str, models_folder: Path, *, revision: str = "main") -> Path | None:
    """The folder that `prepare` would give if it is whole on disk now; None when `prepare` has work to do.

    Converts and fetches nothing. Raises ModelError when there is no such model, or nothing to convert from.
    """
    if name == DEFAULT_MODEL:
        return packaged.present(models_folder)
    if _folder(name) is None and is_hub_name(name):
        return _cached(name, revision)
    return prepare(name, models_folder, revision=revision)


def name_and_revision(name: str, folder: Path) -> tuple[str, str]:
    """What adapters know the model in the prepared `folder` by: its name and its exact revision."""
    return display_name(name), _revision(folder, by_manifest=name == DEFAULT_MODEL)


def display_name(name: str) -> str:
    """What adapters call the model of that name: a folder's own name, or the name itself."""
    folder = None if name == DEFAULT_MODEL else _folder(name)
    return name if folder is None else folder.resolve().name


def present_revision(name: str, models_folder: Path, *, revision: str = "main") -> str:
    """The revision that `load` would find on this machine, "" when it would have to fetch or convert.

    The files of a model's own folder are hashed for it, as `load` does.
    """
    if name == DEFAULT_MODEL:
        place = models_folder / DEFAULT_MODEL
        return _revision(place, by_manifest=True) if (place / MANIFEST).is_file() else ""
    folder = _folder(name)
    if folder is None and is_hub_name(name):
        folder = _cached(name, revision)
    return _revision(folder, by_manifest=False) if folder is not None else ""


def _folder(name: str) -> Path | None:
    """The folder that `name` is the path of, if it is one."""
    try:
        folder = Path(name).expanduser()
        return folder if name and folder.is_dir() else None
    except (OSError, RuntimeError):  # longer than any path, or in the home of nobody
        return None


def _missing(folder: Path) -> str | None:
    """What a model's folder lacks, such as a part of its weights that was never fetched; None: nothing."""
    parts: list[str] = []
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            parts = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError):
            return f"a readable {index.name}"
    for needed in ("config.json", "tokenizer_config.json", *parts):
        if not (folder / needed).is_file():
            return needed
    return None if any(folder.glob("*.safetensors")) else "*.safetensors"


def _revision(folder: Path, *, by_manifest: bool) -> str:
    """The commit or hash that `folder` is known by; `by_manifest` where that has just been verified."""
    if folder.parent.name == "snapshots":  # the hub's cache: snapshots/<commit>
        return folder.name
    if by_manifest:
        files = json.loads((folder / MANIFEST).read_bytes())["files"]
        hashes = {name: entry["sha256"] for name, entry in files.items()}
    else:
        hashes = {path.name: sha256(path) for pattern in _NEEDED for path in folder.glob(pattern)}
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()


def _cached(name: str, revision: str) -> Path | None:
    """A hub model's snapshot folder, if it was fetched whole before."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        cached = Path(
            snapshot_download(name, revision=revision, allow_patterns=_NEEDED, local_files_only=True)
        )
    except (LocalEntryNotFoundError, OSError):
        return None
    return cached if _missing(cached) is None else None


def _fetched(name: str, revision: str) -> Path:
    """A hub model's snapshot folder. The hub is asked once, quickly, before anything is fetched."""
    from huggingface_hub import HfApi, constants, snapshot_download

    cached = _cached(name, revision)
    if cached is not None:
        return cached
    try:
        HfApi().model_info(name, revision=revision, timeout=HUB_SECONDS)
        with quiet():
            folder = Path(snapshot_download(name, revision=revision, allow_patterns=_NEEDED))
    except Exception as error:  # the hub's client passes on errors of its HTTP library of the day
        if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
            with faults_explained("Fetching the model to", Path(constants.HF_HUB_CACHE), ModelError):
                raise
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (401, 403, 404):
            raise ModelError(
                f"The hub has no model {name!r} at revision {revision!r}, or not for everybody.",
                f"Check the name, or log in with `hf auth login`. {ALLOWED_NAMES}",
            ) from error
        raise ModelError(
            f"The model {name!r} is not on this machine, and the hub cannot be reached.",
            f"Connect to the hub, or use a model that is here already. {ALLOWED_NAMES}",
        ) from error
    missing = _missing(folder)
    if missing is not None:
        raise ModelError(
            f"The hub's model {name} cannot be used here: {missing} is missing.",
            "Choose a chat model with safetensors weights.",
        )
    return folder
