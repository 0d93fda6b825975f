"""Symptoms: each is named by its signs, with the figures, and a healthy run has none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from training.examination import symptoms
from training.examination.comparisons import WATCHED, Comparison, Figures, compare
from training.examination.metrics import METRICS
from training.examination.results import Answer, Examined
from training.examination.symptoms import Symptom
from training.settings import GateSettings

WORDS = ["red", "blue", "green", "old", "new", "small", "large", "heavy", "bright", "quiet"]
APPROVED = [
    f"A {word} lamp shines in the {word} room" + " and goes on" * (index % 4)
    for index, word in enumerate(WORDS)
]
HEALTHY: dict[str, Any] = {
    "curve": [
        {"step": 1, "loss": 4.0},
        {"step": 5, "validation_loss": 3.0},
        {"step": 6, "loss": 2.0},
        {"step": 10, "validation_loss": 2.5},
        {"step": 11, "loss": 1.5},
    ]
}
RISING: dict[str, Any] = {
    "curve": [*HEALTHY["curve"], {"step": 15, "validation_loss": 3.2}, {"step": 16, "loss": 0.2}]
}


def _subject(name: Any, answers: list[str] | None = None, **given: float) -> Examined:
    """A subject with fine figures, unless given others, and the approved answers, unless it said others."""
    fine = dict.fromkeys(METRICS, 0.0) | {
        "loss": 2.0,
        "distinct_2": 0.8,
        "overlap": 0.5,
        "language_match": 1.0,
        "not_knowing": 0.5,
        "general_loss": 3.0,
    }
    said = answers or APPROVED
    kept = [Answer("?", reference, answer, 1.0) for reference, answer in zip(APPROVED, said, strict=True)]
    return Examined(name, fine | given, kept)


BASE = _subject("base", loss=4.0)


def _compared(base: Examined, candidate: Examined) -> list[Comparison]:
    """What the gate finds where every question has the mean."""
    figures = {
        one.subject: Figures(one.metrics, {metric: [one.metrics[metric]] * 10 for metric in WATCHED})
        for one in (base, candidate)
    }
    return compare(figures, GateSettings())


def find(trained: dict[str, Any], base: Examined, candidate: Examined) -> list[Symptom]:
    return symptoms.find(trained, _compared(base, candidate), base, candidate)


def _names(found: list[Symptom]) -> list[str]:
    return [symptom.name for symptom in found]


def test_a_healthy_run_has_no_symptom() -> None:
    assert find(HEALTHY, BASE, _subject("candidate")) == []


def test_a_validation_loss_that_rises_alone_is_what_early_stopping_is_for() -> None:
    assert find(RISING, BASE, _subject("candidate")) == []


def test_rising_validation_and_recited_training_text_is_overfitting() -> None:
    found = find(RISING, BASE, _subject("candidate", memorisation=0.4))
    assert _names(found) == ["overfitting"]
    assert "validation loss rose from 2.500 at step 10 to 3.200" in str(found[0].figures[0])
    assert "training loss fell from 2.000 to 0.200" in str(found[0].figures[0])
    assert "0 % to 40 %" in str(found[0].figures[1]) and "training.epochs" in found[0].remedy


def test_the_same_phrases_to_everything_are_overfitting_even_while_validation_falls() -> None:
    found = find(HEALTHY, BASE, _subject("candidate", memorisation=0.4, distinct_2=0.2))
    assert "overfitting" in _names(found)


@pytest.mark.parametrize("figures", [{"not_knowing": 0.1}, {"not_knowing": 0.1, "overlap": 0.05}])
def test_learning_the_tone_and_asserting_what_cannot_be_known_is_hallucination(
    figures: dict[str, float],
) -> None:
    found = find(HEALTHY, BASE, _subject("candidate", **figures))
    assert _names(found) == ["domain hallucination"]
    assert "held-out loss fell by 2.00" in str(found[0].figures[0])


def test_a_base_model_that_never_admitted_it_either_is_no_sign_while_answers_are_near() -> None:
    base = _subject("base", loss=4.0, not_knowing=0.0)
    assert find(HEALTHY, base, _subject("candidate", not_knowing=0.0)) == []


def test_the_same_opening_and_length_in_all_answers_is_style_collapse() -> None:
    same = [f"Great question my friend: {word}" for word in WORDS]
    found = find(HEALTHY, BASE, _subject("candidate", same))
    assert _names(found) == ["style collapse"]
    assert "100 % of its answers begin with the same three words" in str(found[0].figures[0])
    assert "lengths vary by 0 %" in str(found[0].figures[1])


def test_answers_as_alike_as_the_approved_ones_are_no_collapse() -> None:
    candidate = _subject("candidate", ["That is a lamp."] * 10)
    alike = [replace(answer, reference="That is a lamp.") for answer in candidate.answers]
    assert find(HEALTHY, BASE, replace(candidate, answers=alike)) == []


@pytest.mark.parametrize("figures", [{"general_loss": 5.5}, {"language_match": 0.6}])
def test_lost_abilities_point_to_the_target_modules_and_are_grave(figures: dict[str, float]) -> None:
    found = find(HEALTHY, BASE, _subject("candidate", **figures))
    assert _names(found) == ["too aggressive target modules"] and found[0].grave
    assert "training.target_modules" in found[0].remedy


@pytest.mark.parametrize("figures", [{"general_loss": 3.1}, {"language_match": 0.95}])
def test_what_the_gate_allows_is_no_symptom(figures: dict[str, float]) -> None:
    assert find(HEALTHY, BASE, _subject("candidate", **figures)) == []


@pytest.mark.parametrize(
    ("figures", "grave"),
    [({"memorisation": 0.4}, False), ({"memorisation": 0.7}, True)],
    ids=["within limits", "beyond limits"],
)
def test_a_symptom_is_grave_where_one_of_its_signs_is_beyond_the_gate_s_limits(
    figures: dict[str, float], grave: bool
) -> None:
    (found,) = find(RISING, BASE, _subject("candidate", **figures))
    assert found.grave is grave


def test_a_loss_that_hardly_moved_is_underfitting() -> None:
    found = find(HEALTHY, BASE, _subject("candidate", loss=3.97))
    assert _names(found) == ["underfitting"]
    assert "from 4.000 to 3.970" in str(found[0].figures[0])


def test_what_was_not_measured_is_no_sign() -> None:
    unknown = dict.fromkeys(METRICS, float("nan"))
    assert find({}, BASE, Examined("candidate", unknown)) == []
    assert find({}, Examined("base", unknown, BASE.answers), _subject("candidate")) == []


def _competed(base: Examined, right: int, of: int) -> Examined:
    """The base model, whose own answers rank first in so many panels of eight."""
    answer = base.answers[0]
    ranked = [replace(answer, competitors=7, rank=1.0 if n < right else 5.0) for n in range(of)]
    return replace(base, answers=ranked)


@pytest.mark.parametrize(("right", "of", "named"), [(3, 40, True), (24, 40, False), (0, 10, False)])
def test_answers_that_the_base_model_finds_no_more_fitting_than_others_are_held(
    right: int, of: int, named: bool
) -> None:
    base = _competed(BASE, right, of)
    found = symptoms.find(HEALTHY, _compared(BASE, _subject("candidate")), base, _subject("candidate"))
    assert _names(found) == (["unrelated answers"] if named else [])
    assert all(symptom.grave for symptom in found)
