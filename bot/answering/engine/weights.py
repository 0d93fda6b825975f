"""The base model's linear layers, fused and laid out for speed: those with the same input are one matrix.

Measured on 16 rows: on a CPU in bf16, oneDNN's packed layout is two to five times faster than the plain one;
in fp32, MKL is four to five times faster with (I, O) than with torch's (O, I), which stays elsewhere.
Nothing is stored twice: the model's own parameters become views into the fused matrix, and where that is
packed they are freed (`release`), so that only the engine can use the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

_TYPICAL_ROWS = 16  # oneDNN chooses its layout for about so many rows


def serving_dtype(device: torch.device, loaded: torch.dtype) -> torch.dtype:
    """The precision to serve in: as loaded, except that a CPU without native bf16 is faster in fp32."""
    if device.type != "cpu" or loaded == torch.float32:
        return loaded
    if loaded == torch.bfloat16 and _cpu_multiplies_bf16():
        return loaded
    return torch.float32


def _cpu_multiplies_bf16() -> bool:
    capabilities: Mapping[str, Any] = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("bf16"))


def _packs(weight: Tensor) -> bool:
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.bfloat16
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    )


class Projection:
    """Several linear layers with the same input, as one product: (T, I) to (T, O)."""

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        weights = [layer.weight for layer in layers]
        self.outputs = tuple(weight.shape[0] for weight in weights)
        self._layers = layers
        self._packed: Tensor | None = None
        self._matrix: Tensor | None = None
        with torch.no_grad():
            fused = torch.cat([weight.detach() for weight in weights])  # (O, I)
            self._bias = _fused_bias(layers)
            if _packs(fused):
                self._packed = torch.ops.mkldnn._reorder_linear_weight(fused, _TYPICAL_ROWS)
                return
            transposed = fused.device.type == "cpu" and fused.dtype == torch.float32
            self._matrix = fused.t().contiguous() if transposed else fused.t()  # (I, O)
            start = 0
            for layer, outputs in zip(layers, self.outputs, strict=True):
                layer.weight.data = self._matrix.narrow(1, start, outputs).t()  # (outputs, I), a view
                start += outputs

    def __call__(self, x: Tensor) -> Tensor:
        """The product of `x` (T, I) and the weights, (T, O)."""
        if self._packed is not None:
            product: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._packed, self._bias, "none", [], "")
            return product
        assert self._matrix is not None
        if self._bias is None:
            return torch.mm(x, self._matrix)  # (T, I) @ (I, O) -> (T, O)
        return torch.addmm(self._bias, x, self._matrix)

    def added_to(self, out: Tensor, x: Tensor) -> Tensor:
        """`out` (T, O) plus the product of `x` (T, I), maybe in place: a residual connection for free."""
        if self._packed is not None:
            both: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, out, self._packed, self._bias, "add")
            return both
        assert self._matrix is not None
        out.addmm_(x, self._matrix)  # (T, I) @ (I, O) -> (T, O)
        return out if self._bias is None else out.add_(self._bias)

    def release(self) -> None:
        """Free the model's own parameters where this has a packed copy of them."""
        if self._packed is not None:
            for layer in self._layers:
                layer.weight.data = layer.weight.data.new_empty(0)


def _fused_bias(layers: Sequence[nn.Linear]) -> Tensor | None:
    if all(layer.bias is None for layer in layers):
        return None
    return torch.cat(
        [
            layer.bias.detach() if layer.bias is not None else layer.weight.new_zeros(layer.weight.shape[0])
            for layer in layers
        ]
    )
