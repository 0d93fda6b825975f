"""Reasoning is taken apart from the answer, however the text is cut into pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from training.model.reasoning import Separated, Splitter, answer_of, is_opened_by, separated

SAID = [
    ("<think>\nThey want a product.\n</think>\n\n42.", "42.", "They want a product."),
    ("They want a product.\n</think>\n48.", "48.", "They want a product."),
    ("<|begin_of_thought|>a product<|end_of_thought|> 54.", "54.", "a product"),
    ("\n <thinking>one</thinking>\n<thinking>two</thinking> 6.", "6.", "onetwo"),
    ("<think>", "", ""),
    ("<think>still at it", "", "still at it"),
    ("<think></think>\n\nAt once.", "At once.", ""),
    ("<think>a</think>The tag </think>\n</think> closes it.", "The tag </think>\n</think> closes it.", "a"),
]
PLAIN = [
    "",
    "42.",
    "  indented\n",
    "A model writes <think>…</think> before it answers.",
    "It ends with `</think>`.",
    "Look:\n```\n<think>\nso\n</think>\n```\nThat is all.",
    "<thin ice>",
    "a < b\n</",
]


def in_pieces(text: str, size: int, *, opened: bool = False, cut_off: bool = False) -> Separated:
    splitter = Splitter(opened=opened)
    pieces = [splitter.add(text[at : at + size]) for at in range(0, len(text), size)]
    answer, reasoning = "", ""
    for piece in (*pieces, splitter.rest(cut_off=cut_off)):
        if piece.starts_over:
            answer, reasoning = "", reasoning + answer
        answer += piece.answer
        reasoning += piece.reasoning
    return Separated(answer.strip(), reasoning.strip())


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
@pytest.mark.parametrize(("text", "answer", "reasoning"), SAID)
def test_reasoning_and_answer_are_told_apart(text: str, answer: str, reasoning: str, size: int) -> None:
    assert in_pieces(text, size) == Separated(answer, reasoning)
    assert answer_of(text) == answer


@pytest.mark.parametrize("text", PLAIN)
def test_an_answer_without_reasoning_stays_as_it_is(text: str) -> None:
    assert answer_of(text) == text
    assert separated(text) == Separated(text)


@examples(max_examples=300, deadline=None)
@given(
    parts=st.lists(
        st.sampled_from(["<think>", "</think>", "\n", "<", "</thi", "a", " ", "```", "`", "<thinking>"]),
        max_size=12,
    ),
    size=st.integers(1, 9),
)
def test_the_pieces_in_which_a_text_comes_make_no_difference(parts: list[str], size: int) -> None:
    text = "".join(parts)
    assert in_pieces(text, size) == in_pieces(text, 1000)


def test_what_cannot_be_a_tag_is_not_held_back() -> None:
    splitter = Splitter()
    assert splitter.add("Wa") == Separated(answer="Wa")
    assert splitter.add("ter\n") == Separated(answer="ter\n")
    assert splitter.add("</") == Separated()
    assert splitter.add("b>") == Separated(answer="</b>")


# --- where the prompt has opened the block ---


@pytest.mark.parametrize(
    ("prompt", "opened"),
    [
        ("<|im_start|>assistant\n<think>\n", True),
        ("<|im_start|>assistant\n", False),
        ("<|im_start|>assistant\n<think>\n\n</think>\n\n", False),
    ],
)
def test_a_prompt_that_opens_the_block_is_known(prompt: str, opened: bool) -> None:
    assert is_opened_by(prompt) is opened


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_after_an_opened_block_everything_up_to_the_closing_tag_is_reasoning(size: int) -> None:
    assert in_pieces("A product. </think> 42.", size, opened=True) == Separated("42.", "A product.")


def test_an_opened_block_that_nothing_closed_was_the_answer_unless_the_length_cut_it_off() -> None:
    assert in_pieces("It is 42.", 4, opened=True).answer == "It is 42."
    assert in_pieces("It is 42.", 4, opened=True, cut_off=True).answer == ""
