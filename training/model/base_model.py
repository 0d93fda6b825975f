"""The choice of a base model, and the model in memory.

Leaves to others: where its files come from (`locating`), and which device and precision this machine has
(`devices`). Weights are safetensors only.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.errors import ModelError
from training.model import devices, locating
from training.model.libraries import loading_explained, quiet
from training.settings import Quantisation, Thinking


@dataclass(frozen=True)
class ModelChoice:
    """Which base model is used, and on what: as the settings say it, nothing looked up yet.

    `name` is the packaged default, a folder or a name on the hub; `device` and `precision` may be "auto".
    `repetition_penalty` is what serving answers with: an examination answers with the same.
    `thinking` is what the chat template is told of reasoning; "template" tells it nothing.
    """

    name: str
    models_folder: Path
    revision: str = "main"
    device: str = "auto"
    precision: str = "auto"
    repetition_penalty: float = 1.0
    thinking: Thinking = "template"

    @property
    def display_name(self) -> str:
        """What adapters call the model; nothing is prepared for it."""
        return locating.display_name(self.name)

    def prepare(self) -> Path:
        """The folder with the model's files, converted or fetched first if need be. Raises ModelError."""
        return locating.prepare(self.name, self.models_folder, revision=self.revision)

    def present(self) -> Path | None:
        """The folder that `prepare` would give, if it is whole on disk now. Raises ModelError."""
        return locating.present(self.name, self.models_folder, revision=self.revision)

    def present_revision(self) -> str:
        """The revision that `load` would find on this machine, "" when it would have to fetch or convert.

        The files of a model's own folder are hashed for it, as `load` does.
        """
        return locating.present_revision(self.name, self.models_folder, revision=self.revision)

    def known(self) -> Known:
        """What `load` would find the model to be. Nothing is loaded. Raises ModelError."""
        name, revision = locating.name_and_revision(self.name, self.prepare())
        precision = devices.usable_precision(self.precision, devices.usable_device(self.device))
        return Known(name, revision, precision)

    def tokenizer(self, folder: Path) -> Any:
        """The tokenizer in the prepared `folder`, with its chat template set up. Raises ModelError."""
        from transformers import AutoTokenizer

        from training.model.chat_format import set_thinking

        with loading_explained(folder), quiet():
            tokenizer = AutoTokenizer.from_pretrained(
                folder, config=_config_for_tokenizer(folder), local_files_only=True
            )
        if not tokenizer.chat_template:
            raise ModelError(
                f"The model {self.name} has no chat template, so it cannot hold a conversation.",
                "Choose its chat or instruct variant.",
            )
        set_thinking(tokenizer, self.thinking)
        with loading_explained(folder):
            tokenizer.apply_chat_template([{"role": "user", "content": "?"}], tokenize=False)
        if tokenizer.eos_token is None:
            raise ModelError(
                f"The tokenizer of {self.name} names no end-of-turn token.", "Choose another model."
            )
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        return tokenizer

    def load(self, quantisation: Quantisation = "none") -> BaseModel:
        """Load the model for training and answering.

        Raises ModelError when it cannot be found or read, or does not fit into memory.
        Precision "auto" is bf16 where the hardware computes in it, else fp32. Quantisation is by
        bitsandbytes, on accelerators and CPUs alike: "8bit", or "4bit" (NF4 with double quantisation,
        Dettmers et al. 2023).
        """
        import torch
        from transformers import AutoModelForCausalLM

        device = devices.usable_device(self.device)
        precision = devices.usable_precision(self.precision, device)
        if device == "cuda":
            # cuDNN plans its attention for every length, and here hardly two rows or steps have the same
            torch.backends.cuda.enable_cudnn_sdp(False)
        folder = self.prepare()
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[precision]
        options: dict[str, Any] = {"dtype": dtype, "attn_implementation": "sdpa", "use_safetensors": True}
        if quantisation != "none":
            options["quantization_config"] = _bitsandbytes(quantisation, dtype)
            # of several processes that train together each has a device of its own
            options["device_map"] = {"": torch.cuda.current_device() if device == "cuda" else device}
        tokenizer = self.tokenizer(folder)
        with loading_explained(folder), quiet():
            model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, **options)
            if quantisation == "none":
                model = model.to(device)
        model.requires_grad_(False)
        model.eval()
        name, revision = locating.name_and_revision(self.name, folder)
        return BaseModel(model, tokenizer, name, revision, device, precision, quantisation)


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


def _config_for_tokenizer(folder: Path) -> Any:
    """The model's configuration as far as a tokenizer of transformers' own format asks for it; else None.

    A model's own kind of configuration (Llama's, say) brings torch's compiler along: 70 MiB and a second.
    """
    from transformers import PreTrainedConfig

    with suppress(OSError, ValueError):
        about = json.loads((folder / "tokenizer_config.json").read_bytes())
        if about.get("tokenizer_class") == "TokenizersBackend" and "auto_map" not in about:
            return PreTrainedConfig.from_dict(json.loads((folder / "config.json").read_bytes()))
    return None


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
