"""Long answers arrive whole, and no message of them looks broken."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.chat.splitting import split

LIMIT = 200
FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})", re.MULTILINE)


def without_seams(messages: list[str]) -> str:
    """What was said, without white space and fences, which splitting may add."""
    return re.sub(r"`{3,}\w*|\s", "", "\n".join(messages))


paragraphs = st.lists(
    st.one_of(
        st.text(alphabet="abcżółć .,!?😀", min_size=1, max_size=500),
        st.lists(st.sampled_from(["x = 1", "def f():", "    return 2", ""]), min_size=1, max_size=60).map(
            lambda lines: "```python\n" + "\n".join(lines) + "\n```"
        ),
        st.integers(1, 60).map(lambda n: f"See [the paper](https://example.org/{'a' * n}) for more."),
    ),
    min_size=1,
    max_size=8,
).map("\n\n".join)


@given(paragraphs)
def test_every_message_fits_is_not_empty_and_nothing_is_lost(text: str) -> None:
    messages = split(text, LIMIT)
    assert all(0 < len(message) <= LIMIT and message.strip() for message in messages)
    assert without_seams(messages) == without_seams([text])


@given(paragraphs)
def test_every_code_block_that_a_message_opens_it_closes(text: str) -> None:
    for message in split(text, LIMIT):
        assert len(FENCE.findall(message)) % 2 == 0


@given(st.text(max_size=2000), st.integers(100, 300))
def test_whatever_a_model_writes_fits(text: str, limit: int) -> None:
    messages = split(text, limit)
    assert all(len(message) <= limit and message.strip() for message in messages)
    assert bool(messages) == bool(text.strip())


def test_a_short_answer_is_one_message() -> None:
    assert split("Yes.\n\nBecause.", LIMIT) == ["Yes.\n\nBecause."]


def test_it_splits_between_paragraphs_where_it_can() -> None:
    first, second = "one " * 30, "two " * 30
    assert split(f"{first}\n\n{second}", LIMIT) == [first.strip(), second.strip()]


def test_a_code_block_goes_on_in_the_next_message_with_its_language() -> None:
    code = "\n".join(f"line_{n} = {n}" for n in range(30))
    messages = split(f"Look:\n\n```python\n{code}\n```\n\nThat is all.", LIMIT)
    inside = [message for message in messages if "line_" in message]
    assert len(inside) > 1
    assert all("```python\n" in message and message.count("```") % 2 == 0 for message in inside)
    assert "That is all." in messages[-1]


def test_a_code_blocks_indentation_survives_the_seam() -> None:
    body = "\n".join(f"    step_{n}()" for n in range(40))
    messages = split(f"```python\ndef f():\n{body}\n```", LIMIT)
    lines = [line for message in messages for line in message.split("\n") if "step_" in line]
    assert lines == body.split("\n")


@pytest.mark.parametrize("link", ["https://example.org/" + "x" * 90, "[name](https://example.org/a_b)"])
def test_a_link_is_never_cut(link: str) -> None:
    for lead in range(100, 199):
        assert any(link in message for message in split("w" * lead + " " + link + " after " * 20, LIMIT))


def test_an_accent_stays_with_its_letter() -> None:
    messages = split("e\u0301" * 300, LIMIT)
    assert all(not message.startswith("\u0301") for message in messages)
