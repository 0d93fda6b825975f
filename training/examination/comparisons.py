"""How a candidate differs from its rivals, figure by figure, each by paired bootstrap over the questions.

The symptoms (`symptoms`) and the verdict (`gate`) are both drawn from these comparisons, so that they cannot
contradict each other. Knows figures only. What is missing or no number is "unknown", never a pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import numpy as np

from feedback.text import Text
from feedback.words import Language
from training.examination import bootstrap
from training.settings import GateSettings

LOSS: Final = "loss"
"""Mean loss on the reference answers, in nats per token; it decides nothing, because style lowers it too."""
JUDGE: Final = "judge_against_{}"
"""A candidate's figure against a rival: the judge's preference for it, from 0 to 1; measured by setting."""
SEED: Final = 17

Examination = Literal["recall", "generalisation"]
Finding = Literal["better", "no worse", "worse within limits", "worse", "unsure", "unknown"]


NO_UNIT: Final = Text("", "")


@dataclass(frozen=True)
class Watched:
    """A metric that may not get worse: what people call it, its better direction, its setting, its unit."""

    called: Text
    higher_is_better: bool
    setting: str
    unit: Text = NO_UNIT


DECIDING: Final[Mapping[Examination, str]] = {
    "recall": "rank_recall",
    "generalisation": "rank_generalisation",
}
"""What may not be surely worse in either examination: the mean reciprocal rank of the own answers."""
RIGHTNESS: Final = "rightness"
"""What decides: how well the questions that compete are told apart and answered, over both examinations."""
TOLD_APART: Final = "told_apart"
"""Of a question that competes: the mean reciprocal rank of its own answer and of its own question."""
OWN_SHARE: Final = "own_share"
LIKE_OWN: Final = "like_own"
"""`OWN_SHARE` of a question that competes: how much more its answer is like its own reference."""
RIGHT: Final[Mapping[Examination, str]] = {
    "recall": "right_recall",
    "generalisation": "right_generalisation",
}
"""The share of questions whose own answer ranks first."""
RIGHTLY: Final = "rightly"
"""Whether what was generated is right by its words; what a verdict counts, and what may decide as well."""
WATCHED: Final = {
    "chrf": Watched(Text("chrF", "chrF"), True, "max_worse_chrf", Text(" points", " pkt")),
    "nearest_own": Watched(
        Text("share of answers nearest to their own reference", "odpowiedzi najbliższe własnemu wzorcowi"),
        True,
        "max_worse_nearest_own",
    ),
    "language_match": Watched(
        Text("share of answers in the right language", "odpowiedzi we właściwym języku"),
        True,
        "max_worse_language_match",
    ),
    "repetition": Watched(Text("repetition", "powtarzanie się"), False, "max_worse_repetition"),
    "memorisation": Watched(
        Text("share of verbatim training text", "dosłowny tekst z treningu"), False, "max_worse_memorisation"
    ),
    "not_knowing": Watched(
        Text("abstention rate on unanswerable questions", "„nie wiem” przy pytaniach bez odpowiedzi"),
        True,
        "max_worse_not_knowing",
    ),
    "false_not_knowing": Watched(
        Text("abstention rate on answerable questions", "„nie wiem” przy pytaniach z odpowiedzią"),
        False,
        "max_worse_false_not_knowing",
    ),
    "general_loss": Watched(
        Text("loss on general knowledge", "strata na wiedzy ogólnej"),
        False,
        "max_worse_general_loss",
        Text(" nats per token", " nata na token"),
    ),
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

    def right(self, examination: Examination) -> list[bool]:
        """Of each question of an examination, whether its own answer ranks first."""
        return [value == 1.0 for value in self.values.get(DECIDING[examination], ())]


@dataclass(frozen=True)
class Comparison:
    """The candidate against one rival in one metric: `difference` is candidate less rival.

    It lies between `low` and `high` with the gate's confidence. `allowed` is how much worse is put up with;
    for what decides, how much better it must be.
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


COUNTED: Final = Text(
    "Of {questions:question|questions} it now answers {right} rightly (before: {before}{by}), {lost}.",
    "Na {questions:pytanie|pytania|pytań} dobrze odpowiada na {right} (przedtem: {before}{by}), {lost}.",
)
IN_SERVICE: Final = Text(", by the adapter in service", ", przez adapter w użyciu")
NONE_LOST: Final = Text("and none that was right is wrong", "a nic, co było dobrze, nie jest teraz źle")
SOME_LOST: Final = Text(
    "and {lost:that was right is|that were right are} wrong",
    "a {lost:dobra przedtem jest teraz zła|dobre przedtem są teraz złe|dobrych przedtem jest teraz złych}",
)


@dataclass(frozen=True)
class Counts:
    """How many questions are answered rightly now (`RIGHTLY`), and how many were `before`, by the `rival`.

    `lost` of these are wrong now.
    """

    questions: int
    right: int
    before: int
    lost: int
    rival: str

    @classmethod
    def kept(cls, metrics: Mapping[str, Any]) -> Counts | None:
        """Those that an adapter's row keeps among its `metrics`; None where nothing was counted."""
        return cls(**metrics["counts"]) if metrics.get("counts") else None

    def say(self, language: Language) -> str:
        """The sentence that a verdict begins with."""
        return COUNTED.say(
            language,
            questions=self.questions,
            right=self.right,
            before=self.before,
            by=IN_SERVICE.say(language) if self.rival == "current" else "",
            lost=(SOME_LOST if self.lost else NONE_LOST).say(language, lost=self.lost),
        )


def compare(figures: Mapping[str, Figures], settings: GateSettings) -> list[Comparison]:
    """The "candidate" of these subjects against the others: "base" and, where one serves, "current".

    Rightness in each examination with enough questions, then everything that may not get worse.
    """
    return [
        comparison
        for rival, theirs in figures.items()
        if rival != "candidate"
        for comparison in _compare(rival, theirs, figures["candidate"], settings)
    ]


def counts(figures: Mapping[str, Figures]) -> Counts | None:
    """How many questions are answered rightly, before by what serves now; None where none was asked."""
    rival = "current" if "current" in figures else "base"
    before, after = (figures[subject].values.get(RIGHTLY, ()) for subject in (rival, "candidate"))
    if not before or len(before) != len(after):
        return None
    both = [(was == 1.0, now == 1.0) for was, now in zip(before, after, strict=True)]
    return Counts(
        len(both),
        sum(now for _, now in both),
        sum(was for was, _ in both),
        sum(was and not now for was, now in both),
        rival,
    )


def is_lost(rightly: Mapping[str, float | None]) -> bool:
    """Whether a question was answered rightly before and is not now; what `RIGHTLY` says of each subject."""
    before = rightly.get("current", rightly.get("base"))
    return before == 1.0 and rightly.get("candidate") == 0.0


def _compare(rival: str, theirs: Figures, ours: Figures, settings: GateSettings) -> Iterator[Comparison]:
    """The comparisons of the candidate (`ours`) with one rival (`theirs`)."""
    if len(ours.values.get(TOLD_APART, ())) >= settings.min_questions:
        yield _rightness(rival, theirs, ours, settings)
    for metric in DECIDING.values():
        if len(ours.values.get(metric, ())) >= settings.min_questions:
            yield _told_apart(rival, metric, theirs, ours, settings)
    if len(ours.values.get(RIGHTLY, ())) >= settings.min_questions:
        yield _answered(rival, theirs, ours, settings)
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


def _rightness(rival: str, theirs: Figures, ours: Figures, settings: GateSettings) -> Comparison:
    """Whether it is surely righter, by telling answers apart and by answering.

    The two signs are weighed by how little the difference of each spreads from question to question, which
    adds them up as multiples of their standard deviations (O'Brien 1984, ordinary least squares).
    """
    mine, rivals = (
        np.array([of.values.get(name, ()) for name in (TOLD_APART, LIKE_OWN)]) for of in (ours, theirs)
    )
    questions, allowed = mine.shape[1], settings.min_gain
    if mine.shape != rivals.shape or not np.isfinite([mine, rivals]).all():
        nan = math.nan
        return Comparison(rival, RIGHTNESS, nan, nan, nan, nan, nan, allowed, questions, "unknown")
    weights = bootstrap.by_spread(mine - rivals)
    candidate, other = weights @ mine, weights @ rivals
    # the better side is asked for, so the interval leaves out as much at each end as the gate may err
    found = bootstrap.paired(candidate, other, confidence=2 * settings.confidence - 1, seed=SEED)
    finding: Finding = "worse" if found.high < 0 else "unsure"
    if found.low > allowed:  # which below 0 is how far behind it may be
        finding = "better" if found.low > 0 else "no worse"
    return Comparison(
        rival,
        RIGHTNESS,
        float(candidate.mean()),
        float(other.mean()),
        found.difference,
        found.low,
        found.high,
        allowed,
        questions,
        finding,
    )


def _told_apart(
    rival: str, metric: str, theirs: Figures, ours: Figures, settings: GateSettings
) -> Comparison:
    """Whether answers are told apart surely better or worse in one examination, by bootstrap and sign test.

    Where the rival has nearly all first, ranks can only fall, and three of twelve would look sure.
    """
    comparison = _difference(rival, metric, theirs, ours, 0.0, settings)
    if not math.isfinite(comparison.difference):
        return comparison
    finding = _by_sign_test(metric, theirs, ours, settings)
    is_sure = comparison.low > 0 or comparison.high < 0
    return replace(comparison, finding=finding if is_sure else "unsure")


def _answered(rival: str, theirs: Figures, ours: Figures, settings: GateSettings) -> Comparison:
    """Whether what it answers is right more often: by the sign test over the questions where the two differ.

    Right answers may be few, and of few the bootstrap is too sure: it calls four against none better.
    """
    comparison = _difference(rival, RIGHTLY, theirs, ours, 0.0, settings)
    if not math.isfinite(comparison.difference):
        return comparison
    return replace(comparison, finding=_by_sign_test(RIGHTLY, theirs, ours, settings))


def _by_sign_test(metric: str, theirs: Figures, ours: Figures, settings: GateSettings) -> Finding:
    """Whether the questions where the two differ fall surely to one side."""
    both = [*zip(ours.values[metric], theirs.values[metric], strict=True)]
    gained, lost = sum(now > was for now, was in both), sum(now < was for now, was in both)
    by_luck = bootstrap.sign_test(gained, lost) >= 1 - settings.confidence
    return "unsure" if by_luck else "better" if gained > lost else "worse"


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
    """Worse only where that is sure; the bounds are of how much worse it is."""
    if not math.isfinite(worse):
        return comparison
    if least_worse > 0:
        return replace(comparison, finding="worse" if worse > comparison.allowed else "worse within limits")
    return replace(comparison, finding="better" if most_worse < 0 else "no worse")
