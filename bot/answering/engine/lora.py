"""A PEFT LoRA folder to tensors ready to serve: its `adapter_config.json` and `adapter_model.safetensors`.

Refuses, with the reason, whatever the engine would not compute exactly as peft does. Never reads a pickle.
Leaves to others: whether the adapter suits the base model's words (`training.fingerprint`).
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
from training.adapters import plain_lora

_KEY = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<half>[AB])\.weight")
_COPIED = re.compile(r"base_model\.model\.(?P<module>.+)\.base_layer\.(?P<part>weight|bias)")
_ALIGNED = 32  # numbers: every tensor of a block begins on a cache line


class CannotServe(Exception):
    """An adapter cannot be served; the text is the reason, for a person, without a full stop."""


@dataclass(frozen=True)
class BaseLayer:
    """A linear layer of the base model: the features it takes and gives, and its parameters where held."""

    inputs: int
    outputs: int
    weight: Tensor | None = None
    bias: Tensor | None = None


def base_layer(module: nn.Linear | Conv1D, *, held: bool) -> BaseLayer:
    """What `module` is to an adapter, with its parameters if they are to be `held`."""
    if isinstance(module, nn.Linear):
        inputs, outputs = module.in_features, module.out_features
    else:
        inputs, outputs = module.weight.shape
    if not held:
        return BaseLayer(inputs, outputs)
    bias = module.bias.detach() if module.bias is not None else None
    return BaseLayer(inputs, outputs, module.weight.detach(), bias)


@dataclass
class Pair:
    """One layer's LoRA: `down` is [inputs, rank], `up` is [rank, outputs] with the scaling folded in.

    Not frozen: while the adapter is active both are views into the matrices of `active`.
    """

    down: Tensor
    up: Tensor

    @property
    def rank(self) -> int:
        """The rank of the update."""
        return self.up.shape[0]


@dataclass(eq=False)
class LoadedAdapter:
    """An adapter in memory: its pairs by the base model's module path."""

    content_hash: str
    pairs: dict[str, Pair]

    def move_out(self) -> None:
        """Take the tensors into a block of its own, out of the matrices that they are views into."""
        old = [tensor for pair in self.pairs.values() for tensor in (pair.down, pair.up)]
        shapes = [tensor.shape for tensor in old]
        new = _views(_block(shapes, old[0].dtype, old[0].device), shapes)
        for tensor, own in zip(old, new, strict=True):
            own.copy_(tensor)
        self.pairs = {
            module: Pair(down, up) for module, down, up in zip(self.pairs, new[::2], new[1::2], strict=True)
        }

    def bytes(self) -> int:
        """What the tensors weigh."""
        return sum(t.numel() * t.element_size() for pair in self.pairs.values() for t in (pair.down, pair.up))


def _starts(shapes: Sequence[Sequence[int]]) -> list[int]:
    """Where tensors of these shapes begin in one piece of memory, and where the last of them ends."""
    return [0, *accumulate(-(-math.prod(shape) // _ALIGNED) * _ALIGNED for shape in shapes)]


def _block(shapes: Sequence[Sequence[int]], dtype: torch.dtype, device: torch.device) -> Tensor:
    """One piece of memory for tensors of these shapes, given back as a whole with the last of them."""
    return memory.zeros(_starts(shapes)[-1], dtype, device)


def _views(block: Tensor, shapes: Sequence[Sequence[int]]) -> list[Tensor]:
    return [
        block[start : start + math.prod(shape)].view(*shape)
        for start, shape in zip(_starts(shapes), shapes, strict=False)
    ]


def read_adapter(
    folder: Path, content_hash: str, layers: Mapping[str, BaseLayer], dtype: torch.dtype, device: torch.device
) -> LoadedAdapter:
    """Read the adapter in `folder` for a base model with these linear `layers`. Raises CannotServe."""
    config = _read_config(folder)
    try:
        tensors = load_file(folder / "adapter_model.safetensors", device="cpu")
    except FileNotFoundError:
        raise CannotServe("its folder has no adapter_model.safetensors") from None
    except (SafetensorError, OSError) as error:
        raise CannotServe("adapter_model.safetensors is corrupt") from error
    halves: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        copied = _COPIED.fullmatch(key)
        if copied is not None:
            _check_copy(copied["module"], copied["part"], tensor, layers)
            continue
        match = _KEY.fullmatch(key)
        if match is None:
            raise CannotServe(f"its tensor {key} is not one of a plain LoRA on linear layers")
        halves.setdefault(match["module"], {})[match["half"]] = tensor
    if not halves:
        raise CannotServe("it holds no tensors")
    for module, half in halves.items():
        _check(module, half, layers.get(module))
    shapes = [size for half in halves.values() for size in (half["A"].t().shape, half["B"].t().shape)]
    block = _block(shapes, dtype, torch.device("cpu"))
    places = _views(block, shapes)
    for (module, half), down, up in zip(halves.items(), places[::2], places[1::2], strict=True):
        down.copy_(half["A"].t())
        up.copy_(half["B"].t().float() * _scaling(config, module, half["A"].shape[0]))
    # one transfer: hundreds of small ones would hold up the answers under way
    places = _views(block.to(device), shapes)
    pairs = {
        module: Pair(down, up) for module, down, up in zip(halves, places[::2], places[1::2], strict=True)
    }
    return LoadedAdapter(content_hash, pairs)


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


def _check_copy(module: str, part: str, tensor: Tensor, layers: Mapping[str, BaseLayer]) -> None:
    """peft saves the output layer itself beside a LoRA on it, and would load it over the base model's."""
    own: Tensor | None = getattr(layers.get(module), part, None)
    if own is None or not torch.equal(tensor.to(own.device, own.dtype), own):
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
