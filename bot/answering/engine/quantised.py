"""A Llama-like model's weights in 8 or 4 bits, as the compiled step reads them, and their file on disk.

Symmetric, rounded to nearest, one 16-bit scale for 32 inputs of an output. All linear layers are
quantised, and so is an embedding that is tied to the output layer; normalisations and biases stay
in 32 bits, an embedding of its own in bf16. Made once from the model's own files, kept beside them
(hashed, whole or not at all), and read back without them.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import torch
from filelock import FileLock
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import GenerationConfig, PreTrainedConfig

from bot.answering.engine.native import BLOCK, GROUP
from training.errors import ModelError
from training.files import (
    MANIFEST,
    damage,
    faults_explained,
    part_folder,
    replace_folder,
    sweep,
    write_manifest,
)
from training.model.base_model import ModelChoice
from training.model.libraries import loading_explained, quiet

Bits = Literal[8, 4]

_FORMAT: Final = 3
_PROBE_TOKENS: Final = 12
_FILE: Final = "quantised.safetensors"
MODULES: Final = (
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class QuantisedLinear:
    """`weights` and `scales` packed in blocks of outputs (see `step.c`); `bias` (whole blocks) or None."""

    inputs: int
    outputs: int
    bits: Bits
    weights: Tensor
    scales: Tensor
    bias: Tensor | None = None

    def dequantised(self) -> Tensor:
        """The weights that products with it compute with, (O, I) in fp32."""
        if self.bits == 8:
            values = self.weights.permute(0, 2, 1, 3).float()  # (blocks, BLOCK, pairs, 2)
        else:
            nibbles = torch.stack((self.weights & 15, self.weights >> 4), -1)  # (blocks, O, BLOCK, 2, 2, 2)
            values = nibbles.flatten(4).permute(0, 2, 1, 4, 3).float() - 8  # (blocks, BLOCK, O, 4, 2)
        values = values.reshape(-1, self.scales.shape[1], GROUP)  # (outputs, groups, GROUP)
        values *= self.scales.transpose(1, 2).reshape(-1, self.scales.shape[1], 1).float()
        return values.flatten(1)[: self.outputs, : self.inputs].contiguous()


def quantise(weight: Tensor, bias: Tensor | None, bits: Bits) -> QuantisedLinear:
    """Quantise a linear layer's `weight` (O, I)."""
    outputs, inputs = weight.shape
    blocks = -(-outputs // BLOCK)
    padded = weight.new_zeros(blocks * BLOCK, inputs, dtype=torch.float32)
    padded[:outputs] = weight.detach()
    groups = -(-inputs // GROUP)
    grouped = nn.functional.pad(padded, (0, groups * GROUP - inputs)).view(-1, groups, GROUP)
    if bits == 8:
        halves = (grouped.abs().amax(2) / 127).half()  # (O, groups)
    else:
        # a group's largest value becomes -8, whichever its sign, so that all 16 steps serve
        at = grouped.abs().argmax(2, keepdim=True)
        halves = (grouped.gather(2, at).squeeze(2) / -8).half()  # (O, groups)
    safe = torch.where(halves == 0, torch.ones_like(halves), halves).float()
    least, most = (-127, 127) if bits == 8 else (-8, 7)
    steps = (grouped / safe[..., None]).round_().clamp_(least, most)
    if bits == 8:
        pairs = steps.to(torch.int8).view(blocks, BLOCK, -1, 2)
        packed = pairs.transpose(1, 2).contiguous()  # (blocks, pairs, BLOCK, 2)
    else:
        # an octet of inputs: nibble i of two 16-bit words has inputs 2i and 2i + 1
        nibbles = (steps + 8).to(torch.uint8).view(blocks, BLOCK, -1, 4, 2)
        nibbles = nibbles.permute(0, 2, 1, 4, 3)  # (blocks, octets, BLOCK, 2, 4)
        packed = (nibbles[..., ::2] | nibbles[..., 1::2] << 4).contiguous()
    scales = halves.view(blocks, BLOCK, groups).transpose(1, 2).contiguous()  # (blocks, groups, BLOCK)
    whole = None
    if bias is not None:
        whole = bias.new_zeros(blocks * BLOCK, dtype=torch.float32)
        whole[:outputs] = bias.detach()
    return QuantisedLinear(inputs, outputs, bits, packed, scales, whole)


@dataclass(frozen=True)
class Rotary:
    """Rotary embeddings of fixed `frequencies` (D / 2,), cosines and sines times `scale`."""

    frequencies: Tensor
    scale: float

    def __call__(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines (T, D) of `positions` (T,)."""
        angles = positions.float()[:, None] * self.frequencies  # (T, D / 2)
        angles = torch.cat((angles, angles), -1)
        return angles.cos() * self.scale, angles.sin() * self.scale


@dataclass
class QuantisedModel:
    """A model for the compiled step.

    `config` is the transformers configuration; `names` are the linear layers' module paths, seven a block
    (queries, keys, values, output, gate, up, down) and the output layer last, and `linears` are theirs.
    `norms` are four a block (queries' and keys' may be None) and the final one. `embedding` (V, C) is bf16,
    or None where it is the output layer. `expected` are the logits (V,) that the model's own forward has
    after `probe_tokens` with the dequantised weights.
    """

    config: Any
    bits: Bits
    names: list[str]
    linears: list[QuantisedLinear]
    norms: list[Tensor | None]
    embedding: Tensor | None
    rotary: Rotary
    attention_scale: float
    expected: Tensor
    generation_config: Any


def probe_tokens(vocabulary: int) -> list[int]:
    """Tokens that a forward pass is checked with."""
    return [(1 + 7919 * i) % vocabulary for i in range(_PROBE_TOKENS)]


def _blocks_and_head(model: Any) -> tuple[list[Any], Any]:
    return list(model.get_decoder().layers), model.get_output_embeddings()


def _modules(model: Any) -> Iterator[nn.Linear]:
    blocks, head = _blocks_and_head(model)
    for block in blocks:
        for path in MODULES:
            yield block.get_submodule(path)
    yield head


@torch.inference_mode()
def quantised(model: Any, bits: Bits) -> QuantisedModel:
    """Quantise a Llama-like `model` on the CPU; its own weights become the dequantised ones."""
    linears = []
    tied = bool(model.config.tie_word_embeddings)
    for module in _modules(model):
        linears.append(quantise(module.weight.data, module.bias, bits))
        module.weight.data = linears[-1].dequantised().to(module.weight.dtype)
    body = model.get_decoder()
    embedding: Tensor | None = None
    if tied:
        body.embed_tokens.weight = model.get_output_embeddings().weight
    else:
        embedding = body.embed_tokens.weight.data.bfloat16()
        body.embed_tokens.weight.data = embedding.to(body.embed_tokens.weight.dtype)
    model = model.float()
    tokens = torch.tensor([probe_tokens(int(model.config.vocab_size))])
    expected = model(tokens).logits[0, -1].clone()  # (V,)
    return _assembled(model, bits, linears, embedding, expected)


def _norms(model: Any) -> list[Tensor | None]:
    blocks, _ = _blocks_and_head(model)
    found: list[Tensor | None] = []
    for block in blocks:
        found += [block.input_layernorm.weight, block.post_attention_layernorm.weight]
        for name in ("q_norm", "k_norm"):
            norm = getattr(block.self_attn, name, None)
            found.append(None if norm is None else norm.weight)
    return [None if w is None else w.detach().float() for w in (*found, model.get_decoder().norm.weight)]


def _assembled(
    model: Any, bits: Bits, linears: list[QuantisedLinear], embedding: Tensor | None, expected: Tensor
) -> QuantisedModel:
    names = {module: name for name, module in model.named_modules()}
    body = model.get_decoder()
    return QuantisedModel(
        model.config,
        bits,
        [names[module] for module in _modules(model)],
        linears,
        _norms(model),
        embedding,
        Rotary(body.rotary_emb.inv_freq.float(), float(body.rotary_emb.attention_scaling)),
        float(body.layers[0].self_attn.scaling),
        expected,
        model.generation_config,
    )


def skeleton(folder: Path) -> Any:
    """The model in `folder` without its weights: on torch's device "meta". Raises ModelError."""
    # over a second and 200 MiB, which a start with what is quantised already goes without
    from transformers import AutoModelForCausalLM

    with loading_explained(folder), torch.device("meta"), quiet():
        return AutoModelForCausalLM.from_config(config_of(folder))


def config_of(folder: Path) -> Any:
    """The configuration of the model in `folder`. Raises ModelError."""
    # a Llama's own brings torch's compiler along
    from transformers import AutoConfig

    with loading_explained(folder), quiet():
        return AutoConfig.from_pretrained(folder, local_files_only=True)


def place_of(models_folder: Path, name: str, revision: str, bits: Bits) -> Path:
    """Where the quantised form of a model is kept; another revision has another place."""
    readable = re.sub(r"[^\w.-]+", "-", name)
    return models_folder / f"{readable}-{hashlib.sha256(revision.encode()).hexdigest()[:12]}-{bits}bit"


def prepared(choice: ModelChoice, folder: Path, name: str, revision: str, bits: Bits) -> QuantisedModel:
    """The quantised form of the model in `folder`: from its file, quantised first where that is missing.

    Two processes at once quantise it once. Raises ModelError.
    """
    place = place_of(choice.models_folder, name, revision, bits)
    if _fault(place) is not None:
        with faults_explained("Writing the quantised model to", place.parent, ModelError):
            place.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(place.parent / f".{place.name}.lock"):
                fault = _fault(place)  # another process may have done it meanwhile
                if fault is not None:
                    log.info("%s is quantised to %d bits, once: %s", name, bits, fault)
                    base = replace(choice, device="cpu", precision="fp32").load()
                    _write(quantised(base.model, bits), place)
    with faults_explained("Reading the quantised model in", place, ModelError):
        return _read(place, folder, bits)


def is_prepared(choice: ModelChoice, name: str, revision: str, bits: Bits) -> bool:
    """Whether the model has been quantised before, and so is of a kind that the compiled step knows."""
    return place_of(choice.models_folder, name, revision, bits).is_dir()


def _fault(place: Path) -> str | None:
    """Why the quantised model must be made (again); None when it is whole and of this format."""
    if not place.is_dir():
        return "it has not been yet"
    fault = damage(place)
    if fault is None and json.loads((place / MANIFEST).read_bytes()).get("format") != _FORMAT:
        fault = "it is of another version"
    return fault


def _write(model: QuantisedModel, place: Path) -> None:
    tensors = {"expected": model.expected, "rotary.frequencies": model.rotary.frequencies}
    if model.embedding is not None:
        tensors["embedding"] = model.embedding
    for number, norm in enumerate(model.norms):
        if norm is not None:
            tensors[f"norms.{number}"] = norm
    for number, linear in enumerate(model.linears):
        tensors[f"linears.{number}.weights"] = linear.weights
        tensors[f"linears.{number}.scales"] = linear.scales
        if linear.bias is not None:
            tensors[f"linears.{number}.bias"] = linear.bias
    sweep(place.parent)
    with part_folder(place) as part:
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, part / _FILE)
        write_manifest(
            part,
            format=_FORMAT,
            config=json.loads(model.config.to_json_string(use_diff=False)),
            bits=model.bits,
            linears=[
                [name, linear.inputs, linear.outputs]
                for name, linear in zip(model.names, model.linears, strict=True)
            ],
            rotary_scale=model.rotary.scale,
            attention_scale=model.attention_scale,
        )
        replace_folder(part, place)


def _read(place: Path, folder: Path, bits: Bits) -> QuantisedModel:
    described = json.loads((place / MANIFEST).read_bytes())
    with safe_open(place / _FILE, framework="pt") as file:
        keys = set(file.keys())

        def tensor(key: str) -> Tensor | None:
            return file.get_tensor(key) if key in keys else None

        def present(key: str) -> Tensor:
            found = tensor(key)
            assert found is not None, "its hash was right"
            return found

        linears = [
            QuantisedLinear(
                inputs,
                outputs,
                bits,
                present(f"linears.{number}.weights"),
                present(f"linears.{number}.scales"),
                tensor(f"linears.{number}.bias"),
            )
            for number, (_, inputs, outputs) in enumerate(described["linears"])
        ]
        generation = folder / "generation_config.json"
        layers = len(linears) // len(MODULES)
        return QuantisedModel(
            PreTrainedConfig.from_dict(described["config"]),
            bits,
            [name for name, _, _ in described["linears"]],
            linears,
            [tensor(f"norms.{number}") for number in range(4 * layers + 1)],
            tensor("embedding"),
            Rotary(present("rotary.frequencies"), described["rotary_scale"]),
            described["attention_scale"],
            present("expected"),
            GenerationConfig.from_pretrained(folder) if generation.is_file() else GenerationConfig(),
        )
