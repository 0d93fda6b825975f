"""Any other transformers model, and any quantised one, by its own modules.

The model runs unchanged over the step's flat row of tokens; only its attention function is ours, which
attends in the cache, and a hook adds the LoRA updates to the linear layers. The model belongs to the engine
from then on. Continuous batching and mixed adapters work as in `decoder`, only slower, without the fusing.
Needs a model with transformers' attention interface (`_supports_attention_backend`), keys and values of one
shape in all layers, and no other state. Raises ModelNotServable for others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from bot.answering.engine.active import ActiveAdapters, Site
from bot.answering.engine.batch import AttentionConfig, Batch
from bot.answering.engine.cache import CacheShape
from bot.answering.engine.lora import base_layer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_NAME = "thumbloop_slots"
_UNKNOWN_ATTENTION = ("s_aux", "sinks", "position_bias")


class ModelNotServable(Exception):
    """The engine cannot serve this model; the text says why."""


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    batch: Batch | None = kwargs.get("thumbloop_batch")
    layer = getattr(module, "layer_idx", None)
    if batch is None or layer is None:
        raise ModelNotServable("the model does not pass its attention function what the engine needs")
    if any(kwargs.get(name) is not None for name in _UNKNOWN_ATTENTION) or key.shape != value.shape:
        raise ModelNotServable("the model's attention is of a kind that the engine does not know")
    config = AttentionConfig(
        scale=float(scaling if scaling is not None else query.shape[-1] ** -0.5),
        window=kwargs.get("sliding_window"),
        softcap=kwargs.get("softcap"),
    )
    queries = query[0].transpose(0, 1)  # (1, H, T, D) -> (T, H, D)
    keys_values = torch.stack((key[0], value[0])).permute(2, 0, 1, 3)  # (2, K, T, D) -> (T, 2, K, D)
    out = batch.attend(int(layer), queries.contiguous(), keys_values, config)  # (T, H * D)
    return out.view(1, queries.shape[0], queries.shape[1], queries.shape[2]), None  # (1, T, H, D)


class ThroughModule:
    """The forward pass of one step; implements `model.StepModel`."""

    def __init__(self, model: PreTrainedModel) -> None:
        if not model._supports_attention_backend:
            raise ModelNotServable(f"{type(model).__name__} has no exchangeable attention function")
        from transformers import AttentionInterface  # the model has loaded what this needs

        AttentionInterface.register(_NAME, _attention)
        self._model: Any = model
        model.set_attn_implementation(_NAME)
        config: Any = model.config.get_text_config()
        head = model.get_output_embeddings()
        linear = {
            name: base_layer(module, keep_parameters=module is head)
            for name, module in model.named_modules()
            if isinstance(module, (nn.Linear, Conv1D))
        }
        self.layers = linear
        heads = int(config.num_attention_heads)
        size = int(getattr(config, "head_dim", None) or config.hidden_size // heads)
        kv_heads = int(getattr(config, "num_key_value_heads", None) or heads)
        dtype = model.dtype if model.dtype.is_floating_point else torch.bfloat16
        self.adapter_dtype = dtype
        self._logits_rows: Tensor | None = None
        sites = []
        for number, (name, layer) in enumerate(linear.items()):
            sites.append(Site((name,), (layer.outputs,)))
            module = model.get_submodule(name)
            module.register_forward_hook(self._adapter_hook(number, of_logits_rows=module is head))
        self.adapters = ActiveAdapters(sites, model.device, dtype)
        self.cache_shape = CacheShape(int(config.num_hidden_layers), kv_heads, size, dtype, model.device)

    def forward(self, batch: Batch) -> Tensor:
        """Logits (N, V) of the batch's `logits_rows`."""
        rows = batch.logits_rows if batch.logits_rows.numel() else torch.zeros_like(batch.tokens[:1])
        self._logits_rows = rows
        out = self._model(
            input_ids=batch.tokens[None],
            position_ids=batch.positions[None],
            use_cache=False,
            logits_to_keep=rows,
            thumbloop_batch=batch,
        )
        logits: Tensor = out.logits[0]  # (1, N, V) -> (N, V)
        return logits[: batch.logits_rows.numel()]

    def _adapter_hook(self, site: int, of_logits_rows: bool) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> Tensor | None:
            if not self.adapters.active_at(site):
                return None
            flat = out.reshape(-1, out.shape[-1]).clone()  # (T, O)
            x = inputs[0].reshape(-1, inputs[0].shape[-1]).to(flat.dtype)  # (T, I)
            self.adapters.add(site, x, flat, self._logits_rows if of_logits_rows else None)
            return flat.view(out.shape)

        return hook
