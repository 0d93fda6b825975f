"""Picks a model's forward pass: our own where it supports the model, else the model's own modules.

Either is checked before it serves: its logits for a few tokens must be the model's own.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from bot.answering.engine.batch import Batch, PrefillChunk, build_batch
from bot.answering.engine.cache import Cache, CacheShape
from bot.answering.engine.decoder import Decoder, is_llama_like
from bot.answering.engine.lora import BaseLayer, LoadedAdapter
from bot.answering.engine.native_decoder import NativeDecoder
from bot.answering.engine.quantised import QuantisedModel, probe_tokens
from bot.answering.engine.through_module import ModelNotServable, ThroughModule

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_log = logging.getLogger(__name__)

_TOLERANCE = {torch.float32: 1e-3, torch.float16: 0.05, torch.bfloat16: 0.3}
"""How far the check's logits may be off, in their standard deviations; a wrong forward is off by about 1."""
_ROUNDED = 0.02
"""The same for the compiled step, which rounds activations to 16 bits: the default model is off by 0.0015."""


class StepAdapters(Protocol):
    """The adapters of a step's rows."""

    def begin_step(self, rows: Sequence[LoadedAdapter | None]) -> None:
        """Prepare a step whose row i uses the adapter `rows[i]`, or none."""

    def release(self, adapter: LoadedAdapter) -> None:
        """Give back what an adapter takes that no later step uses."""


class StepModel(Protocol):
    """A forward pass over steps that mix requests and adapters."""

    layers: dict[str, BaseLayer]
    cache_shape: CacheShape

    @property
    def adapters(self) -> StepAdapters:
        """The adapters of the step under way."""

    @property
    def adapter_dtype(self) -> torch.dtype | None:
        """The precision that adapters are kept in; None: that of their files."""

    def forward(self, batch: Batch) -> Tensor:
        """Logits (N, V) of the batch's `logits_rows`."""


def context_tokens(model: PreTrainedModel | QuantisedModel) -> int:
    """The most positions that the model takes.

    Rotary embeddings that change with the sequence's length would differ between the requests of a step; such
    models are limited to the length up to which nothing changes.
    """
    config = model.config.get_text_config()
    context = int(getattr(config, "max_position_embeddings", 2048))
    rope = getattr(config, "rope_parameters", None) or {}
    if isinstance(rope, dict) and rope.get("rope_type") in ("dynamic", "longrope"):
        context = min(context, int(rope.get("original_max_position_embeddings") or context))
    return context


def step_model(model: PreTrainedModel | QuantisedModel) -> StepModel:
    """The forward pass for `model`, checked. Raises ModelNotServable."""
    tokens = probe_tokens(int(model.config.get_text_config().vocab_size))
    if isinstance(model, QuantisedModel):
        native = NativeDecoder(model)
        if not _reproduces(native, tokens, model.expected):
            raise ModelNotServable("the compiled step does not reproduce the model's own answers")
        return native
    model.eval()
    with torch.inference_mode():
        expected = model(torch.tensor([tokens], device=model.device)).logits[0, -1].float()  # (V,)
    if is_llama_like(model):
        own = Decoder(model)
        if _reproduces(own, tokens, expected):
            own.release()
            return own
        _log.warning(
            "the fast forward does not reproduce this model; it is served by its own modules, slower"
        )
    through_module = ThroughModule(model)
    if not _reproduces(through_module, tokens, expected):
        raise ModelNotServable("the engine does not reproduce the model's own answers")
    return through_module


@torch.inference_mode()
def _reproduces(candidate: StepModel, tokens: list[int], expected: Tensor) -> bool:
    """Whether two prefill chunks and a decoding step give the logits that the model itself gives."""
    cache = Cache(candidate.cache_shape, len(tokens))
    slot = cache.allocate(len(tokens))
    candidate.adapters.begin_step([])
    for start, end in ((0, 4), (4, len(tokens) - 1)):
        chunk = PrefillChunk(slot, tokens[start:end], wants_logits=False)
        candidate.forward(build_batch(cache.slabs, {}, [chunk], candidate.cache_shape.device))
        slot.length = end
    slot.begin_decoding()
    batch = build_batch(cache.slabs, {slot: tokens[-1]}, [], candidate.cache_shape.device)
    got = candidate.forward(batch)[0].float()  # (V,)
    error = (got - expected).abs().max() / expected.std().clamp_min(1e-6)
    rounded = isinstance(candidate, NativeDecoder)
    return bool(error < (_ROUNDED if rounded else _TOLERANCE.get(candidate.cache_shape.dtype, 0.3)))
