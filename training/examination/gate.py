"""The verdict on a candidate: may it serve, and why.

It must answer more rightly than its rivals, and be no worse elsewhere. Verdict and symptoms are drawn from
the same comparisons, and a grave symptom holds the candidate: the two never say different things.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from feedback.plural import plural
from feedback.ratings import HOLDING, Results
from training.examination import comparisons, symptoms
from training.examination.comparisons import (
    DECIDING,
    RIGHTLY,
    WATCHED,
    Comparison,
    Counts,
    Examination,
    Figures,
)
from training.examination.results import Examined
from training.examination.symptoms import Symptom
from training.settings import GateSettings

_ASKED: Final[Mapping[Examination, str]] = {
    "recall": "Asked in new words for answers that it was trained on",
    "generalisation": "Asked for answers that its training never saw",
}
_RIVALS: Final = {"base": "the base model", "current": "the adapter in service"}


@dataclass(frozen=True)
class Verdict:
    """Whether the candidate may serve, with reasons that a person understands, the deciding one first.

    `symptoms` are what a practitioner would call what was found, the grave ones among the reasons. `counts`
    are None where no question's answer could be told from others.
    """

    promote: bool
    reasons: list[str]
    comparisons: list[Comparison] = field(default_factory=list)
    symptoms: list[Symptom] = field(default_factory=list)
    counts: Counts | None = None

    def __str__(self) -> str:
        return ("Promoted: " if self.promote else "Rejected: ") + " ".join(self.reasons)


def judge(
    trained: Mapping[str, Any],
    base: Examined,
    current: Examined | None,
    candidate: Examined,
    settings: GateSettings | None = None,
    rated: Results | None = None,
) -> Verdict:
    """Promote a candidate that surely answers more rightly than its rivals and is not worse elsewhere.

    The rivals are the base model and, where one serves, the `current` adapter. In each examination, of
    answers that were trained on (recall) and of others (generalisation), rightness is compared where there
    are `min_questions`, and so is how often what is answered is right; against each rival it must be surely
    better in one of these and surely worse in none.
    `trained` is what the training measured. `rated` is what people found who rated its answers blind, as when
    it is examined again: surely less accurate or safe than a rival, it is rejected.
    """
    settings = settings or GateSettings()
    figures: dict[str, Figures] = {
        one.subject: one.figures for one in (base, current, candidate) if one is not None
    }
    found = comparisons.compare(figures, settings)
    return verdict(figures, found, symptoms.find(trained, found, base, candidate), settings, rated)


def verdict(
    figures: Mapping[str, Figures],
    found: Sequence[Comparison],
    named: Sequence[Symptom],
    settings: GateSettings,
    rated: Results | None = None,
) -> Verdict:
    """The verdict on what the comparisons `found` in these subjects' figures, and the symptoms `named`.

    `rated` is what people found who rated blind, None where nobody has.
    """
    counts = comparisons.counts(figures)
    said = [str(counts)] if counts else []
    against = [
        *_against_rightness(found, figures, settings),
        *(
            _against(one, settings)
            for one in found
            if not _decides(one) and one.finding in ("worse", "unknown")
        ),
        *(f"It shows {symptom.name}: {symptom.meaning}." for symptom in named if symptom.grave),
        *_raters_said(rated, "worse"),
    ]
    if against:
        return Verdict(False, [*said, *against], [*found], [*named], counts)
    reasons = [
        *said,
        *(_rightness(one, figures, settings) for one in found if _decides(one)),
        *_too_few_elsewhere(figures["candidate"], settings),
        *_rest(found, settings),
        *(f"It shows {symptom.name}, too: {symptom.meaning}." for symptom in named),
        *_raters_said(rated, "better"),
    ]
    return Verdict(True, reasons, [*found], [*named], counts)


def _raters_said(rated: Results | None, finding: Literal["better", "worse"]) -> Iterator[str]:
    """What blind raters surely found beside each rival; "worse" only where that holds an adapter."""
    if rated is None:
        return
    for rival in rated.differences:
        for scale in rated.surely(finding, rival):
            if finding == "better" or scale in HOLDING:
                said = rated.sentence(scale, rival)
                yield f"People find it surely {finding} than {_RIVALS[rival]}: {said}."


def _decides(comparison: Comparison) -> bool:
    return comparison.metric in DECIDING.values() or comparison.metric == RIGHTLY


def _against_rightness(
    found: Sequence[Comparison], figures: Mapping[str, Figures], settings: GateSettings
) -> Iterator[str]:
    """What speaks against a candidate that is not surely righter than each rival."""
    deciding = [one for one in found if _decides(one)]
    if all(one.metric == RIGHTLY for one in deciding):
        yield _too_few(figures["candidate"], settings)
        return
    for rival in dict.fromkeys(one.rival for one in deciding):
        beside = [one for one in deciding if one.rival == rival]
        unfit = [one for one in beside if one.finding in ("worse", "unknown")]
        if not unfit and not any(_is_enough(one, settings) for one in beside):
            unfit = beside
        for one in unfit:
            yield _no_figure(one) if one.finding == "unknown" else _rightness(one, figures, settings)


def _is_enough(one: Comparison, settings: GateSettings) -> bool:
    """Whether it is surely righter by this; a gain in rank that is asked for has no stand-in."""
    return one.finding == "better" and (one.metric != RIGHTLY or settings.min_rank_gain <= 0)


def _rightness(one: Comparison, figures: Mapping[str, Figures], settings: GateSettings) -> str:
    """How surely it is righter than a rival, in telling answers apart in an examination or in answering."""
    if one.metric == RIGHTLY:
        how = {"better": "right surely more often than", "worse": "right surely less often than"}.get(
            one.finding, "not surely right more often than"
        )
        right = [sum(figures[subject].values[RIGHTLY]) for subject in ("candidate", one.rival)]
        return (
            f"What it answers is {how} what {_RIVALS[one.rival]} answers: {right[0]:.0f} of {one.questions} "
            f"against {right[1]:.0f} (sign test, {100 * settings.confidence:g} % confidence)."
        )
    examination = next(name for name, metric in DECIDING.items() if metric == one.metric)
    right = [sum(figures[subject].right(examination)) for subject in ("candidate", one.rival)]
    how = {"better": "surely better than", "worse": "surely worse than"}.get(
        one.finding, "not surely better than"
    )
    return (
        f"{_ASKED[examination]}, it tells the right answer from others {how} {_RIVALS[one.rival]}: "
        f"{right[0]} of {one.questions} against {right[1]}, mean reciprocal rank {one.candidate:.3f} against "
        f"{one.other:.3f} ({_interval(one, settings)})."
    )


def _too_few(candidate: Figures, settings: GateSettings) -> str:
    numbers = {name: len(candidate.values.get(metric, ())) for name, metric in DECIDING.items()}
    return (
        f"There were {numbers['recall']} held-out questions whose answers training had seen and "
        f"{numbers['generalisation']} others that could be told from one another, and with fewer than "
        f"{settings.min_questions} of a kind (gate.min_questions) luck cannot be told from "
        "learning: approve more different answers in more conversations."
    )


def _too_few_elsewhere(candidate: Figures, settings: GateSettings) -> Iterator[str]:
    """Which examination had too few questions to be heard, so that the other decided alone."""
    for examination, metric in DECIDING.items():
        number = len(candidate.values.get(metric, ()))
        if number < settings.min_questions:
            were = f"{plural(number, 'was', 'were')} {number or 'no'} such {plural(number, 'question')}"
            yield f"{_ASKED[examination]}, it was not judged: there {were}."


def _rest(found: Sequence[Comparison], settings: GateSettings) -> Iterator[str]:
    """What did not get surely worse, and what did, within what is allowed."""
    within = [one for one in found if one.finding == "worse within limits"]
    worse = {one.metric for one in within}
    fine = dict.fromkeys(_label(one.metric) for one in found if not _decides(one) and one.metric not in worse)
    if fine:
        yield f"Not surely worse: {', '.join(fine)}."
    for one in within:
        yield f"Worse, but by no more than is allowed: {_difference(one, settings)}."


def _label(metric: str) -> str:
    return WATCHED[metric].name if metric in WATCHED else "the judge's preference"


def _against(one: Comparison, settings: GateSettings) -> str:
    """The sentence about a watched figure, or a judge, that speaks against the candidate."""
    if one.finding == "unknown":
        return _no_figure(one)
    if one.metric not in WATCHED:
        return (
            f"The judge prefers {_RIVALS[one.rival]}: {one.candidate:.2f} for the candidate, where one half "
            f"is as good ({_interval(one, settings)})."
        )
    return f"Worse by more than is allowed: {_difference(one, settings)}."


def _difference(one: Comparison, settings: GateSettings) -> str:
    watched = WATCHED.get(one.metric)
    if watched is None:
        return f"the judge's preference, {one.candidate:.2f}, where one half is as good"
    return (
        f"{watched.name}, {one.candidate:.3f} against {one.other:.3f} of {_RIVALS[one.rival]}, and "
        f"{one.allowed:g}{watched.unit} worse is allowed (gate.{watched.setting}; {_interval(one, settings)})"
    )


def _interval(one: Comparison, settings: GateSettings) -> str:
    return (
        f"difference {one.difference:+.3f}, with {100 * settings.confidence:g} % confidence between "
        f"{one.low:+.3f} and {one.high:+.3f}"
    )


def _no_figure(one: Comparison) -> str:
    rival = _RIVALS[one.rival]
    if _decides(one):
        whose = "the candidate" if not math.isfinite(one.candidate) else rival
        return f"Whether {whose} tells right answers from others is not known, so the two cannot be compared."
    if one.metric not in WATCHED:
        return f"The judge gave no opinion of the candidate beside {rival} on every question."
    whose = "the candidate" if not math.isfinite(one.candidate) else rival
    return f"There is no figure for the {_label(one.metric)} of {whose}, so the two cannot be compared."
