"""English or Polish, from questions as short and careless as people type them."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from feedback.words import Language
from training.data.language import _identifier, language_of, load_statistics, may_be_in

WITHOUT_POLISH_LETTERS = "Moj pies lubi spacery po lesie"

ENGLISH = [
    "What is LoRA?",
    "why does my loss go up",
    "Is this overfitting?",
    "LoRA vs QLoRA?",
    "What rank?",
    "help me",
    "Do I need a GPU",
    "explain epochs",
    "to be or not to be",
    "Co-training or fine-tuning?",
    "CO2 footprint of a run",
    "KTO or DPO for thumbs?",
    "Is it ok to do LoRA on a Mac?",
]
POLISH = [
    "Czym jest LoRA?",
    "Jak zacząć?",
    "Wyjaśnij epoki",
    "Pokaż kod",
    "MOŻESZ POMÓC?",
]
POLISH_WITHOUT_DIACRITICS = [
    "jak dziala lora",
    "co to token",
    "ile to trwa",
    "Ile VRAM potrzebuje LoRA",
    "czym sie rozni lora od qlora",
    "dlaczego strata rosnie",
    "¿jak trenowac na cpu",
    "mam problem z pamiecia",
    "nie dziala",
    "dziekuje bardzo",
]


@pytest.mark.parametrize("question", ENGLISH)
def test_an_english_question_is_answered_in_english(question: str) -> None:
    assert language_of(question) == "en"


@pytest.mark.parametrize("question", POLISH)
def test_a_polish_question_is_answered_in_polish(question: str) -> None:
    assert language_of(question) == "pl"


@pytest.mark.parametrize("question", POLISH_WITHOUT_DIACRITICS)
def test_a_polish_question_is_recognised_without_its_diacritics(question: str) -> None:
    assert language_of(question) == "pl"


@pytest.mark.parametrize(
    "question",
    ["Who is Lech Wałęsa?", "What does the word żółć mean?", "How do I get to Łódź by train?"],
)
def test_a_polish_name_does_not_make_an_english_question_polish(question: str) -> None:
    assert language_of(question) == "en"


@pytest.mark.parametrize("text", ["GPU", "ok", "😀", "", "12345"])
def test_a_lone_word_says_nothing_and_the_fallback_answers_for_it(text: str) -> None:
    assert (language_of(text), language_of(text, "pl")) == ("en", "pl")


def test_a_lone_word_with_a_polish_letter_is_polish() -> None:
    assert language_of("dzień") == "pl"


def test_a_temporary_folder_without_room_costs_the_statistics_and_no_question(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "not there"))
    _identifier.cache_clear()
    assert language_of(WITHOUT_POLISH_LETTERS) == "en"
    monkeypatch.undo()
    assert language_of(WITHOUT_POLISH_LETTERS) == "pl"


def test_what_was_loaded_at_the_start_needs_no_room_later(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _identifier.cache_clear()
    load_statistics()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "not there"))
    assert language_of(WITHOUT_POLISH_LETTERS) == "pl"


@pytest.mark.parametrize(
    ("language", "text", "may"),
    [
        ("en", "Barack Obama", True),
        ("pl", "Barack Obama", True),
        ("en", "Vitamin D", True),
        ("en", "Żółw błotny", False),
        ("en", "Dlaczego nie?", False),
        ("pl", "The model is larger than the memory of the card.", False),
        ("en", "The model is larger than the memory of the card.", True),
    ],
)
def test_a_few_words_that_could_be_of_either_language_are_held_against_nobody(
    language: Language, text: str, may: bool
) -> None:
    assert may_be_in(language, text) is may
