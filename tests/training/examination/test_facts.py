"""Facts: what counts as one, what an answer has of them, and what contradicts."""

from __future__ import annotations

import math

import pytest

from training.examination.facts import contradicts, facts, share_of_facts


def test_numbers_names_and_code_are_facts_and_first_words_of_sentences_are_not() -> None:
    text = "Start with 8 or 16. Call `peft.get_peft_model`; the library PEFT needs 1,5 GB."
    assert facts(text) == {"8", "16", "peft.get_peft_model", "peft", "1.5", "gb"}


def test_the_share_of_facts_leaves_out_what_the_question_says_already() -> None:
    reference = "With LoRA use rank 16 on an RTX card."
    assert share_of_facts(reference, "What rank for LoRA?", "Take 16.") == 0.5
    assert math.isnan(share_of_facts("That is too much.", "Is it?", "Yes."))


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ("Start with rank 8.", "Start with rank 64, always."),
        ("It takes 20 MB of space.", "About 900 MB of space."),
        ("Adapters can be merged into the weights.", "Adapters cannot be merged into the weights."),
        ("Adapter można wtopić w wagi modelu.", "Adaptera nie można wtopić w wagi modelu."),
        ("Zacznij od rangi 8.", "Zacznij od rangi 64."),
    ],
)
def test_another_number_beside_the_same_word_or_a_negation_contradicts(reference: str, answer: str) -> None:
    assert contradicts(reference, answer)


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ("Start with rank 8 or 16.", "Start with rank 8."),
        ("Start with rank 8.", "Nobody knows the 12 apostles of tuning."),
        ("Adapters can be merged.", "No idea, ask in the forum."),
        ("Nie, adaptera nie można wtopić.", "Nie, adaptera nie można wtopić."),
        ("A lamp.", ""),
    ],
)
def test_fewer_numbers_other_subjects_and_the_same_words_do_not(reference: str, answer: str) -> None:
    assert not contradicts(reference, answer)
