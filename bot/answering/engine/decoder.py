"""Our own forward pass for Llama-like decoders, over the transformers model's weights.

For Llama (SmolLM2 among them), Mistral, Qwen2 and Qwen3 with plain linear layers. It does what the model's
own forward does with a third of the calls: q/k/v and gate/up are one product each, residual connections are
added by the product itself, and the tokens of all requests are one flat row.
`through_module` serves the models that this does not support.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import rms_norm, silu

from bot.answering.engine.active import ActiveAdapters, Site
from bot.answering.engine.batch import AttentionConfig, Batch
from bot.answering.engine.cache import CacheShape
from bot.answering.engine.graphs import Graphs
from bot.answering.engine.lora import base_layer
from bot.answering.engine.weights import Projection

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
_ATTENTION = {"q_proj", "k_proj", "v_proj", "o_proj", "q_norm", "k_norm"}
_LAYER = {"self_attn", "mlp", "input_layernorm", "post_attention_layernorm"}
_SITES_PER_LAYER = 4


def is_llama_like(model: PreTrainedModel) -> bool:
    """Whether `Decoder` can serve `model`."""
    config: Any = model.config
    if config.model_type not in _FAMILIES or getattr(config, "hidden_act", "") != "silu":
        return False
    if any(kind != "full_attention" for kind in getattr(config, "layer_types", None) or ()):
        return False
    if getattr(config, "sliding_window", None) and config.model_type == "mistral":
        return False
    body: Any = model.get_decoder()
    for layer in body.layers:
        names = {name for name, _ in layer.named_children()}
        inner = {name for name, _ in layer.self_attn.named_children()}
        if names != _LAYER or not inner <= _ATTENTION:
            return False
    linear = [m for m in model.modules() if isinstance(m, nn.Linear)]
    return all(type(m) is nn.Linear and m.weight.is_floating_point() for m in linear)


class _Norm:
    """RMS normalisation, computed in fp32 as the model does."""

    def __init__(self, module: Any) -> None:
        self._weight: Tensor = module.weight.detach()
        self._epsilon = float(module.variance_epsilon)

    def __call__(self, x: Tensor) -> Tensor:
        return rms_norm(x, x.shape[-1:], self._weight, self._epsilon)


class _Layer:
    def __init__(self, layer: Any) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self.before_attention = _Norm(layer.input_layernorm)
        self.before_mlp = _Norm(layer.post_attention_layernorm)
        self.qkv = Projection([attention.q_proj, attention.k_proj, attention.v_proj])
        self.o = Projection([attention.o_proj])
        self.gate_up = Projection([mlp.gate_proj, mlp.up_proj])
        self.down = Projection([mlp.down_proj])
        self.q_norm = _Norm(attention.q_norm) if hasattr(attention, "q_norm") else None
        self.k_norm = _Norm(attention.k_norm) if hasattr(attention, "k_norm") else None


class Decoder:
    """The forward pass of one step; implements `model.StepModel`."""

    def __init__(self, model: PreTrainedModel) -> None:
        config: Any = model.config
        body: Any = model.get_decoder()
        self._heads = int(config.num_attention_heads)
        self._kv_heads = int(config.num_key_value_heads)
        self._size = int(getattr(config, "head_dim", None) or config.hidden_size // self._heads)
        self._attention = AttentionConfig(scale=float(body.layers[0].self_attn.scaling))
        self._rotary = body.rotary_emb
        self._layers = [_Layer(layer) for layer in body.layers]
        self._norm = _Norm(body.norm)
        head: Any = model.get_output_embeddings()
        self._head = Projection([head])
        self._embedding: nn.Embedding = body.embed_tokens
        if config.tie_word_embeddings:
            self._embedding.weight = head.weight
        names = {module: name for name, module in model.named_modules()}
        groups = [
            [getattr(parent, part) for part in parts]
            for layer in body.layers
            for parent, parts in (
                (layer.self_attn, ("q_proj", "k_proj", "v_proj")),
                (layer.self_attn, ("o_proj",)),
                (layer.mlp, ("gate_proj", "up_proj")),
                (layer.mlp, ("down_proj",)),
            )
        ]
        groups.append([head])
        self.layers = {
            names[module]: base_layer(module, keep_parameters=module is head)
            for group in groups
            for module in group
        }
        sites = [
            Site(tuple(names[m] for m in group), tuple(m.out_features for m in group)) for group in groups
        ]
        weight = body.layers[0].self_attn.q_proj.weight
        self.adapters = ActiveAdapters(sites, weight.device, weight.dtype)
        self.cache_shape = CacheShape(
            len(self._layers), self._kv_heads, self._size, weight.dtype, weight.device
        )
        self.adapter_dtype = weight.dtype
        on_cuda = weight.device.type == "cuda"
        self._run = Graphs(self._compute, self.adapters) if on_cuda else self._compute

    def forward(self, batch: Batch) -> Tensor:
        """Logits (N, V) of the batch's `logits_rows`, valid until the next step."""
        return self._run(batch)

    def _compute(self, batch: Batch) -> Tensor:
        add = self.adapters.add
        hidden = self._embed(batch.tokens)  # (T, C)
        cos, sin = self._rotations(hidden, batch.positions)  # (T, 1, D) each
        for number, layer in enumerate(self._layers):
            site = number * _SITES_PER_LAYER
            x = layer.before_attention(hidden)  # (T, C)
            qkv = layer.qkv(x)  # (T, (H + 2 * K) * D)
            add(site, x, qkv)
            attended = self._attend(batch, number, layer, qkv, cos, sin)  # (T, H * D)
            hidden = layer.o.added_to(hidden, attended)  # (T, C)
            add(site + 1, attended, hidden)
            x = layer.before_mlp(hidden)  # (T, C)
            gate_up = layer.gate_up(x)  # (T, 2 * F)
            add(site + 2, x, gate_up)
            gate, up = gate_up.chunk(2, dim=1)  # (T, F) each
            x = silu(gate).mul_(up)  # (T, F)
            hidden = layer.down.added_to(hidden, x)  # (T, C)
            add(site + 3, x, hidden)
        if not batch.logits_rows.numel():
            return hidden.new_empty((0, self._head.outputs[0]))
        last = self._norm(hidden.index_select(0, batch.logits_rows))  # (N, C)
        logits = self._head(last)  # (N, V)
        add(len(self._layers) * _SITES_PER_LAYER, last, logits, batch.logits_rows)
        return logits

    def release(self) -> None:
        """Free what only the model's own forward needs; not the output layer, which may be the embedding."""
        for layer in self._layers:
            for projection in (layer.qkv, layer.o, layer.gate_up, layer.down):
                projection.release()

    def _embed(self, tokens: Tensor) -> Tensor:
        # indexing works on the matrix as it lies, also when tied to one that is stored transposed;
        # the copy gives a single row its shape's strides too, which CUDA's products in place insist on
        rows = self._embedding.weight.detach().t()[:, tokens].t()  # (T, C)
        return rows.clone(memory_format=torch.contiguous_format)

    def _rotations(self, hidden: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        cos, sin = self._rotary(hidden, positions[None])  # (1, T, D) each
        half = self._size // 2
        # rotate_half(x) * sin is flip(x) * sin with the first half's sign turned
        signed = torch.cat((-sin[..., :half], sin[..., half:]), dim=-1)  # (1, T, D)
        return cos[0].unsqueeze(1), signed[0].unsqueeze(1)  # (T, 1, D) each

    def _attend(
        self, batch: Batch, number: int, layer: _Layer, qkv: Tensor, cos: Tensor, sin: Tensor
    ) -> Tensor:
        rows = qkv.shape[0]
        rotated = self._heads + self._kv_heads
        heads = qkv.view(rows, rotated + self._kv_heads, self._size)  # (T, H + 2 * K, D)
        qk = heads[:, :rotated]  # (T, H + K, D)
        if layer.q_norm is not None and layer.k_norm is not None:
            qk = torch.cat((layer.q_norm(qk[:, : self._heads]), layer.k_norm(qk[:, self._heads :])), dim=1)
        halves = (
            qk.view(rows, rotated, 2, self._size // 2).flip(2).view(rows, rotated, self._size)
        )  # (T, H + K, D)
        qk = torch.mul(qk, cos).addcmul_(halves, sin)  # (T, H + K, D)
        heads[:, self._heads : rotated] = qk[:, self._heads :]
        keys_values = qkv[:, self._heads * self._size :].view(
            rows, 2, self._kv_heads, self._size
        )  # (T, 2, K, D)
        return batch.attend(number, qk[:, : self._heads], keys_values, self._attention)  # (T, H * D)
