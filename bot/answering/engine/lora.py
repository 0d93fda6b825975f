"""Reads PEFT LoRA folders, `adapter_config.json` and `adapter_model.safetensors`, into tensors to serve.

Refuses, with the reason, whatever the engine would not compute exactly as peft does. Never reads a pickle.
Leaves to others: whether the adapter was trained on this base model (`training.model.fingerprint`).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from bot.answering.engine import memory
from bot.answering.engine.native import BLOCK
from training.adapters import plain_lora

_KEY = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<half>[AB])\.weight")
_BASE_COPY = re.compile(r"base_model\.model\.(?P<module>.+)\.base_layer\.(?P<part>weight|bias)")
_STORED = {torch.float32, torch.float16, torch.bfloat16}
_ALIGNMENT = 32  # numbers: every tensor of a buffer begins on a cache line


class CannotServe(Exception):
    """An adapter cannot be served; the text is the reason, for a person, without a full stop."""


@dataclass(frozen=True)
class BaseLayer:
    """A linear layer of the base model: `inputs` and `outputs` are feature counts; parameters where kept."""

    inputs: int
    outputs: int
    weight: Tensor | None = None
    bias: Tensor | None = None

    def has(self, part: str, tensor: Tensor) -> bool:
        """Whether `tensor` is this layer's own "weight" or "bias"."""
        own = self.weight if part == "weight" else self.bias
        return own is not None and torch.equal(tensor.to(own.device, own.dtype), own)


def base_layer(module: nn.Linear | Conv1D, *, keep_parameters: bool) -> BaseLayer:
    """Describe `module`; its parameters are kept where a copy in an adapter must be compared with them."""
    if isinstance(module, nn.Linear):
        inputs, outputs = module.in_features, module.out_features
    else:
        inputs, outputs = module.weight.shape
    if not keep_parameters:
        return BaseLayer(inputs, outputs)
    bias = module.bias.detach() if module.bias is not None else None
    return BaseLayer(inputs, outputs, module.weight.detach(), bias)


@dataclass
class LoraLayer:
    """One layer's LoRA: `down` is A transposed, (I, rank); `up` is B transposed, (rank, O).

    `up` is scaled already, but for what is left in `scale`. For the compiled step it is (rank, blocks,
    BLOCK), a view of memory in the order (blocks, rank, BLOCK).

    Not frozen: while the adapter is active both are views into the stacked matrices of `active`.
    """

    down: Tensor
    up: Tensor
    scale: float = 1.0

    @property
    def rank(self) -> int:
        """The rank of the update."""
        return self.up.shape[0]


@dataclass(eq=False)
class LoadedAdapter:
    """An adapter in memory: its layers by the base model's module path."""

    content_hash: str
    layers: dict[str, LoraLayer]

    def unstack(self) -> None:
        """Copy the tensors out of the stacked matrices that they are views into, to a buffer of their own."""
        old = [tensor for layer in self.layers.values() for tensor in (layer.down, layer.up)]
        shapes = [tensor.shape for tensor in old]
        new = _views(_buffer(shapes, old[0].dtype, old[0].device), shapes)
        for tensor, own in zip(old, new, strict=True):
            own.copy_(tensor)
        self.layers = {
            module: LoraLayer(down, up)
            for module, down, up in zip(self.layers, new[::2], new[1::2], strict=True)
        }


def _offsets(shapes: Sequence[Sequence[int]]) -> list[int]:
    """Where tensors of these shapes begin in one buffer, and where the last of them ends."""
    return [0, *accumulate(-(-math.prod(shape) // _ALIGNMENT) * _ALIGNMENT for shape in shapes)]


def _buffer(shapes: Sequence[Sequence[int]], dtype: torch.dtype, device: torch.device) -> Tensor:
    """One flat buffer for tensors of these shapes, freed as a whole with the last of them."""
    return memory.zeros(_offsets(shapes)[-1], dtype, device)


def _views(buffer: Tensor, shapes: Sequence[Sequence[int]]) -> list[Tensor]:
    return [
        buffer[start : start + math.prod(shape)].view(*shape)
        for start, shape in zip(_offsets(shapes), shapes, strict=False)
    ]


def read_adapter(
    folder: Path,
    content_hash: str,
    layers: Mapping[str, BaseLayer],
    dtype: torch.dtype | None,
    device: torch.device,
) -> LoadedAdapter:
    """Read the adapter in `folder` for a base model with these linear `layers`. Raises CannotServe.

    Without a `dtype` they are for the compiled step: in the file's precision, nothing scaled, outputs in
    blocks.
    """
    config = _read_config(folder)
    try:
        tensors = load_file(folder / "adapter_model.safetensors", device="cpu")
    except FileNotFoundError:
        raise CannotServe("its folder has no adapter_model.safetensors") from None
    except (SafetensorError, OSError) as error:
        raise CannotServe("adapter_model.safetensors is corrupt") from error
    halves: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        copied = _BASE_COPY.fullmatch(key)
        if copied is not None:
            _check_base_copy(copied["module"], copied["part"], tensor, layers)
            continue
        match = _KEY.fullmatch(key)
        if match is None:
            raise CannotServe(f"its tensor {key} is not one of a plain LoRA on linear layers")
        halves.setdefault(match["module"], {})[match["half"]] = tensor
    if not halves:
        raise CannotServe("it holds no tensors")
    for module, half in halves.items():
        _check(module, half, layers.get(module))
    if dtype is None:
        return LoadedAdapter(content_hash, _as_stored(halves, config))
    shapes = [size for half in halves.values() for size in (half["A"].t().shape, half["B"].t().shape)]
    buffer = _buffer(shapes, dtype, torch.device("cpu"))
    views = _views(buffer, shapes)
    for (module, half), down, up in zip(halves.items(), views[::2], views[1::2], strict=True):
        down.copy_(half["A"].t())  # (rank, I) -> (I, rank)
        up.copy_(
            half["B"].t().float() * _scaling(config, module, half["A"].shape[0])
        )  # (O, rank) -> (rank, O)
    # one transfer: hundreds of small ones would slow down the running requests
    views = _views(buffer.to(device), shapes)
    loaded = {
        module: LoraLayer(down, up) for module, down, up in zip(halves, views[::2], views[1::2], strict=True)
    }
    return LoadedAdapter(content_hash, loaded)


def _as_stored(halves: Mapping[str, Mapping[str, Tensor]], config: Mapping[str, Any]) -> dict[str, LoraLayer]:
    kinds = {tensor.dtype for half in halves.values() for tensor in half.values()}
    dtype = kinds.pop() if len(kinds) == 1 and kinds <= _STORED else torch.float32
    shapes: list[Sequence[int]] = []
    for half in halves.values():
        outputs, rank = half["B"].shape
        shapes += [half["A"].shape, (-(-outputs // BLOCK), rank, BLOCK)]
    views = _views(_buffer(shapes, dtype, torch.device("cpu")), shapes)
    for half, down, up in zip(halves.values(), views[::2], views[1::2], strict=True):
        down.copy_(half["A"])  # (rank, I)
        outputs, rank = half["B"].shape
        whole = outputs // BLOCK
        up[:whole] = half["B"][: whole * BLOCK].view(whole, BLOCK, rank).transpose(1, 2)
        if outputs % BLOCK:
            up[whole, :, : outputs % BLOCK] = half["B"][whole * BLOCK :].t()
    return {
        module: LoraLayer(down.t(), up.transpose(0, 1), _scaling(config, module, up.shape[1]))
        for module, down, up in zip(halves, views[::2], views[1::2], strict=True)
    }


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CannotServe("its folder has no adapter_config.json") from None
    except (OSError, ValueError) as error:
        raise CannotServe("adapter_config.json is corrupt") from error
    if not isinstance(config, dict):
        raise CannotServe("adapter_config.json is corrupt")
    if (reason := plain_lora.why_not(config)) is not None:
        raise CannotServe(reason)
    return config


def _scaling(config: Mapping[str, Any], module: str, rank: int) -> float:
    alphas = config.get("alpha_pattern") or {}
    alpha = config.get("lora_alpha", 8)
    if alphas:
        # only here: peft brings bitsandbytes, and with it seconds at the start of every answering process
        from peft.utils.other import get_pattern_key

        alpha = alphas.get(get_pattern_key(list(alphas), module), alpha)
    return float(alpha) / (rank**0.5 if config.get("use_rslora") else rank)


def _check_base_copy(module: str, part: str, tensor: Tensor, layers: Mapping[str, BaseLayer]) -> None:
    """Refuse another base layer: with a LoRA on the output layer peft saves that layer, and would load it."""
    layer = layers.get(module)
    if layer is None or not layer.has(part, tensor):
        raise CannotServe(f"it brings a {module} that is not the base model's")


def _check(module: str, half: Mapping[str, Tensor], layer: BaseLayer | None) -> None:
    if layer is None:
        raise CannotServe(f"the base model has no linear layer {module}")
    if set(half) != {"A", "B"}:
        raise CannotServe(f"one of the two matrices of {module} is missing")
    down, up = half["A"], half["B"]
    if down.ndim != 2 or up.ndim != 2 or down.shape[0] != up.shape[1]:
        raise CannotServe(f"the two matrices of {module} do not fit each other")
    if (down.shape[1], up.shape[0]) != (layer.inputs, layer.outputs):
        raise CannotServe(
            f"{module} is trained for {down.shape[1]} to {up.shape[0]} features, "
            f"and the base model has {layer.inputs} to {layer.outputs}"
        )
    if not (torch.isfinite(down).all() and torch.isfinite(up).all()):
        raise CannotServe(f"{module} holds values that are not numbers")
