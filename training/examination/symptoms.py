"""What went wrong in a training, called as a practitioner calls it, with its figures and what to try.

Drawn from the same comparisons as the verdict. A grave symptom holds an adapter; another is a sign for a
person, and the verdict says it. Reads what the run and its examination measured, and measures nothing itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from training.examination import text_metrics
from training.examination.comparisons import LOSS, Comparison
from training.examination.reasons import SYMPTOMS, Reason
from training.examination.results import LEAST_OF_A_GROUP, Examined

RISE: Final = 1.05
"""Validation loss over its own lowest, from which it counts as risen."""
LESS_DISTINCT: Final = 0.15
GAIN: Final = 0.1
"""Nats per token by which the held-out loss must fall to count as learnt."""
ENOUGH_TO_FIT: Final = 20
"""Questions from which on luck is told from fitting."""
SURELY: Final = 2.0
"""Standard deviations above luck: of the demo's 76 questions the base model has 45 right, and 4 to 10 where
answers were mixed up; luck has 12."""
ASSERTED: Final = 0.2
LITTLE_OVERLAP: Final = 0.15
SAME_OPENING: Final = 0.5
UNMOVED: Final = 0.02
"""Share of the base model's held-out loss that must go before anything counts as learnt."""


@dataclass(frozen=True)
class Symptom:
    """A symptom by its name; `figures` say what was measured, `remedy` what to try.

    With a `grave` one an adapter does not serve.
    """

    name: str
    meaning: str
    figures: list[Reason]
    remedy: str
    grave: bool = False

    def __str__(self) -> str:
        return f"{self.name}: {self.meaning} ({'; '.join(map(str, self.figures))}). {self.remedy}"


def find(
    trained: Mapping[str, Any], found: Sequence[Comparison], base: Examined, candidate: Examined
) -> list[Symptom]:
    """The symptoms of a run, from what the gate `found` and, in `trained`, what the training measured.

    Without questions there are none.
    """
    if not candidate.answers:
        return []
    seen = _Seen(trained, {one.metric: one for one in found if one.rival == "base"}, base, candidate)
    looks = (
        _unrelated_answers,
        _overfitting,
        _hallucination,
        _style_collapse,
        _aggressive_modules,
        _underfitting,
    )
    return [symptom for look in looks if (symptom := look(seen)) is not None]


@dataclass(frozen=True)
class _Seen:
    """What symptoms are read from; `against_base` are the candidate's comparisons with the base by metric."""

    trained: Mapping[str, Any]
    against_base: Mapping[str, Comparison]
    base: Examined
    candidate: Examined

    def worse(self, metric: str, *, beyond_limits: bool = False) -> Reason | None:
        """What is said where the figure is surely worse than the base model's."""
        one = self.against_base.get(metric)
        findings = ("worse",) if beyond_limits else ("worse", "worse within limits")
        if one is None or one.finding not in findings:
            return None
        return _went(metric, one.other, one.candidate)


def _went(metric: str, before: float, after: float) -> Reason:
    return Reason("went", {"figure": metric, "before": 100 * before, "after": 100 * after})


def _named(name: str, figures: list[Reason], *, grave: bool = False) -> Symptom:
    """The symptom of that name, as reasons call and explain it."""
    _, meaning, remedy = SYMPTOMS[name]
    return Symptom(name, meaning.en, figures, remedy.en, grave)


def _unrelated_answers(seen: _Seen) -> Symptom | None:
    """The base model, which learnt none of them, prefers approved answers no more often than luck would."""
    competing = [answer for answer in seen.base.answers if answer.competitors and math.isfinite(answer.rank)]
    if len(competing) < ENOUGH_TO_FIT:
        return None
    right = sum(answer.rank == 1 for answer in competing)
    chances = [1 / (answer.competitors + 1) for answer in competing]
    luck, spread = sum(chances), math.sqrt(sum(chance * (1 - chance) for chance in chances))
    if right > luck + SURELY * spread:
        return None
    return _named(
        "unrelated answers",
        [Reason("base prefers", {"questions": len(competing), "right": right, "luck": luck})],
        grave=True,
    )


def _overfitting(seen: _Seen) -> Symptom | None:
    """Two of three signs: early stopping lets the validation loss rise a little in most good runs."""
    signs = [
        sign
        for sign in (
            _validation_rose(seen.trained),
            seen.worse("memorisation"),
            _fell("distinct_2", seen, LESS_DISTINCT),
        )
        if sign
    ]
    if len(signs) < 2:
        return None
    return _named(
        "overfitting",
        signs,
        grave=seen.worse("memorisation", beyond_limits=True) is not None,
    )


def _hallucination(seen: _Seen) -> Symptom | None:
    """The loss fell, and the model asserts more of what it cannot know."""
    gain = seen.base.metrics[LOSS] - seen.candidate.metrics[LOSS]
    fell = seen.worse("not_knowing")
    overlap, honest = seen.candidate.metrics["overlap"], seen.candidate.metrics["not_knowing"]
    asserts = honest < ASSERTED and overlap < LITTLE_OVERLAP
    if not gain > GAIN or not (fell or asserts):
        return None
    signs = [
        Reason("loss fell", {"gain": gain}),
        fell or Reason("abstained", {"share": 100 * honest}),
        Reason("overlaps", {"share": 100 * overlap}),
    ]
    return _named(
        "domain hallucination",
        signs,
        grave=seen.worse("not_knowing", beyond_limits=True) is not None,
    )


def _style_collapse(seen: _Seen) -> Symptom | None:
    """The answers open alike, or vary much less in length than the approved ones."""
    answers = [answer.answer for answer in seen.candidate.answers]
    references = [answer.reference for answer in seen.candidate.answers]
    if len(answers) < LEAST_OF_A_GROUP:
        return None
    signs = []
    opening, usual = text_metrics.same_opening(answers), text_metrics.same_opening(references)
    if opening >= max(SAME_OPENING, usual + ASSERTED):
        signs.append(Reason("open alike", {"share": 100 * opening, "usual": 100 * usual}))
    spread, varied = text_metrics.length_spread(answers), text_metrics.length_spread(references)
    if spread < varied / 2:
        signs.append(Reason("lengths", {"spread": 100 * spread, "usual": 100 * varied}))
    if not signs:
        return None
    return _named("style collapse", signs)


def _aggressive_modules(seen: _Seen) -> Symptom | None:
    """General knowledge or the right language was lost, beyond what the gate allows."""
    signs = []
    general = seen.against_base.get("general_loss")
    if general is not None and general.finding == "worse":
        rise = 100 * (general.candidate / general.other - 1)
        signs.append(
            Reason("general rose", {"rise": rise, "before": general.other, "after": general.candidate})
        )
    lost = seen.worse("language_match", beyond_limits=True)
    if lost:
        signs.append(lost)
    if not signs:
        return None
    return _named("too aggressive target modules", signs, grave=True)


def _underfitting(seen: _Seen) -> Symptom | None:
    """The held-out loss has hardly moved."""
    before, after = seen.base.metrics[LOSS], seen.candidate.metrics[LOSS]
    if not before - after < UNMOVED * before:  # NaN is no sign
        return None
    signs = [Reason("loss moved", {"before": before, "after": after})]
    losses = [loss for _, loss in _curve(seen.trained, "loss")]
    if len(losses) > 1:
        signs.append(Reason("training loss moved", {"before": losses[0], "after": losses[-1]}))
    return _named("underfitting", signs)


def _validation_rose(trained: Mapping[str, Any]) -> Reason | None:
    """The validation loss behind its lowest point, where the training loss kept falling."""
    validations, losses = list(_curve(trained, "validation_loss")), list(_curve(trained, "loss"))
    if len(validations) < 2 or not losses:
        return None
    step, lowest = min(validations, key=lambda point: point[1])
    last = validations[-1][1]
    at_lowest = [loss for at, loss in losses if at <= step] or [losses[0][1]]
    if last < lowest * RISE or losses[-1][1] >= at_lowest[-1]:
        return None
    fell = {"before": at_lowest[-1], "after": losses[-1][1]}
    return Reason("validation rose", {"lowest": lowest, "step": step, "last": last, **fell})


def _curve(trained: Mapping[str, Any], name: str) -> Iterator[tuple[int, float]]:
    for point in trained.get("curve", ()):
        if point.get(name) is not None and math.isfinite(point[name]):
            yield int(point["step"]), float(point[name])


def _fell(metric: str, seen: _Seen, by: float) -> Reason | None:
    """What is said when the figure fell at least so far; NaN never did."""
    before, after = seen.base.metrics[metric], seen.candidate.metrics[metric]
    return _went(metric, before, after) if before - after >= by else None
