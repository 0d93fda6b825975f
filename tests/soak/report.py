"""The table at the end, and whether the run passed.

answered: a whole answer was shown. told: a reason was shown instead. cut off: the caller of the API or the
visitor of the console knows no more than that the connection was refused or broken, as every kill does to
them. silent: the record has the question, its asker has seen nothing or half an answer. lost:
neither record nor asker has anything, or an answer was shown that the record lacks. shown twice: more than
one answer or reason stands under one question. left begun: beside its answer stands the beginning of another,
or the promise of one, from a process that was killed before it could write down that it had begun; it does
not fail the run. votes:
thumbs of which the asker was told that they are noted; lost are those that the record has not as the asker
gave them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, get_args

from tests.soak.ledger import Asked, Edge, Ledger, Record

TWICE_IN: Final = 1000
"""One question in so many may be shown twice."""

MOST_LISTED: Final = 12
_REFERENCE: Final = re.compile(r"\b[0-9a-f]{8}\b")
COLUMNS: Final = (
    "asked",
    "answered",
    "told",
    "cut off",
    "lost",
    "silent",
    "shown twice",
    "left begun",
    "votes",
    "votes lost",
)


@dataclass
class Verdict:
    """What a run came to."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    lost: list[Asked] = field(default_factory=list)
    silent: list[Asked] = field(default_factory=list)
    twice: list[Asked] = field(default_factory=list)
    begun: list[Asked] = field(default_factory=list)
    votes_lost: list[Asked] = field(default_factory=list)
    died: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether nothing was lost, no vote either, nobody silenced, and hardly anything shown twice."""
        asked = self.counts["all"]["asked"]
        faults = self.lost or self.silent or self.died or self.votes_lost
        return not faults and len(self.twice) * TWICE_IN <= asked


def judge(ledger: Ledger, record: Record, died: Sequence[str]) -> Verdict:
    """Sort the questions; `died` are the last words of services that ended without being asked to."""
    verdict = Verdict({edge: Counter() for edge in (*get_args(Edge), "all")}, died=list(died))
    for one in ledger.asked.values():
        states = record.states.get(one.marker, [])
        words = ["asked"]
        if one.answered and "answered" in states:
            words.append("answered")
        elif one.has_reason:
            words.append("told")
        elif one.cut_off:
            words.append("cut off")
        elif one.answered or not states:
            words.append("lost")
            verdict.lost.append(one)
        else:
            words.append("silent")
            verdict.silent.append(one)
        if sum(shown.kind != "unfinished" for shown in one.shown) > 1:
            words.append("shown twice")
            verdict.twice.append(one)
        elif len(one.shown) > 1:
            words.append("left begun")
            verdict.begun.append(one)
        if one.thumb is not None and one.thumb.acknowledged:
            words.append("votes")
            if record.votes.get(one.marker, []) != [one.thumb.value]:
                words.append("votes lost")
                verdict.votes_lost.append(one)
        for edge in (one.edge, "all"):
            verdict.counts[edge].update(words)
    return verdict


def lines(verdict: Verdict, ledger: Ledger, record: Record) -> list[str]:
    """The report, line by line."""
    told = [f"{'':10}" + "".join(f"{name:>12}" for name in COLUMNS)]
    for edge, counts in verdict.counts.items():
        told.append(f"{edge:10}" + "".join(f"{counts[name]:>12}" for name in COLUMNS))
    reasons = Counter(
        (one.edge, _REFERENCE.sub("…", one.shown[-1].text.partition("\n")[0])[:110])
        for one in ledger.asked.values()
        if one.has_reason or one.cut_off
    )
    told.append("What was told instead of an answer:")
    told += [f"  {count:5} × {edge}: {text}" for (edge, text), count in reasons.most_common(MOST_LISTED)]
    listings = (
        ("lost", verdict.lost),
        ("silent", verdict.silent),
        ("twice", verdict.twice),
        ("vote lost", verdict.votes_lost),
    )
    for name, listed in listings:
        for one in listed[:MOST_LISTED]:
            kinds = ", ".join(shown.kind for shown in one.shown) or "nothing"
            states = ", ".join(record.states.get(one.marker, [])) or "nothing"
            during = f", asked during: {one.during}" if one.during else ""
            told.append(f"{name}: {one.marker} on {one.edge}; shown: {kinds}; record: {states}{during}")
    left = Counter(
        (one.edge, one.during, shown.text[:60])
        for one in verdict.begun
        for shown in one.shown
        if shown.kind == "unfinished"
    )
    told += [f"left begun: {count} × {key}" for key, count in left.most_common(40)]
    told += [f"The service ended by itself: {words}" for words in verdict.died]
    told.append("passed" if verdict.passed else "FAILED")
    return told
