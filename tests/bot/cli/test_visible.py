"""Texts on a terminal: nothing hides, nothing turns the writing round, and what people see stays as it is."""

from __future__ import annotations

import json

import pytest

from bot.cli.visible import visible, visible_in_json


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Zażółć gęślą jaźń: 🦙 👩‍🔬 🏳️‍🌈 👍🏽\n\tEnd.", "Zażółć gęślą jaźń: 🦙 👩‍🔬 🏳️‍🌈 👍🏽\n\tEnd."),
        ("safe\u202etxt.exe", "safe\\u202etxt.exe"),
        ("\u2066a\u2069", "\\u2066a\\u2069"),
        ("pass\u200bword\ufeff\u2060", "pass\\u200bword\\ufeff\\u2060"),
        ("a\u200db", "a\\u200db"),
        ("one\u2028two", "one\\u2028two"),
        ("\U000e0041", "\\udb40\\udc41"),
        ("\u3164", "\\u3164"),
        ("\x1b[2J\x9b31m\x07", "[2J31m"),
        (7, "7"),
    ],
)
def test_what_hides_or_turns_the_writing_round_is_written_out(text: object, shown: str) -> None:
    assert visible(text) == shown


def test_emoji_whose_parts_come_one_after_the_other_stay_whole() -> None:
    assert visible("👩‍") + visible("🔬") == "👩‍🔬"


def test_json_says_the_same_and_hides_nothing() -> None:
    text = "\u202e\x9b\u200b\U000e0041 żółw 🦙"
    shown = visible_in_json(json.dumps({"a": text}, ensure_ascii=False))
    assert json.loads(shown) == {"a": text}
    assert not any(character in shown for character in "\u202e\x9b\u200b\U000e0041")
    assert "żółw 🦙" in shown
