"""The compiled step as a forward pass: implements `model.StepModel` over a `QuantisedModel`.

Adapters stay in the precision of their files and are not stacked: the step reads each row's own matrices.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from bot.answering.engine import native
from bot.answering.engine.batch import Batch
from bot.answering.engine.cache import CacheShape
from bot.answering.engine.lora import BaseLayer, LoadedAdapter
from bot.answering.engine.quantised import QuantisedLinear, QuantisedModel, quantise

_Pointers = ctypes.Array[ctypes.c_int64]


class RowAdapters:
    """Which adapter each row of a step has, as C reads it."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._tables: dict[LoadedAdapter, ctypes.Array[native.Lora]] = {}
        self._rows: list[int] = []
        self._used: list[LoadedAdapter] = []

    def begin_step(self, rows: Sequence[LoadedAdapter | None]) -> None:
        """Prepare a step whose row i uses the adapter `rows[i]`, or none."""
        self._used = list(dict.fromkeys(row for row in rows if row is not None))
        place: dict[LoadedAdapter | None, int] = {adapter: i for i, adapter in enumerate(self._used)}
        place[None] = -1
        self._rows = [place[row] for row in rows]
        for adapter in self._used:
            if adapter not in self._tables:
                self._tables[adapter] = self._table(adapter)

    def release(self, adapter: LoadedAdapter) -> None:
        """Forget an adapter that no later step uses."""
        self._tables.pop(adapter, None)

    def tables(self) -> _Pointers:
        """The addresses of the tables of the step's adapters."""
        return native.addresses([ctypes.addressof(self._tables[adapter]) for adapter in self._used])

    def rows_of_each(self, rows: Sequence[int] | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The rows of the first adapter, of the second …, and where each one's end.

        Of all rows of the step, or of those that `rows` names, counted among them.
        """
        if not self._used:
            return np.empty(0, np.int32), np.empty(0, np.int32)
        owners = self._rows if rows is None else [self._rows[row] for row in rows]
        found: list[int] = []
        ends = []
        for adapter in range(len(self._used)):
            found += [row for row, owner in enumerate(owners) if owner == adapter]
            ends.append(len(found))
        return np.array(found, np.int32), np.array(ends, np.int32)

    def _table(self, adapter: LoadedAdapter) -> ctypes.Array[native.Lora]:
        table = (native.Lora * len(self._names))()
        for entry, name in zip(table, self._names, strict=True):
            if (layer := adapter.layers.get(name)) is not None:
                entry.rank = layer.rank
                entry.down_type = native.TYPES[layer.down.dtype]
                entry.up_type = native.TYPES[layer.up.dtype]
                entry.scale = layer.scale
                entry.down = layer.down.data_ptr()
                entry.up = layer.up.data_ptr()
        return table


@dataclass(frozen=True)
class _QuantisedLayer(BaseLayer):
    """A quantised linear layer: whatever is quantised to the same values is its own weight."""

    linear: QuantisedLinear | None = None

    def has(self, part: str, tensor: Tensor) -> bool:
        assert self.linear is not None
        if part == "bias":
            own = self.linear.bias
            return own is not None and torch.equal(tensor.float(), own[: self.outputs])
        if tensor.shape != (self.outputs, self.inputs):
            return False
        again = quantise(tensor, None, self.linear.bits)
        return torch.equal(again.weights, self.linear.weights)


class NativeDecoder:
    """The forward pass of one step; implements `model.StepModel`."""

    adapter_dtype: Final = None  # adapters stay in the precision of their files

    def __init__(self, model: QuantisedModel, instructions: str | None = None) -> None:
        """Over `model`, with `instructions` (one of `native.INSTRUCTIONS`), or the best that this CPU has."""
        library = native.library()
        instructions = instructions or native.instructions()
        assert library is not None and instructions is not None, "ask `native.library` first"
        self._step = library.thumbloop_step
        config = model.config
        self._model = model  # keeps the tensors that C has the addresses of
        heads = int(config.num_attention_heads)
        kv_heads = int(config.num_key_value_heads)
        size = int(getattr(config, "head_dim", None) or config.hidden_size // heads)
        self._linears = (native.Linear * len(model.linears))()
        for entry, linear in zip(self._linears, model.linears, strict=True):
            entry.inputs, entry.outputs, entry.bits = linear.inputs, linear.outputs, linear.bits
            entry.weights, entry.scales = linear.weights.data_ptr(), linear.scales.data_ptr()
            entry.bias = None if linear.bias is None else linear.bias.data_ptr()
        self._norms = (ctypes.c_void_p * len(model.norms))(
            *(None if norm is None else norm.data_ptr() for norm in model.norms)
        )
        layers = int(config.num_hidden_layers)
        self._described = native.Model(
            layers, int(config.hidden_size), int(config.intermediate_size), heads, kv_heads, size,
            int(config.vocab_size), native.INSTRUCTIONS.index(instructions), float(config.rms_norm_eps),
            model.attention_scale, self._linears, self._norms,
            None if model.embedding is None else model.embedding.data_ptr(),
        )  # fmt: skip
        self._padded_vocabulary = -(-int(config.vocab_size) // native.BLOCK) * native.BLOCK
        self._size = size
        self.layers: dict[str, BaseLayer] = {
            name: _QuantisedLayer(linear.inputs, linear.outputs, linear=linear)
            for name, linear in zip(model.names, model.linears, strict=True)
        }
        self.adapters = RowAdapters(model.names)
        self.cache_shape = CacheShape(layers, kv_heads, size, torch.float32, torch.device("cpu"))
        self.threads = cores()

    def forward(self, batch: Batch) -> Tensor:
        """Logits (N, V) of the batch's `logits_rows`."""
        rows, wanted = batch.tokens.numel(), batch.logits_rows.tolist()
        cosines, sines = self._model.rotary(batch.positions)  # (T, D) each
        keys, strides, places = _slots(batch)
        tokens, positions = batch.tokens.int(), batch.positions.int()
        logits_rows = np.array(wanted, np.int32)
        tables = self.adapters.tables()
        own, ends = self.adapters.rows_of_each()
        logits_own, logits_ends = self.adapters.rows_of_each(wanted)
        out = torch.empty(len(wanted), self._padded_vocabulary)
        step = native.Step(
            rows, len(wanted), len(tables), int(positions.max()) + 1, tokens.data_ptr(), positions.data_ptr(),
            cosines.data_ptr(), sines.data_ptr(), keys.ctypes.data, strides.ctypes.data, places.ctypes.data,
            logits_rows.ctypes.data, ctypes.addressof(tables), own.ctypes.data, ends.ctypes.data,
            logits_own.ctypes.data, logits_ends.ctypes.data, out.data_ptr(),
        )  # fmt: skip
        if self._step(self._described, step, self.threads):
            raise MemoryError("no room for a step")
        return out[:, : self._described.vocabulary]


def _slots(batch: Batch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each row: its slot's keys in the first layer, the stride of a layer, and the slot's positions."""
    keys: list[int] = []
    strides: list[int] = []
    places: list[int] = []
    for slot, rows in batch.slots:
        data = slot.slab.data  # (L, S, 2, K, P, D)
        stride = data.stride(0)
        keys += [data.data_ptr() + slot.index * data.stride(1) * data.element_size()] * rows
        strides += [stride] * rows
        places += [slot.slab.positions] * rows
    return np.array(keys, np.int64), np.array(strides, np.int64), np.array(places, np.int32)


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
