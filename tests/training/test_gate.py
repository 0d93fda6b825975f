"""The verdict: a candidate serves only when figures say that it is better."""

from __future__ import annotations

import math

import pytest

from training.gate import verdict


def _loss(value: float) -> dict[str, float]:
    return {"loss": value}


def test_a_candidate_better_than_base_and_current_is_promoted() -> None:
    found = verdict(_loss(4.5), _loss(2.0), _loss(1.3))
    assert found.promote
    assert "1.300 against 2.000" in str(found) and "1.300 against 4.500" in str(found)


def test_without_an_adapter_in_service_the_base_is_the_only_rival() -> None:
    assert verdict(_loss(4.5), None, _loss(1.3)).promote


@pytest.mark.parametrize(
    ("base", "current", "candidate"),
    [(4.5, None, 4.6), (4.5, 2.0, 2.1), (1.0, 2.0, 1.5), (4.5, None, 4.5), (4.5, 2.0, 2.0)],
    ids=["worse than base", "worse than current", "between both", "as good as base", "as good as current"],
)
def test_a_candidate_that_is_not_better_than_both_is_held(
    base: float, current: float | None, candidate: float
) -> None:
    found = verdict(_loss(base), None if current is None else _loss(current), _loss(candidate))
    assert not found.promote
    assert "is not below" in str(found)


@pytest.mark.parametrize("missing", [{}, _loss(math.nan), _loss(math.inf), _loss(-math.inf)])
def test_a_figure_that_is_missing_or_no_number_holds_whoever_it_is_of(missing: dict[str, float]) -> None:
    assert not verdict(_loss(4.5), _loss(2.0), missing).promote
    assert not verdict(missing, None, _loss(1.0)).promote
    assert not verdict(_loss(4.5), missing, _loss(1.0)).promote


def test_a_held_candidate_hears_only_what_speaks_against_it() -> None:
    found = verdict(_loss(4.5), _loss(1.0), _loss(2.0))
    assert len(found.reasons) == 1 and "adapter in service" in found.reasons[0]
    assert str(found).startswith("Held: ")
