"""The verdict: a candidate serves only when figures say that it is surely better, and no worse elsewhere."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from training.examination import bootstrap
from training.examination.gate import JUDGE, LOSS, WATCHED, Figures, Verdict, verdict
from training.settings import GateSettings

QUESTIONS = 20
FINE = {
    "chrf": 40.0,
    "language_match": 1.0,
    "repetition": 0.0,
    "memorisation": 0.0,
    "not_knowing": 0.5,
    "false_not_knowing": 0.0,
    "general_loss": 3.0,
}


def _figures(loss: float, *, spread: float = 0.2, seed: int = 0, **given: Any) -> Figures:
    """A subject whose losses lie about `loss`; `given` metrics are the same at every question, or listed."""
    luck = random.Random(seed)
    losses = [loss + luck.uniform(-spread, spread) for _ in range(QUESTIONS)]
    values: dict[str, list[float]] = {LOSS: losses}
    for name, value in (FINE | given).items():
        values[name] = value if isinstance(value, list) else [value] * QUESTIONS
    return Figures({name: sum(found) / len(found) for name, found in values.items()}, values)


def _without(figures: Figures, metric: str, instead: dict[str, float]) -> Figures:
    rest = {name: value for name, value in figures.metrics.items() if name != metric}
    return Figures(rest | instead, figures.values, figures.weights)


def test_a_candidate_better_than_base_and_current_is_promoted() -> None:
    found = verdict(_figures(4.5), _figures(2.0), _figures(1.3))
    assert found.promote
    assert "1.3" in str(found) and "with 95 % confidence between" in str(found)
    assert "the adapter in service" in str(found) and "the base model" in str(found)


def test_without_an_adapter_in_service_the_base_is_the_only_rival() -> None:
    found = verdict(_figures(4.5), None, _figures(1.3))
    assert found.promote and {one.rival for one in found.comparisons} == {"base"}


@pytest.mark.parametrize(
    ("base", "current", "candidate"),
    [(4.5, None, 4.6), (4.5, 2.0, 2.1), (1.0, 2.0, 1.5), (4.5, None, 4.5), (4.5, 2.0, 2.0)],
    ids=["worse than base", "worse than current", "between both", "as good as base", "as good as current"],
)
def test_a_candidate_that_is_not_better_than_both_is_held(
    base: float, current: float | None, candidate: float
) -> None:
    found = verdict(_figures(base), None if current is None else _figures(current), _figures(candidate))
    assert not found.promote
    assert "is not below" in str(found)


def test_a_gain_that_may_be_luck_is_rejected_and_the_range_is_said() -> None:
    found = verdict(_figures(2.0, spread=1.5), None, _figures(1.9, spread=1.5, seed=1))
    assert not found.promote
    assert "is not surely below" in str(found) and "confidence between" in str(found)


def test_a_sure_gain_too_small_to_be_worth_a_switch_is_held() -> None:
    base, candidate = _figures(2.0), _figures(1.95)
    assert verdict(base, None, candidate).promote
    found = verdict(base, None, candidate, GateSettings(min_loss_gain=0.1))
    assert not found.promote and "by 0.1 or more" in str(found)


def test_less_confidence_asked_for_promotes_what_more_would_hold() -> None:
    base, candidate = _figures(2.0, spread=0.5), _figures(1.85, spread=0.5, seed=6)
    verdicts = [
        verdict(base, None, candidate, GateSettings(confidence=confidence)).promote
        for confidence in (0.6, 0.9999)
    ]
    assert verdicts == [True, False]


def test_the_same_figures_get_the_same_verdict_to_the_last_digit() -> None:
    said = {str(verdict(_figures(2.0), None, _figures(1.9, seed=1))) for _ in range(3)}
    assert len(said) == 1


# --- not worse elsewhere ---


WORSE = {
    "chrf": 30.0,
    "language_match": 0.5,
    "repetition": 0.6,
    "memorisation": 0.7,
    "not_knowing": 0.0,
    "false_not_knowing": 0.5,
    "general_loss": 7.0,
}


@pytest.mark.parametrize("metric", WATCHED)
def test_what_got_surely_worse_holds_however_low_the_loss(metric: str) -> None:
    found = verdict(_figures(4.5), None, _figures(1.0, **{metric: WORSE[metric]}))
    assert not found.promote
    assert WATCHED[metric].name in str(found) and WATCHED[metric].setting in str(found)
    allowing = GateSettings(**{WATCHED[metric].setting: 50})
    assert verdict(_figures(4.5), None, _figures(1.0, **{metric: WORSE[metric]}), allowing).promote


def test_worse_by_chance_at_one_question_holds_nobody() -> None:
    once = [0.0] * (QUESTIONS - 1) + [1.0]
    found = verdict(_figures(4.5), None, _figures(1.0, repetition=once), GateSettings(max_worse_repetition=0))
    assert found.promote


def test_what_got_better_is_no_reason_against() -> None:
    better = {"chrf": 60.0, "general_loss": 2.0, "not_knowing": 1.0}
    assert verdict(_figures(4.5), None, _figures(1.0, **better)).promote


@pytest.mark.parametrize(("preference", "promoted"), [(0.9, True), (0.5, True), (0.2, False)])
def test_a_judge_that_surely_prefers_the_rival_holds(preference: float, promoted: bool) -> None:
    found = verdict(_figures(4.5), None, _figures(1.0, **{JUDGE.format("base"): preference}))
    assert found.promote is promoted
    assert promoted or "judge prefers the base model" in str(found)


# --- what is missing ---


@pytest.mark.parametrize("metric", [LOSS, *WATCHED])
@pytest.mark.parametrize("missing", [None, math.nan, math.inf, -math.inf])
def test_a_figure_that_is_missing_or_no_number_holds_whoever_it_is_of(
    metric: str, missing: float | None
) -> None:
    instead = {} if missing is None else {metric: missing}
    base, current, candidate = _figures(4.5), _figures(2.0), _figures(1.0)
    for found in (
        verdict(base, current, _without(candidate, metric, instead)),
        verdict(_without(base, metric, instead), None, candidate),
        verdict(base, _without(current, metric, instead), candidate),
    ):
        assert not found.promote and "There is no figure" in str(found)


def test_one_question_without_a_number_holds() -> None:
    torn = [0.5] * (QUESTIONS - 1) + [math.nan]
    found = verdict(_figures(4.5), None, _figures(1.0, **{JUDGE.format("base"): torn}))
    assert not found.promote and "judge gave no opinion" in str(found)


def _few(loss: float, questions: int) -> Figures:
    metrics = {LOSS: loss} | FINE
    return Figures(metrics, {name: [value] * questions for name, value in metrics.items()})


@pytest.mark.parametrize("questions", [1, 2, 4])
def test_too_few_questions_hold_however_good_they_look(questions: int) -> None:
    found = verdict(_few(4.5, questions), None, _few(1.0, questions))
    assert not found.promote and "luck cannot be told from learning" in found.reasons[0]


def test_few_questions_with_a_huge_difference_promote() -> None:
    assert verdict(_few(4.5, 5), None, _few(1.0, 5)).promote


def test_a_rejected_candidate_hears_only_what_speaks_against_it() -> None:
    found = verdict(_figures(4.5), _figures(1.0), _figures(2.0))
    assert len(found.reasons) == 1 and "adapter in service" in found.reasons[0]
    assert str(found).startswith("Rejected: ")
    assert str(Verdict(True, ["Better."])) == "Promoted: Better."


# --- the bootstrap ---


def test_the_interval_holds_the_true_difference_about_as_often_as_it_says() -> None:
    luck = random.Random(5)
    inside = 0
    for draw in range(200):
        theirs = [luck.gauss(2.0, 1.0) for _ in range(30)]
        ours = [value - 0.3 + luck.gauss(0, 0.4) for value in theirs]
        interval = bootstrap.paired(ours, theirs, confidence=0.9, seed=draw)
        inside += interval.low <= -0.3 <= interval.high
    assert 165 <= inside <= 195


def test_pairing_sees_a_small_gain_that_every_question_has() -> None:
    theirs = [float(number) for number in range(20)]
    interval = bootstrap.paired([value - 0.1 for value in theirs], theirs, confidence=0.99, seed=1)
    assert interval.high == pytest.approx(-0.1) and interval.low == pytest.approx(-0.1)


def test_weights_count_long_answers_for_more() -> None:
    interval = bootstrap.paired([1.0, 0.0], [0.0, 0.0], [3.0, 1.0], confidence=0.9, seed=1)
    assert interval.difference == 0.75


def test_values_of_different_questions_are_refused() -> None:
    with pytest.raises(ValueError, match="not of the same questions"):
        bootstrap.paired([1.0], [1.0, 2.0], confidence=0.9, seed=1)
