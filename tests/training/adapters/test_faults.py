"""Which faults of an adapter's answers are its own, and which are chance or usual."""

from __future__ import annotations

import pytest

from feedback.text import Text
from training.adapters.faults import Given, fault

SANE = Given("It is in the shed, behind the ferns.", "en", seconds=4.0)
EMPTY = Given("", "en")
SLOW = Given("It is in the shed, behind the ferns.", "en", seconds=9.0)


def told(found: Text | None) -> str:
    """A fault in English."""
    return found.en if found is not None else ""


def test_answers_twice_as_slow_as_its_predecessors_are_a_fault() -> None:
    assert "is slow: 8 of its last 10" in told(fault([SLOW] * 8 + [SANE] * 2, [SANE] * 20))


def test_where_times_cannot_be_compared_nothing_is_slow() -> None:
    assert fault([SLOW] * 10, [Given(SANE.text, "en")] * 20) is None


@pytest.mark.parametrize(
    ("newest", "before"),
    [
        ([EMPTY] * 5 + [SANE] * 5, [EMPTY] * 10 + [SANE] * 30),  # every fourth of its predecessor's is empty
        ([EMPTY] * 4 + [SANE] * 6, [SANE] * 40),  # too few
        ([EMPTY] * 5 + [SANE] * 5, [SANE] * 5),  # too little to compare with
        ([EMPTY] * 10, [SANE] * 4),
    ],
)
def test_what_may_be_chance_is_no_fault(newest: list[Given], before: list[Given]) -> None:
    assert fault(newest, before) is None


def test_what_chance_hardly_explains_is_one() -> None:
    assert "empty answers" in told(fault([EMPTY] * 5 + [SANE] * 5, [SANE] * 40))
