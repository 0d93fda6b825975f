"""What a question asks for and what a pair is, by rules over words in English and Polish."""

from __future__ import annotations

import pytest

from feedback.words import MODES, Mode, TaskType
from training.data import abstention, unanswerable
from training.data.task_types import asked_for, of_pair
from training.model import personas


@pytest.mark.parametrize(
    ("question", "wanted"),
    [
        ("What is LoRA?", "qa"),
        ("Write a Python function that merges an adapter.", "code"),
        ("give me the nf4 loading code", "code"),
        ("How would I do that in Python?", "code"),
        ("Napisz skrypt, który łączy adaptery.", "code"),
        ("Pokaż kod ładujący model.", "code"),
        ("Is there a checklist before training?", "checklist"),
        ("Potrzebuję listy kontrolnej przed wdrożeniem.", "checklist"),
        ("Why does B start at zero?", "explanation"),
        ("Can someone explain rank to me?", "explanation"),
        ("Dlaczego strata rośnie?", "explanation"),
        ("Na czym polega kwantyzacja?", "explanation"),
        ("Who wrote the code of conduct?", "qa"),
        ("Jaki jest domyślny kod wyjścia?", "qa"),
    ],
)
def test_what_a_question_asks_for(question: str, wanted: TaskType) -> None:
    assert asked_for(question, "default") == wanted


@pytest.mark.parametrize(
    ("mode", "wanted"),
    [("code", "code"), ("checklist", "checklist"), ("deep-dive", "explanation"), ("tldr", "qa")],
)
def test_a_chosen_mode_outweighs_the_words(mode: Mode, wanted: TaskType) -> None:
    assert asked_for("What is LoRA?", mode) == wanted


@pytest.mark.parametrize(
    ("question", "answer", "wanted"),
    [
        ("What is LoRA?", "A cheap way to fine-tune.", "qa"),
        ("How do I load it?", "Like this:\n```python\nload()\n```", "code"),
        ("What should I check?", "- the data\n- the rank\n- the loss", "checklist"),
        ("Co sprawdzić?", "1. dane\n2. rangę\n3. stratę", "checklist"),
        ("Why is it slow?", "- the data\n- the rank\n- the loss", "explanation"),
        ("What is LoRA?", "word " * 80, "explanation"),
        ("How many has she?", f"We don't know her number yet. {'Let it be x. ' * 20}", "explanation"),
        ("Who wins tomorrow?", "I do not know; ask again tomorrow.", "not-knowing"),
        ("Kto wygra jutro?", "Nie wiem, to się dopiero okaże.", "not-knowing"),
    ],
)
def test_what_a_pair_is(question: str, answer: str, wanted: TaskType) -> None:
    assert of_pair(question, answer, "default") == wanted


def test_a_plain_question_is_told_nothing_more_in_any_mode() -> None:
    for mode in MODES:
        told = personas.system_text("plain", mode, "en", "qa")
        assert told == personas.system_text("plain", mode, "en")
    assert personas.system_text("plain", "default", "en", "qa") == personas.PERSONAS["plain"]


def test_a_question_for_code_says_so_in_the_prompt_unless_a_mode_says_it() -> None:
    plain = personas.system_text("plain", "default", "pl", "qa")
    coded = personas.system_text("plain", "default", "pl", "code")
    assert "fenced block" in coded and coded != plain
    assert personas.system_text("plain", "tldr", "pl", "code") == personas.system_text("plain", "tldr", "pl")


def test_every_packaged_example_says_that_it_does_not_know_and_both_languages_have_as_many() -> None:
    packaged = unanswerable.packaged()
    assert len(packaged) == 30
    assert sum(pair.language == "pl" for pair in packaged) == 15
    assert all(abstention.is_abstention(pair.output) for pair in packaged)
    assert len({(pair.lineage or {})["packaged"] for pair in packaged}) == 30
