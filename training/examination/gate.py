"""The verdict on a candidate: may it serve, and why.

Better where it should be (the held-out loss), and not worse elsewhere, each by paired bootstrap over the
questions. Knows figures only. What is missing or no number is a reason to hold, never a pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from training.examination import bootstrap
from training.settings import GateSettings

LOSS: Final = "loss"
"""The metric that decides: mean loss on held-out reference answers, in nats per token."""
JUDGE: Final = "judge_against_{}"
"""A candidate's figure against a rival: the judge's preference for it, from 0 to 1; measured by setting."""
SEED: Final = 17

Finding = Literal["better", "no worse", "worse", "unsure", "unknown"]


@dataclass(frozen=True)
class Watched:
    """A metric that may not get worse: what people call it, its better direction, its setting, its unit."""

    name: str
    higher_is_better: bool
    setting: str
    unit: str = ""


WATCHED: Final = {
    "chrf": Watched("chrF", True, "max_worse_chrf", " points"),
    "language_match": Watched("share of answers in the right language", True, "max_worse_language_match"),
    "repetition": Watched("repetition", False, "max_worse_repetition"),
    "memorisation": Watched("share of verbatim training text", False, "max_worse_memorisation"),
    "not_knowing": Watched("abstention rate on unanswerable questions", True, "max_worse_not_knowing"),
    "false_not_knowing": Watched(
        "abstention rate on answerable questions", False, "max_worse_false_not_knowing"
    ),
    "general_loss": Watched("loss on general knowledge", False, "max_worse_general_loss", " nats per token"),
}


@dataclass(frozen=True)
class Figures:
    """What the examination of one subject comparison.

    `metrics` are its figures; `values` those of each question, in the same order for every subject, and
    `weights` how much each counts where they do not count alike.
    """

    metrics: Mapping[str, float]
    values: Mapping[str, Sequence[float]] = field(default_factory=dict)
    weights: Mapping[str, Sequence[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """The candidate against one rival in one metric: `difference` is candidate less rival.

    It lies between `low` and `high` with the gate's confidence. `allowed` is how much worse is put up with;
    for the loss, how much better it must be.
    """

    rival: str
    metric: str
    candidate: float
    other: float
    difference: float
    low: float
    high: float
    allowed: float
    questions: int
    finding: Finding


@dataclass(frozen=True)
class Verdict:
    """Whether the candidate may serve, with reasons that a person understands, the deciding one first."""

    promote: bool
    reasons: list[str]
    comparisons: list[Comparison] = field(default_factory=list)

    def __str__(self) -> str:
        return ("Promoted: " if self.promote else "Rejected: ") + " ".join(self.reasons)


def verdict(
    base: Figures, current: Figures | None, candidate: Figures, settings: GateSettings | None = None
) -> Verdict:
    """Promote when the candidate's held-out loss is surely below its rivals', and nothing else is worse.

    Worse means surely so, and by more than the settings allow. The rivals are the base model and, where one
    serves, the `current` adapter.
    """
    settings = settings or GateSettings()
    rivals = {"base": base} | ({} if current is None else {"current": current})
    comparisons = [
        comparison
        for rival, figures in rivals.items()
        for comparison in _compare(rival, figures, candidate, settings)
    ]
    against: list[str] = []
    questions = len(candidate.values.get(LOSS, ()))
    if questions < settings.min_questions:
        against.append(_too_few(questions, settings))
    against += [
        _reason_against(comparison, settings)
        for comparison in comparisons
        if comparison.finding not in ("better", "no worse")
    ]
    if against:
        return Verdict(False, against, comparisons)
    favour = [_reason_for(comparison, settings) for comparison in comparisons if comparison.metric == LOSS]
    checked = ", ".join(
        dict.fromkeys(_label(comparison.metric) for comparison in comparisons if comparison.metric != LOSS)
    )
    allowed = f"Nothing else got surely worse by more than is allowed: {checked}."
    return Verdict(True, [*favour, allowed], comparisons)


def _compare(rival: str, theirs: Figures, ours: Figures, settings: GateSettings) -> Iterator[Comparison]:
    """The comparisons of the candidate (`ours`) with one rival (`theirs`): loss, watched metrics, judge."""
    yield _loss(rival, theirs, ours, settings)
    for metric, watched in WATCHED.items():
        allowed: float = getattr(settings, watched.setting)
        comparison = _difference(rival, metric, theirs, ours, allowed, settings)
        worse = (comparison.low, comparison.high, comparison.difference)
        if watched.higher_is_better:
            worse = (-comparison.high, -comparison.low, -comparison.difference)
        yield _with_finding(comparison, *worse)
    judged = JUDGE.format(rival)
    if judged in ours.metrics:
        values = ours.values.get(judged, ())
        even = Figures({judged: 0.5}, {judged: [0.5] * len(values)})
        comparison = _difference(rival, judged, even, ours, settings.max_worse_judge, settings)
        yield _with_finding(comparison, -comparison.high, -comparison.low, -comparison.difference)


def _loss(rival: str, theirs: Figures, ours: Figures, settings: GateSettings) -> Comparison:
    comparison = _difference(rival, LOSS, theirs, ours, settings.min_loss_gain, settings)
    if not math.isfinite(comparison.difference):
        return comparison
    finding: Finding = "worse" if comparison.difference >= 0 else "unsure"
    return replace(comparison, finding="better" if comparison.high < -settings.min_loss_gain else finding)


def _difference(
    rival: str, metric: str, theirs: Figures, ours: Figures, allowed: float, settings: GateSettings
) -> Comparison:
    """The two figures and their difference; "unknown" where one of them is missing or no number."""
    both = ours.metrics.get(metric, math.nan), theirs.metrics.get(metric, math.nan)
    values = ours.values.get(metric, ()), theirs.values.get(metric, ())
    known = all(map(math.isfinite, both)) and len(values[0]) == len(values[1])
    interval = (
        bootstrap.paired(*values, ours.weights.get(metric), confidence=settings.confidence, seed=SEED)
        if known
        else bootstrap.Interval(math.nan, math.nan, math.nan)
    )
    return Comparison(
        rival,
        metric,
        *both,
        interval.difference,
        interval.low,
        interval.high,
        allowed,
        questions=len(values[0]),
        finding="unknown",
    )


def _with_finding(comparison: Comparison, least_worse: float, most_worse: float, worse: float) -> Comparison:
    """Worse only beyond what is allowed and surely so; the bounds are of how much worse it is."""
    if not math.isfinite(worse):
        return comparison
    if worse > comparison.allowed and least_worse > 0:
        return replace(comparison, finding="worse")
    return replace(comparison, finding="better" if most_worse < 0 else "no worse")


_RIVALS: Final = {"base": "the base model", "current": "the adapter in service"}


def _label(metric: str) -> str:
    return WATCHED[metric].name if metric in WATCHED else "the judge's preference"


def _too_few(questions: int, settings: GateSettings) -> str:
    counts = {0: "There was no held-out question", 1: "There was one held-out question"}
    count = counts.get(questions, f"There were {questions} held-out questions")
    return (
        f"{count}, and with fewer than {settings.min_questions} (the setting gate.min_questions) luck cannot "
        "be told from learning: approve more answers in more conversations."
    )


def _reason_for(comparison: Comparison, settings: GateSettings) -> str:
    return (
        f"On {comparison.questions} held-out questions its loss is below that of {_RIVALS[comparison.rival]} "
        f"({comparison.candidate:.3f} against {comparison.other:.3f} nats per token; "
        f"{_interval(comparison, settings)})."
    )


def _reason_against(comparison: Comparison, settings: GateSettings) -> str:
    """The sentence about a comparison that speaks against the candidate."""
    rival = _RIVALS[comparison.rival]
    if comparison.finding == "unknown":
        return _no_figure(comparison, rival)
    if comparison.metric == LOSS:
        said = f"{comparison.candidate:.3f} against {comparison.other:.3f} nats per token"
        if comparison.finding == "worse":
            return f"On held-out questions its loss is not below that of {rival} ({said})."
        return (
            f"On {comparison.questions} held-out questions its loss is not surely below that of {rival} by "
            f"{settings.min_loss_gain:g} or more ({said}; {_interval(comparison, settings)})."
        )
    if comparison.metric not in WATCHED:
        return (
            f"The judge prefers {rival}: {comparison.candidate:.2f} for the candidate, where one half is as "
            f"good ({_interval(comparison, settings)})."
        )
    watched = WATCHED[comparison.metric]
    return (
        f"Its {watched.name} is worse than that of {rival}: {comparison.candidate:.3f} against "
        f"{comparison.other:.3f}, and {comparison.allowed:g}{watched.unit} worse is allowed "
        f"(gate.{watched.setting}; {_interval(comparison, settings)})."
    )


def _interval(comparison: Comparison, settings: GateSettings) -> str:
    return (
        f"difference {comparison.difference:+.3f}, with {100 * settings.confidence:g} % confidence between "
        f"{comparison.low:+.3f} and {comparison.high:+.3f}"
    )


def _no_figure(comparison: Comparison, rival: str) -> str:
    if comparison.metric != LOSS and comparison.metric not in WATCHED:
        return f"The judge gave no opinion of the candidate beside {rival} on every question."
    whose = "the candidate" if not math.isfinite(comparison.candidate) else rival
    name = "held-out loss" if comparison.metric == LOSS else _label(comparison.metric)
    return f"There is no figure for the {name} of {whose}, so the two cannot be compared."
