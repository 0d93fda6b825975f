"""Tokens to text: whole characters only, nothing lost, nothing from a stop string on."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from bot.answering.engine.text import Detokenizer, StopStrings

texts = st.text(
    alphabet=st.one_of(
        st.sampled_from("ąćęłńóśźżĄĆĘŁŃÓŚŹŻ"),
        st.sampled_from(["🙂", "👩‍👩‍👧", "🇵🇱", "👍🏽", "é", "漢"]).flatmap(
            lambda s: st.sampled_from(list(s))
        ),
        st.characters(min_codepoint=32, max_codepoint=126),
        st.sampled_from("\n\t  "),
    ),
    max_size=40,
)


def pieces(tokenizer: PreTrainedTokenizerFast, tokens: list[int]) -> list[str]:
    detokenizer = Detokenizer(tokenizer)
    return [*(detokenizer.add(token) for token in tokens), detokenizer.flush()]


@settings(max_examples=150, deadline=None)
@given(text=texts)
def test_byte_by_byte_every_piece_is_whole_characters_and_together_they_are_the_text(
    text: str, tokenizer: PreTrainedTokenizerFast
) -> None:
    got = pieces(tokenizer, tokenizer(text, add_special_tokens=False)["input_ids"])
    assert "".join(got) == text
    assert not any("\ufffd" in piece for piece in got)


def test_each_character_comes_with_its_last_byte(tokenizer: PreTrainedTokenizerFast) -> None:
    tokens = tokenizer("ż🙂a", add_special_tokens=False)["input_ids"]
    assert pieces(tokenizer, tokens) == ["", "ż", "", "", "", "🙂", "a", ""]


@settings(max_examples=100, deadline=None)
@given(tokens=st.lists(st.integers(0, 258), max_size=30))
def test_any_tokens_at_all_are_told_as_the_tokenizer_decodes_them(
    tokens: list[int], tokenizer: PreTrainedTokenizerFast
) -> None:
    whole = tokenizer.decode(tokens, skip_special_tokens=True)
    assert "".join(pieces(tokenizer, tokens)) == whole.rstrip("\ufffd")


def test_an_answer_cut_off_inside_a_character_drops_the_half(tokenizer: PreTrainedTokenizerFast) -> None:
    tokens = tokenizer("ok🙂", add_special_tokens=False)["input_ids"][:-1]
    assert "".join(pieces(tokenizer, tokens)) == "ok"


@given(text=texts, cuts=st.lists(st.integers(0, 60), max_size=10), stops=st.lists(texts, max_size=3))
def test_stop_strings_split_in_any_way_end_the_answer_before_the_first_of_them(
    text: str, cuts: list[int], stops: list[str]
) -> None:
    _check_stops(text, cuts, stops)


@given(
    text=st.text("ab\n", max_size=30),
    cuts=st.lists(st.integers(0, 30), max_size=12),
    stops=st.lists(st.text("ab\n", min_size=1, max_size=4), min_size=1, max_size=3),
)
def test_stop_strings_that_nearly_match_hold_nothing_back_for_good(
    text: str, cuts: list[int], stops: list[str]
) -> None:
    _check_stops(text, cuts, stops)


def _check_stops(text: str, cuts: list[int], stops: list[str]) -> None:
    watcher = StopStrings(stops)
    bounds = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    said = ""
    shown = 0
    for start, end in pairwise(bounds):
        said += watcher.add(text[start:end])
        shown = end
        if watcher.hit:
            break
    found = [at for stop in stops if stop and (at := text[:shown].find(stop)) >= 0]
    assert watcher.hit == bool(found)
    assert said + watcher.flush() == (text[: min(found)] if found else text)
    assert not any(stop and stop in said for stop in stops)


def test_only_what_may_become_a_stop_string_is_held_back() -> None:
    watcher = StopStrings(["User:"])
    assert [watcher.add(text) for text in ("Hi", " U", "se", "d. Us", "er", ":x")] == [
        "Hi",
        " ",
        "",
        "Used. ",
        "",
        "",
    ]
    assert watcher.hit


@pytest.fixture(scope="module")
def default_tokenizer(default_model_folder: Path) -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(default_model_folder)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(text=texts)
def test_the_default_models_own_tokens_are_told_whole(
    text: str, default_tokenizer: PreTrainedTokenizerFast
) -> None:
    tokens = default_tokenizer(text, add_special_tokens=False)["input_ids"]
    assert "".join(pieces(default_tokenizer, tokens)) == text
