"""Identifiers: what an adapter's name may be, and the way back from its label."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback.words import AdapterVersion


@given(st.from_regex(r"[a-z0-9][a-z0-9._-]{0,62}", fullmatch=True), st.integers(1, 999_999_999))
def test_a_label_reads_back_as_what_was_written(name: str, version: int) -> None:
    assert AdapterVersion.parse(str(AdapterVersion(name, version))) == AdapterVersion(name, version)


@pytest.mark.parametrize(
    "label", ["", "support", "support@", "support@0", "support@-1", "@1", "../x@1", "A@1", "a@1 "]
)
def test_what_is_no_label_is_refused(label: str) -> None:
    with pytest.raises(ValueError, match="name@version"):
        AdapterVersion.parse(label)


def test_versions_of_a_name_sort_by_number() -> None:
    assert sorted([AdapterVersion("a", 10), AdapterVersion("a", 9)]) == [
        AdapterVersion("a", 9),
        AdapterVersion("a", 10),
    ]
