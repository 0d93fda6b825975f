"""Whether a question was asked before in these words, and whether anything answers it."""

from __future__ import annotations

import pytest

from bot.knowledge.fit import asked_before, fits, sameness
from bot.knowledge.knowledge import Source


def source(question: str, text: str = "So.", language: str = "en", cosine: float | None = None) -> Source:
    return Source(1, "approved", text, "hash", 1.0, cosine=cosine, question=question, language=language)


@pytest.mark.parametrize(
    ("asked", "known", "language"),
    [
        ("which rank should I take", "Which rank should I take?", "en"),
        ("Which ranks should I take?!", "Which rank should I take?", "en"),
        ("jakie sa zasady spolecznosci", "Jakie są zasady społeczności?", "pl"),
    ],
)
def test_case_marks_endings_and_letters_make_no_other_question(asked: str, known: str, language: str) -> None:
    assert sameness(asked, source(known, language=language)) == 1.0


@pytest.mark.parametrize(
    ("asked", "known"),
    [
        ("Does rank 8 fit into memory?", "Does rank 16 fit into memory?"),
        ("Why does it not train on my card?", "Why does it train on my card?"),
        ("Why doesn't it train on my card", "Why does it train on my card"),
        ("Czy nie warto łączyć adapterów?", "Czy warto łączyć adapterów?"),
    ],
)
def test_another_number_or_a_negation_is_another_question(asked: str, known: str) -> None:
    assert sameness(asked, source(known)) == 0.0


def test_the_threshold_says_how_alike_words_must_be() -> None:
    known = source("Which rank should I take for a small model?")
    asked = "Which rank should I take for a large model?"
    assert asked_before(asked, [known], 0.95) is None
    assert asked_before(asked, [known], 0.8) is known
    assert asked_before(asked, [], 0.8) is None


def test_a_piece_of_a_document_is_never_the_approved_text() -> None:
    piece = Source(1, "document", "Which rank?", "hash", 1.0)
    assert asked_before("Which rank?", [piece], 0.5) is None


def test_a_source_fits_by_its_vector_or_without_one_by_the_words_it_shares() -> None:
    assert fits("What rank?", "en", [source("Which alpha?", cosine=0.4)], 0.3)
    assert not fits("What rank?", "en", [source("Which alpha?", cosine=0.2)], 0.3)
    assert fits("What rank?", "en", [source("Which rank?")], 0.3)
    assert not fits("What rank?", "en", [source("Who moderates?")], 0.3)
    assert not fits("What rank?", "en", [], 0.3)
