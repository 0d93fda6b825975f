"""Picks how a model is served: by our own forward where it fits, else through the model's own modules.

Either way the engine proves itself at the start: its logits for a few tokens must be the model's own.
"""

from __future__ import annotations

import logging
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from bot.answering.engine.active import ActiveAdapters
from bot.answering.engine.batch import Batch, Planned, lay_out
from bot.answering.engine.cache import Cache, CacheShape
from bot.answering.engine.decoder import Decoder, is_llama_like
from bot.answering.engine.lora import BaseLayer
from bot.answering.engine.through_module import ModelNotServable, ThroughModule

_log = logging.getLogger(__name__)

_PROBE_TOKENS = 12
_TOLERANCE = {torch.float32: 1e-3, torch.float16: 0.05, torch.bfloat16: 0.3}
"""How far the proof's logits may be off, in their standard deviations; a wrong forward is off by about 1."""


class StepModel(Protocol):
    """A forward pass for steps of mixed answers and adapters."""

    layers: dict[str, BaseLayer]
    adapters: ActiveAdapters
    cache_shape: CacheShape

    def forward(self, batch: Batch) -> Tensor:
        """Logits of the wanted rows, [wanted, vocabulary]."""


def context_tokens(model: PreTrainedModel) -> int:
    """The most positions that the model takes.

    Rotations that change with an answer's length would differ between the answers of a step; such models
    are held to the length up to which nothing changes.
    """
    config = model.config.get_text_config()
    context = int(getattr(config, "max_position_embeddings", 2048))
    rope = getattr(config, "rope_parameters", None) or {}
    if isinstance(rope, dict) and rope.get("rope_type") in ("dynamic", "longrope"):
        context = min(context, int(rope.get("original_max_position_embeddings") or context))
    return context


def step_model(model: PreTrainedModel) -> StepModel:
    """The forward pass for `model`, proved. Raises ModelNotServable."""
    vocabulary = int(model.config.get_text_config().vocab_size)
    tokens = [(1 + 7919 * i) % vocabulary for i in range(_PROBE_TOKENS)]
    with torch.inference_mode():
        expected = model(torch.tensor([tokens], device=model.device)).logits[0, -1].float()
    if is_llama_like(model):
        own = Decoder(model)
        if _proved(own, tokens, expected):
            own.release()
            return own
        _log.warning(
            "the fast forward does not reproduce this model; it is served by its own modules, slower"
        )
    through = ThroughModule(model)
    if not _proved(through, tokens, expected):
        raise ModelNotServable("the engine does not reproduce the model's own answers")
    return through


@torch.inference_mode()
def _proved(made: StepModel, tokens: list[int], expected: Tensor) -> bool:
    """Whether the prompt in two chunks and a decoding step give the logits that the model itself gives."""
    cache = Cache(made.cache_shape, _PROBE_TOKENS)
    seat = cache.seat(_PROBE_TOKENS)
    made.adapters.begin_step([])
    for start, end in ((0, 4), (4, len(tokens) - 1)):
        made.forward(
            lay_out(cache.slabs, {}, [Planned(seat, tokens[start:end], False)], made.cache_shape.device)
        )
        seat.length = end
    seat.begin_decoding()
    got = made.forward(lay_out(cache.slabs, {seat: tokens[-1]}, [], made.cache_shape.device))[0].float()
    error = (got - expected).abs().max() / expected.std().clamp_min(1e-6)
    return bool(error < _TOLERANCE.get(made.cache_shape.dtype, 0.3))
