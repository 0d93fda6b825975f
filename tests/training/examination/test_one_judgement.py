"""Verdict and symptoms never contradict each other, however a real run's figures are made worse."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from random import Random
from statistics import fmean
from typing import Any

from bot.demo import finished_run
from training.examination import gate
from training.examination.comparisons import WATCHED
from training.examination.results import ABSTAINS, Answer, Examined, restored

WORST = {"chrf": 0.0, "nearest_own": 0.0, "language_match": 0.0, "repetition": 1.0, "memorisation": 1.0}
"""What an answer has at worst, by figure."""


@cache
def _told() -> dict[str, Any]:
    """The demo's finished run, as the record keeps it: promoted."""
    told: dict[str, Any] = json.loads((finished_run.packaged() / finished_run.RUN).read_bytes())
    return told


def _subject(name: Any) -> Examined:
    row = next(row for row in _told()["evaluations"] if row["subject"] == name)
    return restored(name, row["metrics"], row["answers"])


def _worsened(candidate: Examined, choices: Random) -> Examined:
    """The candidate with some figures of some of its answers at their worst, or near what is allowed."""
    share = {name: choices.choice([0, 0, 0.05, 0.15, 0.4, 0.9]) for name in (*WORST, ABSTAINS)}
    lost = choices.choice([1, 1, 1.03, 1.06, 1.1, 1.89])

    def at_worst(answer: Answer) -> Answer:
        values = dict(answer.values)
        for name, worst in WORST.items():
            if name in values and choices.random() < share[name]:
                values[name] = worst
        if ABSTAINS in values and choices.random() < share[ABSTAINS]:
            values[ABSTAINS] = float(answer.kind != "unanswerable")
        return replace(answer, values=values, loss=answer.loss * (lost if answer.kind == "general" else 1))

    made = replace(
        candidate,
        answers=[at_worst(answer) for answer in candidate.answers],
        packaged=[at_worst(answer) for answer in candidate.packaged],
    )
    found = made.figures.values
    return replace(made, metrics=made.metrics | {name: fmean(found[name]) for name in WATCHED})


def _by_luck(base: Examined, choices: Random) -> Examined:
    """The base model as it ranks approved answers that do not belong to their questions."""
    answers = [replace(one, rank=float(choices.randint(1, one.competitors + 1))) for one in base.answers]
    return replace(base, answers=answers)


def test_no_verdict_calls_unchanged_what_a_symptom_says_got_worse() -> None:
    choices = Random(14)
    related, trained = _subject("base"), _told()["metrics"]["training"]
    promoted, held = 0, 0
    for attempt in range(80):
        base = related if attempt % 4 else _by_luck(related, choices)
        verdict = gate.judge(trained, base, None, _worsened(_subject("candidate"), choices))
        grave = [symptom for symptom in verdict.symptoms if symptom.grave]
        assert not (verdict.promote and grave), str(verdict)
        called_fine = {
            name for one in verdict.reasons if one.key == "not worse" for name in one.parts["metrics"]
        }
        said_worse = {
            {"went": sign.parts.get("figure"), "general rose": "general_loss"}.get(sign.key)
            for symptom in verdict.symptoms
            for sign in symptom.figures
        }
        said_worse |= {one.metric for one in verdict.comparisons if one.finding.startswith("worse")}
        assert not called_fine & said_worse, str(verdict)
        promoted, held = promoted + verdict.promote, held + bool(grave)
    assert promoted and held, "some stayed within the limits, and of some there was something to contradict"


def test_the_real_run_that_is_made_worse_was_promoted_and_its_verdict_names_what_symptoms_it_has() -> None:
    verdict = gate.judge(_told()["metrics"]["training"], _subject("base"), None, _subject("candidate"))
    assert verdict.promote
    assert bool(verdict.symptoms) == (verdict.reasons[-1].key == "shows too")
