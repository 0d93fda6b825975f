"""A Llama-like model's weights in 8 or 4 bits, as the compiled step reads them, and their file on disk.

8 bits: symmetric, one scale an output channel. 4 bits: symmetric, one 16-bit scale for 32 inputs of an output.
Both round to nearest. All linear layers are quantised, the output layer too, and with it an embedding that it
is tied to; normalisations and biases stay in 32 bits, an embedding of its own in bf16. Made once from the
model's own files, kept beside them (hashed, whole or not at all), and read back without them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from bot.answering.engine.native import BLOCK, GROUP

Bits = Literal[8, 4]

_FORMAT: Final = 1
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
            values = self.weights.float() * self.scales.view(-1, 1, BLOCK)  # (blocks, I, BLOCK)
        else:
            nibbles = torch.stack((self.weights & 15, self.weights >> 4), 2).flatten(1, 2)  # (blocks, I, BLOCK)
            scales = self.scales.float().repeat_interleave(GROUP, dim=1)[:, : self.inputs]
            values = (nibbles.float() - 8) * scales
        return values.transpose(1, 2).reshape(-1, self.inputs)[: self.outputs].contiguous()


def quantise(weight: Tensor, bias: Tensor | None, bits: Bits) -> QuantisedLinear:
    """Quantise a linear layer's `weight` (O, I). Raises ValueError for an odd I in 4 bits."""
    outputs, inputs = weight.shape
    if bits == 4 and inputs % 2:
        raise ValueError(f"4 bits need an even number of inputs, not {inputs}")
    blocks = -(-outputs // BLOCK)
    padded = weight.new_zeros(blocks * BLOCK, inputs, dtype=torch.float32)
    padded[:outputs] = weight.detach()
    if bits == 8:
        scales = padded.abs().amax(1).clamp_min(1e-12) / 127  # (O,)
        rounded = (padded / scales[:, None]).round_().to(torch.int8)
        packed = rounded.view(blocks, BLOCK, inputs).transpose(1, 2).contiguous()
    else:
        groups = -(-inputs // GROUP)
        grouped = nn.functional.pad(padded, (0, groups * GROUP - inputs)).view(-1, groups, GROUP)
        # the largest value of a group is mapped to -8 or 8, whichever side it is on, so that all 16 steps serve
        at = grouped.abs().argmax(2, keepdim=True)
        halves = (grouped.gather(2, at).squeeze(2) / -8).half()  # (O, groups)
        safe = torch.where(halves == 0, torch.ones_like(halves), halves).float()
        steps = (grouped / safe[..., None]).round_().clamp_(-8, 7).add_(8).to(torch.uint8)
        rounded = steps.view(blocks, BLOCK, -1)[:, :, :inputs]
        packed = (rounded[:, :, ::2] | rounded[:, :, 1::2] << 4).transpose(1, 2).contiguous()
        scales = halves.view(blocks, BLOCK, groups).transpose(1, 2).contiguous()  # (blocks, groups, BLOCK)
    whole = None
    if bias is not None:
        whole = bias.new_zeros(blocks * BLOCK, dtype=torch.float32)
        whole[:outputs] = bias.detach()
    return QuantisedLinear(inputs, outputs, bits, packed, scales, whole)


@dataclass
class QuantisedModel:
    """A model for the compiled step.

    `config` is the transformers configuration; `names` are the linear layers' module paths, LINEARS a block and
    the output layer last, and `linears` are theirs. `norms` are four a block (queries' and keys' may be None)
    and the final one. `embedding` (V, C) is bf16, or None where it is the output layer. `rotary` gives cosines
    and sines. `expected` are the logits (V,) that the model's own forward has after `probe_tokens` with the
    dequantised weights.
    """

    config: Any
    bits: Bits
    names: list[str]
    linears: list[QuantisedLinear]
    norms: list[Tensor | None]
    embedding: Tensor | None
    rotary: Any
    attention_scale: float
    expected: Tensor


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
        body.rotary_emb,
        float(body.layers[0].self_attn.scaling),
        expected,
    )
