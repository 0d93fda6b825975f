"""Which steps are replayed, and that what is replayed computes the same; replaying itself needs a GPU.

On a GPU every test of the engine goes through the graphs (`pytest -k cuda`).
"""

from __future__ import annotations

import torch

from bot.answering.engine.batch import Batch, PrefillChunk, build_batch
from bot.answering.engine.cache import Cache, Slot
from bot.answering.engine.decoder import Decoder
from bot.answering.engine.graphs import decode_groups, static_copy
from tests.bot.answering.conftest import tiny_llama

CPU = torch.device("cpu")


def answers_under_way(decoder: Decoder, cache: Cache, *lengths: int) -> list[Slot]:
    """Answers whose prompts have these lengths, each ready for its first token."""
    slots = [cache.allocate(length + 200) for length in lengths]
    for slot, length in zip(slots, lengths, strict=True):
        decoder.forward(build_batch(cache.slabs, {}, [PrefillChunk(slot, range(3, 3 + length), True)], CPU))
        slot.length = length
    for slot in slots:
        slot.begin_decoding()
    return slots


def test_a_step_that_is_filled_in_again_gives_the_logits_of_the_step_computed_anew() -> None:
    decoder = Decoder(tiny_llama())
    cache = Cache(decoder.cache_shape, 512)
    slots = answers_under_way(decoder, cache, 5, 40, 126)
    static: Batch | None = None
    with torch.inference_mode():
        for step in range(6):  # at the third the longest answer is longer than a recorded step reaches
            batch = build_batch(
                cache.slabs, {slot: 20 + 7 * step + i for i, slot in enumerate(slots)}, [], CPU
            )
            expected = decoder.forward(batch)
            groups = decode_groups(batch)
            assert groups is not None
            if static is None or step == 2:
                static = static_copy(batch, groups)
            static.tokens.copy_(batch.tokens)
            static.positions.copy_(batch.positions)
            for group in static.groups:
                group.masks.clear()  # as a graph does: it holds the making of the mask, too
            torch.testing.assert_close(decoder.forward(static), expected, atol=1e-5, rtol=1e-5)
            for slot in slots:
                slot.length += 1


def test_a_step_with_a_prompt_is_computed_call_by_call() -> None:
    decoder = Decoder(tiny_llama())
    cache = Cache(decoder.cache_shape, 512)
    (slot,) = answers_under_way(decoder, cache, 5)
    asked = cache.allocate(100)
    with_prompt = build_batch(cache.slabs, {slot: 9}, [PrefillChunk(asked, [4, 5, 6], True)], CPU)
    assert decode_groups(with_prompt) is None
    with_its_first_part = build_batch(cache.slabs, {slot: 9}, [PrefillChunk(asked, [4], False)], CPU)
    assert decode_groups(with_its_first_part) is None
    assert decode_groups(build_batch(cache.slabs, {slot: 9}, [], CPU)) is not None
