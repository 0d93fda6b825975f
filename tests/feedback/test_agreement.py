"""Krippendorff's alpha, against the figures that its author published."""

from __future__ import annotations

import pytest

from feedback.agreement import ordinal_alpha

PUBLISHED = (
    "123321412...",
    "1233224125.3",
    ".3332342251.",
    "12332441251.",
)
"""Krippendorff (2011), example C: four observers, twelve units, values 1 to 5, a dot where none was given."""


def test_it_is_the_published_figure_for_the_published_example() -> None:
    units = [[int(row[unit]) for row in PUBLISHED if row[unit] != "."] for unit in range(12)]
    assert ordinal_alpha(units) == pytest.approx(0.815, abs=0.0005)


def test_perfect_agreement_is_one() -> None:
    assert ordinal_alpha([[1, 1], [5, 5, 5], [3, 3]]) == 1


def test_one_step_apart_is_better_than_four() -> None:
    near, far = ordinal_alpha([[1, 2], [3, 3], [5, 4]]), ordinal_alpha([[1, 5], [3, 3], [5, 1]])
    assert near is not None and far is not None and near > 0 > far


def test_systematic_disagreement_is_below_zero() -> None:
    found = ordinal_alpha([[1, 5], [5, 1], [1, 5], [5, 1]])
    assert found is not None and found < 0


@pytest.mark.parametrize("units", [[], [[4]], [[1], [5]], [[3, 3], [3, 3]]])
def test_there_is_none_where_nobody_could_disagree(units: list[list[int]]) -> None:
    assert ordinal_alpha(units) is None
