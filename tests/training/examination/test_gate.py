"""The verdict: a candidate serves only when figures say that it is surely better, and no worse elsewhere."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from feedback.rating_results import Figure, Results
from feedback.words import RATING_SCALES, RatingScale
from training.examination import bootstrap, comparisons, gate
from training.examination.comparisons import DECIDING, JUDGE, LIKE_OWN, RIGHTLY, TOLD_APART, WATCHED, Figures
from training.examination.gate import Verdict
from training.examination.reasons import Reason
from training.examination.symptoms import Symptom
from training.settings import GateSettings

QUESTIONS = 20
FINE = {
    "chrf": 40.0,
    "nearest_own": 0.5,
    "language_match": 1.0,
    "repetition": 0.0,
    "memorisation": 0.0,
    "not_knowing": 0.5,
    "false_not_knowing": 0.0,
    "general_loss": 3.0,
}


RECALL, GENERALISATION = DECIDING["recall"], DECIDING["generalisation"]


def _figures(
    right: int, *, of: int = QUESTIONS, elsewhere: int | None = None, first: int = 0, **given: Any
) -> Figures:
    """A subject that answers so many questions rightly, beginning at the `first`, and the others half so.

    `elsewhere` so many of as many questions whose answers training never saw; None asks none. `given` metrics
    are the same at every question, or listed.
    """
    values: dict[str, list[float]] = {RECALL: _ranks(right, of, first)}
    values[RIGHTLY] = [float(rank == 1) for rank in values[RECALL]]
    if elsewhere is not None:
        values[GENERALISATION] = _ranks(elsewhere, of, first)
    values[TOLD_APART] = [*values[RECALL], *values.get(GENERALISATION, ())]
    values[LIKE_OWN] = [0.6 if rank == 1 else 0.5 for rank in values[TOLD_APART]]
    for name, value in (FINE | given).items():
        values[name] = value if isinstance(value, list) else [value] * of
    return Figures({name: sum(found) / len(found) for name, found in values.items() if found}, values)


def _ranks(right: int, of: int, first: int) -> list[float]:
    return [1.0 if (place - first) % of < right else 0.5 for place in range(of)]


def _verdict(
    base: Figures,
    current: Figures | None,
    candidate: Figures,
    settings: GateSettings | None = None,
    *symptoms: Symptom,
    rated: Results | None = None,
) -> Verdict:
    figures = {"base": base} | ({"current": current} if current else {}) | {"candidate": candidate}
    settings = settings or GateSettings()
    return gate.verdict(figures, comparisons.compare(figures, settings), symptoms, settings, rated)


def _without(figures: Figures, metric: str, instead: dict[str, float]) -> Figures:
    rest = {name: value for name, value in figures.metrics.items() if name != metric}
    return Figures(rest | instead, figures.values, figures.weights)


def test_a_candidate_righter_than_base_and_current_is_promoted() -> None:
    found = _verdict(_figures(2), _figures(8), _figures(18))
    assert found.promote
    assert "18 of 20 against 2" in str(found) and "18 of 20 against 8" in str(found)
    assert "the adapter in service" in str(found) and "the base model" in str(found)


def test_the_verdict_begins_with_how_many_it_answers_rightly_and_which_it_lost() -> None:
    found = _verdict(_figures(6), None, _figures(15, first=3))
    assert str(found.reasons[0]) == (
        "Of 20 questions it now answers 15 rightly (before: 6), and 3 that were right are wrong."
    )
    beside = _verdict(_figures(2), _figures(6), _figures(15, elsewhere=None))
    assert str(beside.reasons[0]) == (
        "Of 20 questions it now answers 15 rightly (before: 6, by the adapter in service), and none that was "
        "right is wrong."
    )


def test_without_an_adapter_in_service_the_base_is_the_only_rival() -> None:
    found = _verdict(_figures(2), None, _figures(18))
    assert found.promote and {one.rival for one in found.comparisons} == {"base"}


@pytest.mark.parametrize(
    ("base", "current", "candidate"),
    [(8, None, 2), (2, 16, 8), (16, 2, 8), (8, None, 8), (2, 16, 16)],
    ids=["worse than base", "worse than current", "between both", "as good as base", "as good as current"],
)
def test_a_candidate_that_is_not_righter_than_both_is_rejected(
    base: int, current: int | None, candidate: int
) -> None:
    found = _verdict(_figures(base), None if current is None else _figures(current), _figures(candidate))
    assert not found.promote
    assert "surely better" in str(found) or "surely worse" in str(found)


def test_a_gain_that_may_be_luck_is_rejected_and_the_range_is_said() -> None:
    found = _verdict(_figures(8), None, _figures(10, first=7))
    assert not found.promote
    assert "not surely better" in str(found) and "confidence between" in str(found)


def test_a_sure_gain_too_small_to_be_worth_a_switch_is_rejected() -> None:
    base, candidate = _figures(8), _figures(14)
    assert _verdict(base, None, candidate).promote
    found = _verdict(base, None, candidate, GateSettings(min_gain=0.2))
    assert not found.promote and "not surely righter" in str(found)


def test_a_candidate_as_right_passes_where_less_is_put_up_with_and_is_not_called_righter() -> None:
    lenient = GateSettings(min_gain=-0.1)
    found = _verdict(_figures(8), None, _figures(8), lenient)
    assert found.promote and "surely righter" not in str(found)
    assert "it is no further behind than gate.min_gain allows, beside the base model" in str(found)
    behind = _verdict(_figures(16), None, _figures(2), lenient)
    assert not behind.promote and "can show a gain" not in str(behind)
    assert "surely righter" in str(_verdict(_figures(2), None, _figures(18), lenient))


def _signs(told: list[float], like: list[float]) -> Figures:
    return _figures(0, **{RIGHTLY: [0.0] * QUESTIONS, TOLD_APART: told, LIKE_OWN: like})


def test_two_gains_that_may_be_luck_alone_are_sure_together() -> None:
    told = [0.5 + (0.5 if place % 4 == 0 else -0.2 if place % 4 == 1 else 0.0) for place in range(QUESTIONS)]
    like = [0.5 + (0.3 if place % 4 == 2 else -0.12 if place % 4 == 3 else 0.0) for place in range(QUESTIONS)]
    even = [0.5] * QUESTIONS
    base = _signs(even, even)
    assert not _verdict(base, None, _signs(told, even)).promote
    assert not _verdict(base, None, _signs(even, like)).promote
    assert _verdict(base, None, _signs(told, like)).promote


def test_answers_in_the_right_style_that_are_told_apart_no_better_promote_nobody() -> None:
    even = [0.5] * QUESTIONS
    likelier = _figures(0, chrf=60.0, **{RIGHTLY: [0.0] * QUESTIONS, TOLD_APART: even, LIKE_OWN: even})
    assert not _verdict(_signs(even, even), None, likelier).promote


def test_a_gain_that_is_not_sure_says_what_it_would_take_to_show_it() -> None:
    told = [0.5 + (0.5 if place % 4 == 0 else -0.2 if place % 4 == 1 else 0.0) for place in range(QUESTIONS)]
    even = [0.5] * QUESTIONS
    figures = {"base": _signs(even, even), "candidate": _signs(told, told)}
    settings = GateSettings(confidence=0.99)
    compared = comparisons.compare(figures, settings)
    found = gate.verdict(figures, compared, [], settings, pairs=100)
    assert not found.promote
    (bound,) = (reason for reason in found.reasons if reason.key == "bound")
    one = next(one for one in compared if one.metric == "rightness")
    times = ((one.difference - one.low) / one.difference) ** 2
    assert (bound.parts["needed"], bound.parts["pairs"]) == (math.ceil(20 * times), math.ceil(100 * times))
    assert f"the {one.difference:.3f} that it gained would take about {math.ceil(20 * times)}" in str(bound)
    none = gate.verdict(figures | {"candidate": figures["base"]}, *_nothing_gained(figures["base"]))
    assert "and it gained nothing" in str(none)


def _nothing_gained(base: Figures) -> tuple[Any, ...]:
    return comparisons.compare({"base": base, "candidate": base}, GateSettings()), [], GateSettings()


def test_less_confidence_asked_for_promotes_what_more_would_reject() -> None:
    base, candidate = _figures(8), _figures(12, first=7)
    verdicts = [
        _verdict(base, None, candidate, GateSettings(confidence=confidence)).promote
        for confidence in (0.51, 0.9999)
    ]
    assert verdicts == [True, False]


def test_the_same_figures_get_the_same_verdict_to_the_last_digit() -> None:
    said = {str(_verdict(_figures(8), None, _figures(10, first=7))) for _ in range(3)}
    assert len(said) == 1


# --- two examinations ---


def test_better_recall_promotes_while_generalisation_is_no_worse() -> None:
    found = _verdict(_figures(2, elsewhere=9), None, _figures(18, elsewhere=9))
    assert found.promote
    assert "18 of 20 against 2" in str(found) and "9 of 20 against 9" in str(found)


def test_better_generalisation_promotes_while_recall_is_no_worse() -> None:
    assert _verdict(_figures(9, elsewhere=2), None, _figures(9, elsewhere=18)).promote


@pytest.mark.parametrize(("recall", "elsewhere"), [((2, 18), (18, 2)), ((18, 2), (2, 18))])
def test_surely_worse_in_either_examination_rejects(
    recall: tuple[int, int], elsewhere: tuple[int, int]
) -> None:
    base, candidate = (_figures(right, elsewhere=also) for right, also in zip(recall, elsewhere, strict=True))
    found = _verdict(base, None, candidate)
    assert not found.promote and "surely worse" in str(found)


def test_a_few_unseen_answers_that_lost_their_first_rank_hold_nobody_and_many_do() -> None:
    def moved(lost: int) -> Figures:
        after = _figures(18)
        ranks = [0.5 if place < lost else 1.0 for place in range(12)]
        return Figures(
            after.metrics | {GENERALISATION: sum(ranks) / 12}, {**after.values, GENERALISATION: ranks}
        )

    before = _figures(2)
    first = Figures(before.metrics | {GENERALISATION: 1.0}, {**before.values, GENERALISATION: [1.0] * 12})
    assert _verdict(first, None, moved(3)).promote
    found = _verdict(first, None, moved(7))
    assert (
        not found.promote
        and "training never saw, it is surely worse than the base model at telling the right" in str(found)
    )


def test_an_examination_of_too_few_questions_does_not_decide_and_the_verdict_says_so() -> None:
    base, candidate = _figures(2), _figures(18)
    few = [
        Figures(one.metrics | {GENERALISATION: rank}, {**one.values, GENERALISATION: [rank] * 3})
        for one, rank in ((base, 1.0), (candidate, 0.5))
    ]
    found = _verdict(few[0], None, few[1])
    assert found.promote
    assert "answers that its training never saw, it was not judged, with only 3 such questions" in str(found)


# --- symptoms ---


def _symptom(*, grave: bool) -> Symptom:
    return Symptom("overfitting", "it recites its training pairs", ["verbatim text"], "Fewer epochs.", grave)


def test_a_grave_symptom_rejects_however_right_the_answers_are() -> None:
    found = _verdict(_figures(2), None, _figures(18), None, _symptom(grave=True))
    assert not found.promote and "overfitting" in str(found)


def test_another_symptom_is_said_by_the_verdict_that_promotes() -> None:
    found = _verdict(_figures(2), None, _figures(18), None, _symptom(grave=False))
    assert found.promote and "It shows overfitting, too: it recites its training pairs." in [
        *map(str, found.reasons)
    ]


# --- what is answered ---


def _answering(right: int, *, of: int = QUESTIONS, **given: Any) -> Figures:
    """A subject that tells all answers apart, and answers so many questions rightly."""
    answered = [1.0] * right + [0.0] * (of - right)
    return _figures(of, of=of, **{RIGHTLY: answered, **given})


def test_where_all_answers_are_told_apart_already_surely_righter_answers_promote() -> None:
    found = _verdict(_answering(0), None, _answering(7))
    assert found.promote and "right surely more often than what the base model answers: 7 of 20" in str(found)


def test_four_right_answers_against_none_are_not_sure_yet() -> None:
    found = _verdict(_answering(0), None, _answering(4))
    assert not found.promote and "not surely right more often" in str(found)


def test_right_answers_that_became_wrong_reject_however_well_answers_are_told_apart() -> None:
    found = _verdict(_figures(2, **{RIGHTLY: [1.0] * 20}), None, _figures(18, **{RIGHTLY: [0.0] * 20}))
    assert not found.promote and "right surely less often" in str(found)


def test_right_answers_do_not_stand_in_for_a_gain_in_rank_that_is_asked_for() -> None:
    assert not _verdict(_answering(0), None, _answering(9), GateSettings(min_gain=0.1)).promote


def test_right_answers_do_not_help_where_answers_are_surely_told_apart_worse() -> None:
    answered = [1.0] * 12 + [0.0] * 8
    assert not _verdict(
        _figures(18, **{RIGHTLY: [0.0] * 20}), None, _figures(2, **{RIGHTLY: answered})
    ).promote


def test_the_sign_test_is_the_coin_s() -> None:
    assert bootstrap.sign_test(0, 0) == 1
    assert bootstrap.sign_test(5, 5) == 1
    assert bootstrap.sign_test(6, 0) == bootstrap.sign_test(0, 6) == pytest.approx(2 / 64)
    assert bootstrap.sign_test(9, 1) == pytest.approx(2 * 11 / 1024)


# --- not worse elsewhere ---


WORSE = {
    "chrf": 30.0,
    "nearest_own": 0.1,
    "language_match": 0.5,
    "repetition": 0.6,
    "memorisation": 0.7,
    "not_knowing": 0.0,
    "false_not_knowing": 0.5,
    "general_loss": 7.0,
}


@pytest.mark.parametrize("metric", WATCHED)
def test_what_got_surely_worse_rejects_however_right_the_answers_are(metric: str) -> None:
    found = _verdict(_figures(2), None, _figures(18, **{metric: WORSE[metric]}))
    assert not found.promote
    assert WATCHED[metric].called.en in str(found) and WATCHED[metric].setting in str(found)
    allowing = GateSettings(**{WATCHED[metric].setting: 50})
    assert _verdict(_figures(2), None, _figures(18, **{metric: WORSE[metric]}), allowing).promote


def test_worse_by_chance_at_one_question_holds_nobody() -> None:
    once = [0.0] * (QUESTIONS - 1) + [1.0]
    found = _verdict(_figures(2), None, _figures(18, repetition=once), GateSettings(max_worse_repetition=0))
    assert found.promote


def test_what_got_surely_worse_within_its_limit_is_said_and_never_called_no_worse() -> None:
    found = _verdict(_figures(2), None, _figures(18, repetition=0.05))
    assert found.promote
    assert "Worse, but by no more than is allowed: repetition, 0.050 against 0.000" in str(found)
    assert (
        "Not surely worse: chrF," in str(found)
        and "repetition," not in str(found).partition("Not")[2].partition(".")[0]
    )


def test_what_got_better_is_no_reason_against() -> None:
    better = {"chrf": 60.0, "general_loss": 2.0, "not_knowing": 1.0}
    assert _verdict(_figures(2), None, _figures(18, **better)).promote


@pytest.mark.parametrize(("preference", "promoted"), [(0.9, True), (0.5, True), (0.2, False)])
def test_a_judge_that_surely_prefers_the_rival_holds(preference: float, promoted: bool) -> None:
    found = _verdict(_figures(2), None, _figures(18, **{JUDGE.format("base"): preference}))
    assert found.promote is promoted
    assert promoted or "judge prefers the base model" in str(found)


# --- what is missing ---


def _rated(apart: dict[RatingScale, float], *, questions: int = 40) -> Results:
    """What two people found who rated blind: so far apart from the base model, surely."""
    zero = Figure(3.0, 2.9, 3.1, questions)
    return Results(
        round_id=1,
        run_id=1,
        questions=questions,
        ratings=4 * questions,
        raters=2,
        confidence=0.95,
        adapters={"base": None, "candidate": 1},
        figures={"base": dict.fromkeys(RATING_SCALES, zero), "candidate": dict.fromkeys(RATING_SCALES, zero)},
        differences={
            "base": {
                scale: Figure(found, found - 0.1, found + 0.1, questions, 0.001)
                for scale, found in ({"accuracy": 0.0, "style": 0.0, "safety": 0.0} | apart).items()
            }
        },
        agreement=dict.fromkeys(RATING_SCALES, 0.8),
    )


@pytest.mark.parametrize("scale", ["accuracy", "safety"])
def test_what_people_rated_blind_as_surely_worse_is_rejected_and_says_so(scale: RatingScale) -> None:
    found = _verdict(_figures(2), None, _figures(18), rated=_rated({scale: -0.5}))
    assert not found.promote
    assert f"People find it surely worse than the base model: {scale}" in str(found)
    assert "rated blind by 2 people on 40 questions" in str(found)


def test_a_style_that_people_like_less_holds_nobody_and_few_ratings_neither() -> None:
    assert _verdict(_figures(2), None, _figures(18), rated=_rated({"style": -0.5})).promote
    assert _verdict(_figures(2), None, _figures(18), rated=_rated({"accuracy": -0.5}, questions=8)).promote


def test_what_people_prefer_is_said_by_the_verdict_that_promotes() -> None:
    found = _verdict(_figures(2), None, _figures(18), rated=_rated({"accuracy": 0.5}))
    assert found.promote and "People find it surely better than the base model: accuracy" in str(found)


@pytest.mark.parametrize("metric", [RECALL, *WATCHED])
@pytest.mark.parametrize("missing", [None, math.nan, math.inf, -math.inf])
def test_a_figure_that_is_missing_or_no_number_holds_whoever_it_is_of(
    metric: str, missing: float | None
) -> None:
    instead = {} if missing is None else {metric: missing}
    base, current, candidate = _figures(2), _figures(8), _figures(18)
    for found in (
        _verdict(base, current, _without(candidate, metric, instead)),
        _verdict(_without(base, metric, instead), None, candidate),
        _verdict(base, _without(current, metric, instead), candidate),
    ):
        assert not found.promote and "cannot be compared" in str(found)


def test_one_question_without_a_number_holds() -> None:
    torn = [0.5] * (QUESTIONS - 1) + [math.nan]
    found = _verdict(_figures(2), None, _figures(18, **{JUDGE.format("base"): torn}))
    assert not found.promote and "judge gave no opinion" in str(found)


@pytest.mark.parametrize("questions", [0, 1, 2, 4])
def test_too_few_questions_reject_however_good_they_look(questions: int) -> None:
    found = _verdict(_figures(0, of=questions), None, _figures(questions, of=questions))
    assert not found.promote and "luck cannot be told from learning" in str(found)


def test_few_questions_with_a_huge_difference_promote() -> None:
    assert _verdict(_figures(0, of=5), None, _figures(5, of=5)).promote


def test_a_rejected_candidate_hears_only_what_speaks_against_it_beside_its_count() -> None:
    found = _verdict(_figures(2), _figures(18), _figures(10))
    assert len(found.reasons) == 4 and all(
        "adapter in service" in str(reason) for reason in found.reasons[1:]
    )
    assert str(found).startswith("Rejected: ")
    assert str(Verdict(True, [Reason("said", {"text": "Better."})])) == "Promoted: Better."


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
