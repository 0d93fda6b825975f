"""Choosing tokens: what is drawn follows the model's distribution under temperature, top-p and penalty."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import RepetitionPenaltyLogitsProcessor, TopPLogitsWarper

from bot.answering.answerer import Sampling
from bot.answering.engine.sampling import Sampler, sample_all

PEAKED = torch.tensor([0.5, 0.25, 0.15, 0.07, 0.03]).log()


def drawn(sampling: Sampling, logits: torch.Tensor, times: int) -> Counter[int]:
    sampler = Sampler(sampling, [])
    return Counter(sampler.sample(logits) for _ in range(times))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_are_drawn_as_often_as_the_model_says(temperature: float) -> None:
    times = 4000
    counts = drawn(Sampling(temperature=temperature, seed=1), PEAKED, times)
    expected = torch.softmax(PEAKED / temperature, 0)
    for token, share in enumerate(expected.tolist()):
        assert counts[token] / times == pytest.approx(share, abs=4 * (share * (1 - share) / times) ** 0.5)


@pytest.mark.parametrize(("top_p", "kept"), [(0.4, 1), (0.5, 1), (0.6, 2), (0.9, 3), (0.93, 4), (1.0, 5)])
def test_top_p_keeps_the_fewest_tokens_that_reach_it_in_their_proportions(top_p: float, kept: int) -> None:
    times = 3000
    counts = drawn(Sampling(temperature=1.0, top_p=top_p, seed=2), PEAKED, times)
    assert set(counts) == set(range(kept))
    shares = PEAKED.exp()[:kept] / PEAKED.exp()[:kept].sum()
    for token, share in enumerate(shares.tolist()):
        assert counts[token] / times == pytest.approx(share, abs=5 * (share * (1 - share) / times) ** 0.5)


@given(
    logits=st.lists(st.floats(-8, 8, width=32), min_size=2, max_size=600),
    top_p=st.floats(0.05, 1.0),
    temperature=st.floats(0.2, 3.0),
    seed=st.integers(0, 2**31),
)
def test_nothing_is_drawn_that_transformers_would_have_cut_off(
    logits: list[float], top_p: float, temperature: float, seed: int
) -> None:
    scores = torch.tensor(logits)
    allowed = TopPLogitsWarper(top_p)(
        torch.zeros(1, 0, dtype=torch.long), scores[None].double() / temperature
    )
    token = Sampler(Sampling(temperature=temperature, top_p=top_p, seed=seed), []).sample(scores)
    least = scores[allowed[0] > -float("inf")].min()
    assert scores[token] >= least - 1e-3


def test_a_flat_distribution_is_drawn_from_whole_although_top_p_is_set() -> None:
    counts = drawn(Sampling(temperature=1.0, top_p=0.95, seed=3), torch.zeros(1000), 3000)
    assert len(counts) > 800


def test_the_same_seed_draws_the_same_and_another_draws_another() -> None:
    def answer(seed: int | None) -> list[int]:
        sampler = Sampler(Sampling(temperature=1.0, seed=seed), [])
        return [sampler.sample(torch.zeros(50)) for _ in range(20)]

    assert answer(7) == answer(7)
    assert answer(7) != answer(8)
    assert answer(None) != answer(None)


def test_what_a_row_draws_does_not_depend_on_its_neighbours() -> None:
    logits = torch.randn(4, 100, generator=torch.Generator().manual_seed(0))
    own = Sampling(temperature=1.0, seed=5)
    alone = sample_all([Sampler(own, [])], logits[2:3])
    others = [Sampler(Sampling(temperature=2.0, seed=n), []) for n in range(3)]
    crowded = sample_all([others[0], others[1], Sampler(own, []), others[2]], logits)
    assert crowded[2] == alone[0]


@given(
    logits=st.lists(st.floats(-5, 5, width=32), min_size=4, max_size=20),
    said=st.lists(st.integers(0, 3), min_size=1, max_size=6),
    penalty=st.floats(0.5, 3.0),
)
def test_the_repetition_penalty_is_that_of_transformers_over_prompt_and_answer(
    logits: list[float], said: list[int], penalty: float
) -> None:
    scores = torch.tensor(logits)
    sampler = Sampler(Sampling(repetition_penalty=penalty), said)
    for _ in range(3):
        expected = RepetitionPenaltyLogitsProcessor(penalty)(torch.tensor([said]), scores[None].clone())[0]
        token = sampler.sample(scores)
        assert expected[token] == expected.max()
        said = [*said, token]


def test_temperature_zero_is_greedy() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0], [3.0, 2.0, 1.0]], dtype=torch.bfloat16)
    assert sample_all([Sampler(Sampling(), []), Sampler(Sampling(), [])], logits) == [1, 0]
