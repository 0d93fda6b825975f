"""The verdict on a candidate: may it serve, and why.

It must answer more rightly than its rivals, and be no worse elsewhere. Verdict and symptoms are drawn from
the same comparisons, and a grave symptom holds the candidate: the two never say different things.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from feedback.rating_results import HOLDING, Results
from feedback.words import LANGUAGES
from training.examination import comparisons, reasons, symptoms
from training.examination.comparisons import (
    DECIDING,
    RIGHTLY,
    RIGHTNESS,
    WATCHED,
    Comparison,
    Counts,
    Figures,
)
from training.examination.reasons import Reason
from training.examination.results import Examined
from training.examination.symptoms import Symptom
from training.settings import GateSettings


@dataclass(frozen=True)
class Verdict:
    """Whether the candidate may serve, with reasons that a person understands, the deciding one first.

    `symptoms` are what a practitioner would call what was found, the grave ones among the reasons. `counts`
    are None where no question's answer could be told from others.
    """

    promote: bool
    reasons: list[Reason]
    comparisons: list[Comparison] = field(default_factory=list)
    symptoms: list[Symptom] = field(default_factory=list)
    counts: Counts | None = None

    def __str__(self) -> str:
        return reasons.verdict(self.promote, self.reasons, "en")


def judge(
    trained: Mapping[str, Any],
    base: Examined,
    current: Examined | None,
    candidate: Examined,
    settings: GateSettings | None = None,
    rated: Results | None = None,
) -> Verdict:
    """Promote a candidate that surely answers more rightly than its rivals and is not worse elsewhere.

    The rivals are the base model and, where one serves, the `current` adapter. Against each it must be surely
    righter over all questions that compete, or answer surely more of them rightly. It may be surely worse in
    neither of these, nor at telling answers apart in one of the examinations, of answers that were trained on
    (recall) and of others (generalisation), where that has `min_questions`.
    `trained` is what the training measured. `rated` is what people found who rated its answers blind, as when
    it is examined again: surely less accurate or safe than a rival, it is rejected.
    """
    settings = settings or GateSettings()
    figures: dict[str, Figures] = {
        one.subject: one.figures for one in (base, current, candidate) if one is not None
    }
    found = comparisons.compare(figures, settings)
    named = symptoms.find(trained, found, base, candidate)
    return verdict(figures, found, named, settings, rated, int(trained.get("pairs", 0)))


def verdict(
    figures: Mapping[str, Figures],
    found: Sequence[Comparison],
    named: Sequence[Symptom],
    settings: GateSettings,
    rated: Results | None = None,
    pairs: int = 0,
) -> Verdict:
    """The verdict on what the comparisons `found` in these subjects' figures, and the symptoms `named`.

    `rated` is what people found who rated blind, None where nobody has; `pairs` how many were trained on.
    """
    counts = comparisons.counts(figures)
    said = [_counted(counts)] if counts else []
    against = [
        *_against_rightness(found, figures, settings, pairs),
        *(
            _against(one, settings)
            for one in found
            if not _decides(one) and one.finding in ("worse", "unknown")
        ),
        *(Reason("shows", {"symptom": symptom.name}) for symptom in named if symptom.grave),
        *_raters_said(rated, "worse"),
    ]
    if against:
        return Verdict(False, [*said, *against], [*found], [*named], counts)
    speaking_for = [
        *said,
        *(_rightness(one, figures, settings) for one in found if _decides(one)),
        *_too_few_elsewhere(figures["candidate"], settings),
        *_rest(found, settings),
        *(Reason("shows too", {"symptom": symptom.name}) for symptom in named),
        *_raters_said(rated, "better"),
    ]
    return Verdict(True, speaking_for, [*found], [*named], counts)


def _counted(counts: Counts) -> Reason:
    return Reason("counts", {"counted": {language: counts.say(language) for language in LANGUAGES}})


def _raters_said(rated: Results | None, finding: Literal["better", "worse"]) -> Iterator[Reason]:
    """What blind raters surely found beside each rival; "worse" only where that holds an adapter."""
    if rated is None:
        return
    for rival in rated.differences:
        for scale in rated.surely(finding, rival):
            if finding == "better" or scale in HOLDING:
                said = {language: rated.sentence(scale, rival, language) for language in LANGUAGES}
                yield Reason("raters", {"finding": finding, "rival": rival, "ratings": said})


def _decides(comparison: Comparison) -> bool:
    return comparison.metric in (RIGHTNESS, *DECIDING.values(), RIGHTLY)


def _against_rightness(
    found: Sequence[Comparison], figures: Mapping[str, Figures], settings: GateSettings, pairs: int
) -> Iterator[Reason]:
    """What speaks against a candidate that is not surely righter than each rival."""
    deciding = [one for one in found if _decides(one)]
    if not any(one.metric == RIGHTNESS for one in deciding):
        yield _too_few(figures["candidate"], settings)
        return
    for rival in dict.fromkeys(one.rival for one in deciding):
        beside = [one for one in deciding if one.rival == rival]
        unfit = [one for one in beside if one.finding in ("worse", "unknown")]
        if not unfit and not any(_is_enough(one, settings) for one in beside):
            unfit = beside
        for one in unfit:
            yield _no_figure(one) if one.finding == "unknown" else _rightness(one, figures, settings)
            if one.metric == RIGHTNESS and one.finding == "unsure" and one.allowed >= 0:
                yield _bound(one, pairs)


def _is_enough(one: Comparison, settings: GateSettings) -> bool:
    """Whether this promotes; a gain that is asked for has no stand-in."""
    if one.metric == RIGHTNESS:
        return one.finding in ("better", "no worse")
    return one.metric == RIGHTLY and one.finding == "better" and settings.min_gain <= 0


def _bound(one: Comparison, pairs: int) -> Reason:
    """Which gain so many questions can show, and how many, and how many pairs, this gain would take."""
    margin = one.difference - one.low
    short = one.allowed + margin
    parts: dict[str, object] = {"questions": one.questions, "margin": short}
    if one.difference <= one.allowed:
        return Reason("no gain", parts)
    times = (margin / (one.difference - one.allowed)) ** 2
    needed = math.ceil(times * one.questions)
    key = "bound" if pairs else "bound without pairs"
    return Reason(
        key, {**parts, "difference": one.difference, "needed": needed, "pairs": math.ceil(times * pairs)}
    )


def _rightness(one: Comparison, figures: Mapping[str, Figures], settings: GateSettings) -> Reason:
    """How surely it is righter than a rival, in telling answers apart in an examination or in answering."""
    if one.metric == RIGHTNESS:
        return Reason("rightness", _parts(one, settings))
    if one.metric == RIGHTLY:
        right = [int(sum(figures[subject].values[RIGHTLY])) for subject in ("candidate", one.rival)]
        return Reason("rightly", _parts(one, settings, right=right[0], other_right=right[1]))
    examination = next(name for name, metric in DECIDING.items() if metric == one.metric)
    right = [sum(figures[subject].right(examination)) for subject in ("candidate", one.rival)]
    return Reason(
        "rank", _parts(one, settings, examination=examination, right=right[0], other_right=right[1])
    )


def _too_few(candidate: Figures, settings: GateSettings) -> Reason:
    numbers: dict[str, int] = {
        name: len(candidate.values.get(metric, ())) for name, metric in DECIDING.items()
    }
    return Reason("too few", {**numbers, "least": settings.min_questions})


def _too_few_elsewhere(candidate: Figures, settings: GateSettings) -> Iterator[Reason]:
    """Which examination had too few questions to be heard, so that the other decided alone."""
    for examination, metric in DECIDING.items():
        number = len(candidate.values.get(metric, ()))
        if number < settings.min_questions:
            yield Reason("too few elsewhere", {"examination": examination, "number": number})


def _rest(found: Sequence[Comparison], settings: GateSettings) -> Iterator[Reason]:
    """What did not get surely worse, and what did, within what is allowed."""
    within = [one for one in found if one.finding == "worse within limits"]
    worse = {one.metric for one in within}
    fine = dict.fromkeys(one.metric for one in found if not _decides(one) and one.metric not in worse)
    if fine:
        yield Reason("not worse", {"metrics": [*fine]})
    for one in within:
        key = "worse within limits" if one.metric in WATCHED else "judge within limits"
        yield Reason(key, _parts(one, settings))


def _against(one: Comparison, settings: GateSettings) -> Reason:
    """The sentence about a watched figure, or a judge, that speaks against the candidate."""
    if one.finding == "unknown":
        return _no_figure(one)
    return Reason("worse" if one.metric in WATCHED else "judge prefers", _parts(one, settings))


def _parts(one: Comparison, settings: GateSettings, **more: object) -> dict[str, object]:
    """The figures of a comparison, as sentences name them."""
    watched = WATCHED.get(one.metric)
    about = {"setting": f"gate.{watched.setting}"} if watched else {}
    return {**asdict(one), "confidence": 100 * settings.confidence, **about, **more}


def _no_figure(one: Comparison) -> Reason:
    whose = "candidate" if not math.isfinite(one.candidate) else one.rival
    if _decides(one):
        return Reason("no rank", {"rival": whose})
    if one.metric not in WATCHED:
        return Reason("judge is silent", {"rival": one.rival})
    return Reason("no figure", {"metric": one.metric, "rival": whose})
