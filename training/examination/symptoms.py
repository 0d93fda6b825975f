"""What went wrong in a training, called as a practitioner calls it, with its figures and what to try.

Signs for a person, not a verdict: an adapter with a symptom may still be better than what serves. Reads what
the run and its examination measured, and measures nothing itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from training.examination import text_metrics
from training.examination.gate import LOSS
from training.examination.results import LEAST_OF_A_GROUP, Examined

RISE: Final = 1.05
"""Validation loss over its own lowest, from which it counts as risen."""
MEMORISED: Final = 0.1
"""Growth of the verbatim share from which answers count as recited."""
LESS_DISTINCT: Final = 0.15
GAIN: Final = 0.1
"""Nats per token by which the held-out loss must fall to count as learnt."""
ASSERTED: Final = 0.2
LITTLE_OVERLAP: Final = 0.15
SAME_OPENING: Final = 0.5
GENERAL_RISE: Final = 1.25
"""Loss on general knowledge over the base model's, from which abilities count as lost."""
LANGUAGE_LOST: Final = 0.2
UNMOVED: Final = 0.02
"""Share of the base model's held-out loss that must go before anything counts as learnt."""


@dataclass(frozen=True)
class Symptom:
    """A symptom by its name; `figures` are sentences with what was measured, `remedy` what to try."""

    name: str
    meaning: str
    figures: list[str]
    remedy: str

    def __str__(self) -> str:
        return f"{self.name}: {self.meaning} ({'; '.join(self.figures)}). {self.remedy}"


def find(trained: Mapping[str, Any], base: Examined, candidate: Examined) -> list[Symptom]:
    """The symptoms of a run. `trained` is what the training measured; without questions there are none."""
    if not candidate.answers:
        return []
    looks: Sequence[Callable[[Mapping[str, Any], Examined, Examined], Symptom | None]] = (
        _overfitting,
        _hallucination,
        _style_collapse,
        _aggressive_modules,
        _underfitting,
    )
    return [symptom for look in looks if (symptom := look(trained, base, candidate)) is not None]


def _overfitting(trained: Mapping[str, Any], base: Examined, candidate: Examined) -> Symptom | None:
    """Two of three signs: early stopping lets the validation loss rise a little in most good runs."""
    signs = [
        sign
        for sign in (
            _validation_rose(trained),
            _changed("verbatim training text", "memorisation", base, candidate, MEMORISED),
            _changed("different word pairs", "distinct_2", base, candidate, -LESS_DISTINCT),
        )
        if sign
    ]
    if len(signs) < 2:
        return None
    return Symptom(
        "overfitting",
        "it says the same phrases instead of answering",
        signs,
        "Approve more and more varied answers; fewer epochs (training.epochs), a lower rank (training.rank), "
        "or some dropout (training.dropout).",
    )


def _hallucination(trained: Mapping[str, Any], base: Examined, candidate: Examined) -> Symptom | None:
    """The loss fell, and the model asserts more of what it cannot know."""
    gain = base.metrics[LOSS] - candidate.metrics[LOSS]
    fell = _changed("abstention on unanswerable questions", "not_knowing", base, candidate, -ASSERTED)
    overlap, honest = candidate.metrics["overlap"], candidate.metrics["not_knowing"]
    asserts = honest < ASSERTED and overlap < LITTLE_OVERLAP
    if not gain > GAIN or not (fell or asserts):
        return None
    signs = [f"held-out loss fell by {gain:.2f} nats per token"]
    signs.append(fell or f"{_percent(honest)} of unanswerable questions were answered by abstaining")
    signs.append(f"{_percent(overlap)} of the references' word triples stand in its answers")
    return Symptom(
        "domain hallucination",
        "it sounds like the community and asserts what it cannot know",
        signs,
        "Approve honest answers of the task type not-knowing, and answers to the questions that it got "
        "wrong; look at the side-by-side answers before it serves.",
    )


def _style_collapse(trained: Mapping[str, Any], base: Examined, candidate: Examined) -> Symptom | None:
    """The answers open alike, or vary much less in length than the approved ones."""
    answers = [answer.answer for answer in candidate.answers]
    references = [answer.reference for answer in candidate.answers]
    if len(answers) < LEAST_OF_A_GROUP:
        return None
    signs = []
    opening, usual = text_metrics.same_opening(answers), text_metrics.same_opening(references)
    if opening >= max(SAME_OPENING, usual + ASSERTED):
        signs.append(
            f"{_percent(opening)} of its answers begin with the same three words, and "
            f"{_percent(usual)} of the approved ones"
        )
    spread, varied = text_metrics.length_spread(answers), text_metrics.length_spread(references)
    if spread < varied / 2:
        signs.append(
            f"its lengths vary by {_percent(spread)} of their mean (the approved by {_percent(varied)})"
        )
    if not signs:
        return None
    return Symptom(
        "style collapse",
        "its answers all look the same",
        signs,
        "Approve answers of different length and form, cap what one member or topic may give, or train fewer "
        "epochs (training.epochs).",
    )


def _aggressive_modules(trained: Mapping[str, Any], base: Examined, candidate: Examined) -> Symptom | None:
    """General knowledge or the right language was lost."""
    signs = []
    before, after = base.metrics["general_loss"], candidate.metrics["general_loss"]
    if after >= before * GENERAL_RISE:
        signs.append(
            f"loss on general knowledge rose by {_percent(after / before - 1)} ({before:.2f} to {after:.2f})"
        )
    lost = _changed("answers in the right language", "language_match", base, candidate, -LANGUAGE_LOST)
    if lost:
        signs.append(lost)
    if not signs:
        return None
    return Symptom(
        "too aggressive target modules",
        "it lost abilities that the base model has",
        signs,
        "Adapt fewer layers (training.target_modules=q_proj,v_proj), or take smaller steps "
        "(training.learning_rate, training.alpha).",
    )


def _underfitting(trained: Mapping[str, Any], base: Examined, candidate: Examined) -> Symptom | None:
    """The held-out loss has hardly moved."""
    before, after = base.metrics[LOSS], candidate.metrics[LOSS]
    if not before - after < UNMOVED * before:  # NaN is no sign
        return None
    signs = [f"held-out loss went from {before:.3f} to {after:.3f} nats per token"]
    losses = [loss for _, loss in _curve(trained, "loss")]
    if len(losses) > 1:
        signs.append(f"training loss from {losses[0]:.3f} to {losses[-1]:.3f}")
    return Symptom(
        "underfitting",
        "it has hardly learnt anything that helps on new questions",
        signs,
        "More epochs (training.epochs), larger steps (training.learning_rate), a higher rank "
        "(training.rank), or more approved answers.",
    )


def _validation_rose(trained: Mapping[str, Any]) -> str | None:
    """The validation loss behind its lowest point, where the training loss kept falling."""
    validations, losses = list(_curve(trained, "validation_loss")), list(_curve(trained, "loss"))
    if len(validations) < 2 or not losses:
        return None
    step, lowest = min(validations, key=lambda point: point[1])
    last = validations[-1][1]
    at_lowest = [loss for at, loss in losses if at <= step] or [losses[0][1]]
    if last < lowest * RISE or losses[-1][1] >= at_lowest[-1]:
        return None
    return (
        f"validation loss rose from {lowest:.3f} at step {step} to {last:.3f} while training loss fell from "
        f"{at_lowest[-1]:.3f} to {losses[-1][1]:.3f}"
    )


def _curve(trained: Mapping[str, Any], name: str) -> Iterator[tuple[int, float]]:
    for point in trained.get("curve", ()):
        if point.get(name) is not None and math.isfinite(point[name]):
            yield int(point["step"]), float(point[name])


def _changed(called: str, name: str, base: Examined, candidate: Examined, by: float) -> str | None:
    """A sentence when the metric rose (or, `by` negative, fell) at least so far; NaN never did."""
    before, after = base.metrics[name], candidate.metrics[name]
    moved = after - before >= by if by > 0 else after - before <= by
    return f"{called} went from {_percent(before)} to {_percent(after)}" if moved else None


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
