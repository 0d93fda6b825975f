"""Hygiene: what pairs are looked through for before they go into a dataset, one rule a file.

`clean` runs the rules in a fixed order: those that look at one pair, which mend or drop it, then those that
look at all that are left. Both are repeated until they find nothing more, so that cleaning what is clean
changes nothing. The same items and settings give the same result, byte for byte; the report says of each rule
what it dropped or changed and why, with a few examples in which personal data is masked.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, get_args

from training.data.hygiene import (
    broken_encoding,
    contradictions,
    control_characters,
    dominating,
    exact_duplicates,
    impossible_request,
    injected,
    length,
    markup_debris,
    merged_examples,
    near_duplicates,
    no_answer,
    personal_data,
    placeholders,
    repeated_answer,
    repeated_sentence,
    rude,
    style,
    toxic,
    wrong_language,
)
from training.data.hygiene.rule import Drop, Item, PairRule, SetRule, question_of
from training.data.pairs import TrainingPair
from training.data.similar_texts import groups
from training.settings import HygieneRule, HygieneSettings

__all__ = ["PAIR_RULES", "SET_RULES", "Cleaned", "Item", "clean", "without_personal_data"]

PAIR_RULES: Final[tuple[PairRule, ...]] = (
    broken_encoding.RULE,
    control_characters.RULE,
    placeholders.RULE,
    markup_debris.RULE,
    length.RULE,
    no_answer.RULE,
    merged_examples.RULE,
    impossible_request.RULE,
    injected.RULE,
    toxic.RULE,
    rude.RULE,
    wrong_language.RULE,
    personal_data.RULE,
)
"""In the order in which they look at a pair: what mends a text comes before what judges it."""
SET_RULES: Final[tuple[SetRule, ...]] = (
    style.RULE,
    exact_duplicates.RULE,
    near_duplicates.RULE,
    repeated_answer.RULE,
    contradictions.RULE,
    dominating.MEMBERS,
    dominating.TOPICS,
)
_EXAMPLES: Final = 3
"""Examples that the report shows of each rule."""
_LONGEST_EXAMPLE: Final = 160
"""Characters of a question or an answer in an example."""
_MOST_ROUNDS: Final = 8
"""Mending ends sooner: one round mends, the next finds nothing."""


@dataclass(frozen=True)
class Cleaned:
    """What is left, what happened to the rest, and what a moderator has to decide."""

    items: list[Item]
    """In the order in which they were given; their pairs may have been mended."""
    report: dict[str, Any]
    """Rule → {"dropped": …, "changed": …, "why": {reason: count}, "examples": […]}; contradictions also have
    their "groups". Fit for JSON."""
    contradictions: list[list[int]]
    """Keys of the pairs that were kept apart, those that contradict one another side by side."""
    groups: list[int]
    """The group of near-duplicate questions that each item belongs to, counted from 0."""
    repeated_sentences: list[dict[str, Any]]
    """What is only named, not left out: "sentence" (as a report may show it) and "keys" of its pairs."""


@dataclass
class _Tally:
    """What one rule did."""

    dropped: int = 0
    changed: int = 0
    why: Counter[str] = field(default_factory=Counter)
    examples: list[dict[str, Any]] = field(default_factory=list)

    def count(self, item: Item, why: str) -> None:
        self.why[why] += 1
        if len(self.examples) < _EXAMPLES:
            pair = item.pair
            self.examples.append(
                {
                    "key": item.key,
                    "why": why,
                    "question": _excerpt(question_of(pair)),
                    "answer": _excerpt(pair.output),
                }
            )

    def report(self) -> dict[str, Any]:
        return {
            "dropped": self.dropped,
            "changed": self.changed,
            "why": dict(sorted(self.why.items())),
            "examples": self.examples,
        }


def clean(items: Sequence[Item], settings: HygieneSettings) -> Cleaned:
    """Look through the pairs by all rules that `settings.off` does not name."""
    off = _switched_off(settings)
    pair_rules = [rule for rule in PAIR_RULES if rule.name not in off]
    set_rules = [rule for rule in SET_RULES if rule.name not in off]
    tallies = {name: _Tally() for name in get_args(HygieneRule) if name not in off}
    kept = []
    for item in items:
        own_rules = [rule for rule in pair_rules if rule.name not in item.exempt]
        pair = _mended(item, own_rules, settings, tallies)
        if pair is not None:
            kept.append(item if pair is item.pair else replace(item, pair=pair))
    apart: list[list[int]] = []
    while True:
        alike = _alike(kept, settings)
        before = len(kept)
        for rule in set_rules:
            found = {
                position: why
                for position, why in rule.find(kept, alike, settings).items()
                if rule.name not in kept[position].exempt
            }
            tallies[rule.name].dropped += len(found)
            for position, why in found.items():
                tallies[rule.name].count(kept[position], why)
            if rule is contradictions.RULE:
                apart += _by_group(found, kept, alike)
            kept = [item for position, item in enumerate(kept) if position not in found]
            alike = [group for position, group in enumerate(alike) if position not in found]
        if len(kept) == before:
            break
    report = {name: tally.report() for name, tally in tallies.items()}
    if contradictions.RULE.name in report:
        report[contradictions.RULE.name]["groups"] = apart
    sentences = [
        {"sentence": _excerpt(sentence), "keys": [kept[position].key for position in found]}
        for sentence, found in repeated_sentence.find(kept).items()
    ]
    return Cleaned(kept, report, apart, alike, sentences)


def mended(pair: TrainingPair, settings: HygieneSettings) -> TrainingPair | None:
    """A pair by itself after the rules that look at one; None when one of them drops it."""
    off = _switched_off(settings)
    rules = [rule for rule in PAIR_RULES if rule.name not in off]
    return _mended(Item(0, pair), rules, settings, defaultdict(_Tally))


def without_personal_data(pair: TrainingPair, settings: HygieneSettings) -> TrainingPair | None:
    """The pair with personal data masked; None when it has some and is to be left out for that.

    For answers that are learnt from as bad ones: what else the rules find in them may be why they are bad.
    """
    rule = personal_data.RULE
    if rule.name in _switched_off(settings):
        return pair
    found = rule.look(pair, settings)
    if isinstance(found, Drop):
        return None
    return pair if found is None else found.pair


def _switched_off(settings: HygieneSettings) -> set[str]:
    return {name.strip() for name in settings.off.split(",")}


def _alike(items: Sequence[Item], settings: HygieneSettings) -> list[int]:
    """The group of each item: nearly the same question, after nearly the same one."""
    asked = groups((question_of(item.pair) for item in items), settings.near_duplicate)
    later = [position for position, item in enumerate(items) if item.context]
    before = dict(zip(later, groups((items[i].context for i in later), settings.near_duplicate), strict=True))
    numbers: dict[tuple[int, int], int] = {}
    return [
        numbers.setdefault((group, before.get(position, -1)), len(numbers))
        for position, group in enumerate(asked)
    ]


def _by_group(found: Iterable[int], items: Sequence[Item], alike: Sequence[int]) -> list[list[int]]:
    """The keys of the items found, those of one group of questions side by side."""
    together: dict[int, list[int]] = defaultdict(list)
    for position in found:
        together[alike[position]].append(items[position].key)
    return list(together.values())


def _mended(
    item: Item, rules: Sequence[PairRule], settings: HygieneSettings, tallies: dict[str, _Tally]
) -> TrainingPair | None:
    """The pair after the rules that look at one pair; None when one of them drops it."""
    pair = item.pair
    changed_by: set[str] = set()
    for _ in range(_MOST_ROUNDS):
        before = pair
        for rule in rules:
            verdict = rule.look(pair, settings)
            if verdict is None:
                continue
            tally = tallies[rule.name]
            if isinstance(verdict, Drop):
                tally.dropped += 1
                tally.count(item, verdict.why)
                return None
            if rule.name not in changed_by:
                changed_by.add(rule.name)
                tally.changed += 1
                tally.count(item, verdict.why)
            pair = verdict.pair
        if pair is before:
            break
    return pair


def _excerpt(text: str) -> str:
    """The beginning of a text as a report may show it."""
    shown, _ = personal_data.masked(text.encode(errors="replace").decode())
    shown = " ".join(shown.split())
    return shown if len(shown) <= _LONGEST_EXAMPLE else f"{shown[: _LONGEST_EXAMPLE - 1]}…"
