"""Buttons mean the same after weeks and on every platform."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.chat.button_codes import MOST_BYTES, Action, ButtonCode


@given(
    st.sampled_from(get_args(Action)),
    st.integers(0, 10**15),
    st.text(alphabet="abcXYZ019@._-", max_size=20),
)
def test_a_code_comes_back_as_it_was_and_fits_telegram(action: Action, subject: int, detail: str) -> None:
    about_adapter = action == "switch"
    code = ButtonCode(
        action,
        turn_id=0 if about_adapter else subject,
        detail=detail,
        adapter_id=subject if about_adapter else None,
    )
    assert len(str(code).encode()) <= MOST_BYTES
    assert ButtonCode.parse(str(code)) == code


def test_a_code_keeps_its_form_so_that_old_buttons_work() -> None:
    assert ButtonCode.parse("tl1:up:42") == ButtonCode("up", 42)
    assert ButtonCode.parse("tl1:reason:42:tone") == ButtonCode("reason", 42, "tone")


def test_a_button_sent_when_adapters_stood_in_the_place_of_turns_still_switches() -> None:
    assert ButtonCode.parse("tl1:switch:7") == ButtonCode("switch", adapter_id=7)
    assert ButtonCode.parse("tl1:switch:0") == ButtonCode("switch", adapter_id=0)
    assert ButtonCode.parse("tl1:switch:a7") == ButtonCode("switch", adapter_id=7)


@pytest.mark.parametrize("foreign", ["", "tl1:explode:4", "tl2:up:4", "tl1:up:-4", "tl1:up:4:ż", "poll:1"])
def test_what_is_not_ours_is_none(foreign: str) -> None:
    assert ButtonCode.parse(foreign) is None


def test_a_detail_that_no_button_can_carry_is_refused_when_the_button_is_made() -> None:
    with pytest.raises(ValueError, match="no button code"):
        str(ButtonCode("switch", 1, "name with spaces"))
