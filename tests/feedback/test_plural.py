"""Numbers with their nouns, in English and Polish."""

from __future__ import annotations

import pytest

from feedback.plural import counted


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0, "0 pairs"), (1, "1 pair"), (2, "2 pairs"), (21, "21 pairs"), (2000, "2,000 pairs")],
)
def test_english_has_one_form_for_one_and_one_for_the_rest(number: int, expected: str) -> None:
    assert counted(number, "pair") == counted(number, "pair", "pairs") == expected


@pytest.mark.parametrize(
    ("number", "form"),
    [
        (1, "para"),
        *((number, "pary") for number in (2, 4, 22, 104)),
        *((number, "par") for number in (0, 5, 12, 14, 21, 112, 1000)),
    ],
)
def test_polish_has_three(number: int, form: str) -> None:
    assert counted(number, "para", "pary", "par") == f"{number:,} {form}".replace(",", "\N{NO-BREAK SPACE}")
