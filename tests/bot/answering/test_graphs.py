"""Which steps are replayed, and that what is replayed computes the same; replaying itself needs a GPU.

On a GPU every test of the engine goes through the graphs (`pytest -k cuda`).
"""

from __future__ import annotations

import torch

from bot.answering.engine.batch import Batch, Planned, lay_out
from bot.answering.engine.cache import Cache, Seat
from bot.answering.engine.decoder import Decoder
from bot.answering.engine.graphs import refillable, steady_groups
from tests.bot.answering.conftest import tiny_llama

CPU = torch.device("cpu")


def answers_under_way(decoder: Decoder, cache: Cache, *lengths: int) -> list[Seat]:
    """Answers whose prompts have these lengths, each ready for its first token."""
    seats = [cache.seat(length + 200) for length in lengths]
    for seat, length in zip(seats, lengths, strict=True):
        decoder.forward(lay_out(cache.slabs, {}, [Planned(seat, range(3, 3 + length), True)], CPU))
        seat.length = length
    for seat in seats:
        seat.begin_decoding()
    return seats


def test_a_step_that_is_filled_in_again_gives_the_logits_of_the_step_computed_anew() -> None:
    decoder = Decoder(tiny_llama())
    cache = Cache(decoder.cache_shape, 512)
    seats = answers_under_way(decoder, cache, 5, 40, 126)
    still: Batch | None = None
    with torch.inference_mode():
        for step in range(6):  # at the third the longest answer is longer than a recorded step reaches
            batch = lay_out(cache.slabs, {seat: 20 + 7 * step + i for i, seat in enumerate(seats)}, [], CPU)
            expected = decoder.forward(batch)
            steady = steady_groups(batch)
            assert steady is not None
            if still is None or step == 2:
                still = refillable(batch, steady)
            still.tokens.copy_(batch.tokens)
            still.positions.copy_(batch.positions)
            for group in still.groups:
                group.masks.clear()  # as a graph does: it holds the making of the mask, too
            torch.testing.assert_close(decoder.forward(still), expected, atol=1e-5, rtol=1e-5)
            for seat in seats:
                seat.length += 1


def test_a_step_with_a_prompt_is_computed_call_by_call() -> None:
    decoder = Decoder(tiny_llama())
    cache = Cache(decoder.cache_shape, 512)
    (seat,) = answers_under_way(decoder, cache, 5)
    asked = cache.seat(100)
    with_prompt = lay_out(cache.slabs, {seat: 9}, [Planned(asked, [4, 5, 6], True)], CPU)
    assert steady_groups(with_prompt) is None
    with_its_first_part = lay_out(cache.slabs, {seat: 9}, [Planned(asked, [4], False)], CPU)
    assert steady_groups(with_its_first_part) is None
    assert steady_groups(lay_out(cache.slabs, {seat: 9}, [], CPU)) is not None
