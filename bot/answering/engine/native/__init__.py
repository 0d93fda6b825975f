"""The compiled step: the whole forward pass of a step as one call into C (`step.c`), on x86-64 CPUs.

Installing compiles it where there is a C compiler; where there is none, or another kind of CPU, `library` is
None and the forward passes in torch serve. Its threads are its own (`pool.h`): OpenMP's wait for each other
at every product, which on a machine with other work costs most of the time.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_float, c_int32, c_int64, c_void_p
from functools import cache
from pathlib import Path
from typing import Final

import torch

BLOCK: Final = 16
"""Outputs that lie together in packed weights."""
GROUP: Final = 32
"""Inputs that share a scale."""


class Linear(ctypes.Structure):
    """A linear layer's packed weights."""

    _fields_ = [
        ("inputs", c_int32),
        ("outputs", c_int32),
        ("bits", c_int32),
        ("weights", c_void_p),
        ("scales", c_void_p),
        ("bias", c_void_p),
    ]


class Lora(ctypes.Structure):
    """An adapter's matrices at one linear layer; rank 0 where it has none."""

    _fields_ = [
        ("rank", c_int32),
        ("down_type", c_int32),
        ("up_type", c_int32),
        ("scale", c_float),
        ("down", c_void_p),
        ("up", c_void_p),
    ]


class Model(ctypes.Structure):
    """A model: its shape and where its weights are."""

    _fields_ = [
        *(
            (name, c_int32)
            for name in (
                "layers",
                "hidden",
                "inner",
                "heads",
                "kv_heads",
                "size",
                "vocabulary",
                "instructions",
            )
        ),
        ("epsilon", c_float),
        ("attention_scale", c_float),
        ("linears", POINTER(Linear)),
        ("norms", POINTER(c_void_p)),
        ("embedding", c_void_p),
    ]


class Step(ctypes.Structure):
    """A step's rows."""

    _fields_ = [
        ("rows", c_int32),
        ("logits", c_int32),
        ("adapters", c_int32),
        ("longest", c_int32),
        *(
            (name, c_void_p)
            for name in (
                "tokens",
                "positions",
                "cosines",
                "sines",
                "keys",
                "layer_stride",
                "places",
                "logits_rows",
                "loras",
                "adapter_rows",
                "adapter_ends",
                "logits_adapter_rows",
                "logits_adapter_ends",
                "out",
            )
        ),
    ]


TYPES: Final = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}
"""How C names the precisions that an adapter's tensors may have."""

INSTRUCTIONS: Final = ("AVX2", "AVX2 VNNI", "AVX512", "AVX512 VNNI")
"""The instruction sets that the step has code for; C knows them by their places here."""


def instructions() -> str | None:
    """The instruction set to compute with; None where the step has no code for this CPU.

    Whether 512 bits are used is torch's own answer, so that its environment variable ATEN_CPU_CAPABILITY
    holds here too. A CPU with AVX-512 that is told to do without stands for one that has nothing beyond AVX2.
    """
    known = torch.cpu.get_capabilities()
    if not (known.get("f16c") and known.get("fma3")):
        return None
    match torch.backends.cpu.get_cpu_capability():
        case "AVX512":
            return "AVX512 VNNI" if known.get("avx512_vnni") else "AVX512"
        case "AVX2":
            return "AVX2 VNNI" if known.get("avx_vnni") and not known.get("avx512_f") else "AVX2"
    return None


@cache
def library() -> ctypes.CDLL | None:
    """The compiled step; None where it was not compiled, or does not run here."""
    built = next(iter(sorted(Path(__file__).parent.glob("_step*.so"))), None)
    if built is None or instructions() is None:
        return None
    try:
        loaded = ctypes.CDLL(str(built))
    except OSError:
        return None  # compiled for another system
    loaded.thumbloop_step.argtypes = [POINTER(Model), POINTER(Step), c_int32]
    loaded.thumbloop_step.restype = c_int32
    return loaded


def addresses(tensors: list[int]) -> ctypes.Array[c_int64]:
    """Addresses as C reads them."""
    return (c_int64 * len(tensors))(*tensors)
