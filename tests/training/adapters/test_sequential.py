"""The test that may be looked at after every vote errs as seldom as it says, and finds what is there."""

from __future__ import annotations

import numpy as np
import pytest

from training.adapters import sequential

ALPHA = 0.05


def _ever_sure(
    canary: float, predecessor: float, votes: int, communities: int, seed: int
) -> dict[str, float]:
    """The share of communities, looked at after each vote, where the canary ever counts as better, worse."""
    draw = np.random.default_rng(seed)
    differences = (draw.random((communities, votes)) < canary).astype(float) - (
        draw.random((communities, votes)) < predecessor
    )
    surely = np.log(1 / ALPHA)
    return {
        name: float((sequential.log_capital(differences, 0.0, direction).max(axis=1) >= surely).mean())
        for name, direction in (("better", "more"), ("worse", "less"))
    }


@pytest.mark.parametrize("approval", [0.1, 0.5, 0.9])
def test_of_two_adapters_that_are_liked_alike_neither_is_called_better_more_often_than_promised(
    approval: float,
) -> None:
    sure = _ever_sure(approval, approval, votes=1500, communities=400, seed=1)
    assert sure["better"] <= ALPHA + 0.02 and sure["worse"] <= ALPHA + 0.02


def test_one_that_is_liked_much_less_is_found_out_and_never_called_better() -> None:
    sure = _ever_sure(0.45, 0.65, votes=400, communities=200, seed=2)
    assert sure["worse"] > 0.95 and sure["better"] <= 0.01


def test_the_bounds_hold_the_true_difference_at_every_look_and_close_in_on_it() -> None:
    draw = np.random.default_rng(3)
    differences = (draw.random(1500) < 0.7).astype(float) - (draw.random(1500) < 0.6)
    looks = [sequential.difference(differences[:number], ALPHA) for number in (20, 100, 400, 1500)]
    assert all(look.lower <= 0.1 <= look.upper for look in looks)
    widths = [look.upper - look.lower for look in looks]
    assert widths == sorted(widths, reverse=True) and widths[-1] < 0.2


def test_what_was_sure_once_stays_sure() -> None:
    good, bad = np.full(40, 0.5), np.full(200, -0.02)
    sure = sequential.difference(good, ALPHA).lower
    assert sure > 0 and sequential.difference(np.concatenate([good, bad]), ALPHA).lower >= sure


def test_without_votes_nothing_is_known() -> None:
    found = sequential.difference(sequential.blocks([1.0, 0.0], [], 0.5), ALPHA)
    assert (found.lower, found.upper, found.blocks) == (-1.0, 1.0, 0)


def test_a_canary_of_a_fifth_is_held_against_four_of_its_predecessor() -> None:
    assert sequential.blocks([1.0, 0.0], [1, 1, 0, 0, 1, 1, 1, 1, 0], 0.2).tolist() == [0.5, -1.0]
    assert sequential.blocks([1, 1, 0, 0], [0.0, 1.0], 0.8).tolist() == [0.5]
    assert sequential.blocks([1, 0], [0, 0, 1], 0.5).tolist() == [1.0, 0.0]
