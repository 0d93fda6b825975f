"""Which pairs are trained on, which watch the training, and which examine it: nothing leaks between them.

Conversations stay whole, and those with nearly the same question stay together. Which of them are held back
depends on their own hash; what an earlier version held back or trained on stays on its side while the record
grows. Of some answers every question is held back, so that the examination also asks for what training never
saw. Turns that a person marked as held out are the examination whenever there are any, with the questions of
such answers where the marked ones ask for too few of them; they were chosen beside similar questions on
purpose, so there only the very same question is kept out of training.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from training.data import similar_texts
from training.data.candidates import Candidate, plain
from training.settings import TrainingSettings

Split = Literal["train", "validation", "examination"]
GroupedBy = Literal["", "conversation", "question"]

SPLITS: Final[tuple[Split, ...]] = get_args(Split)
LEARNT: Final[tuple[Split, ...]] = ("train", "validation")
"""The splits that shape an adapter: what it is fitted to, and what chooses when to stop."""
UNSEEN: Final = 5
"""Answers that no training pair has: where marked turns have fewer, some more are held back."""
UNSEEN_PART: Final = 0.5
"""Of `validation_share`, the answers that are held back whole: each is one that an adapter will not learn."""


@dataclass(frozen=True)
class Former:
    """The version before: what it kept together, and the turns on either side."""

    grouped_by: str = ""
    examined: frozenset[int] = frozenset()
    trained: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Divided:
    """The candidates of each split, how many were left out and why, and what was kept together."""

    chosen: dict[Split, list[Candidate]]
    left_out: dict[str, int]
    grouped_by: GroupedBy


def divide(candidates: Sequence[Candidate], former: Former, settings: TrainingSettings) -> Divided:
    """Every candidate into one split, or left out where it would give the examination away."""
    # one or two conversations in all would leave nothing to train on: questions are kept together then
    by_question = len({candidate.conversation for candidate in candidates}) < 3
    key: Callable[[Candidate], str] = _question_key if by_question else _conversation_key
    grouped_by: GroupedBy = "question" if by_question else "conversation"
    if former.grouped_by != grouped_by:
        former = Former()
    near = _near_duplicates(candidates, settings.hygiene.near_duplicate)
    keys = [key(candidate) for candidate in candidates]
    together, unfit = _together(keys, near)
    marked = {k for k, candidate in zip(keys, candidates, strict=True) if candidate.held_out}
    examined = {k for k, c in zip(keys, candidates, strict=True) if c.turn in former.examined}
    trained = {k for k, c in zip(keys, candidates, strict=True) if c.turn in former.trained}
    answers = similar_texts.groups((c.pair.output for c in candidates), settings.hygiene.same_answer)
    if not marked:
        fit = [k for k in keys if k not in unfit]
        examined |= _asking(_unseen_answers(candidates, keys, answers, trained, settings), keys, answers)
        examined |= _examined(fit, together, examined, trained, settings) - trained
        examined = examined or _examined(fit, together, set(), set(), settings, at_least_one=True)
    elif _marked_alone(candidates, answers) < UNSEEN:
        examined |= _asking(_unseen_answers(candidates, keys, answers, trained, settings), keys, answers)
    # of a conversation with marked turns those are the examination, and the others are left out
    everyone = range(len(candidates))
    wholly, never_trained = examined - marked, examined | marked
    examination = [i for i in everyone if candidates[i].held_out or keys[i] in wholly]
    rest = [i for i in everyone if keys[i] not in never_trained]
    # the same words asked in another conversation would give the examination away
    asked = {candidates[i].question_in_context for i in examination}
    other = [i for i in rest if candidates[i].question_in_context not in asked]
    alike = {near[i] for i in examination if not candidates[i].held_out}
    free = [i for i in other if near[i] not in alike]
    watched = held_back(Counter(together[keys[i]] for i in free), "validation", settings, at_least_one=True)
    return Divided(
        chosen={
            "train": [candidates[i] for i in free if together[keys[i]] not in watched],
            "validation": [candidates[i] for i in free if together[keys[i]] in watched],
            "examination": [candidates[i] for i in examination],
        },
        left_out={
            "same conversation as examination": len(candidates) - len(examination) - len(rest),
            "same question as examination": len(rest) - len(other),
            "near duplicate of examination": len(other) - len(free),
        },
        grouped_by=grouped_by,
    )


def held_back(
    pairs: Mapping[str, int],
    purpose: str,
    settings: TrainingSettings,
    *,
    at_least_one: bool = False,
    part: float = 1.0,
) -> set[str]:
    """About `part` of `validation_share` of the keys, by hash, and never more than half of the pairs of all.

    `pairs` says how many each key has.
    """
    places = {key: unit_hash(f"{settings.seed} {purpose} {key}") for key in pairs}
    chosen: set[str] = set()
    room = sum(pairs.values()) // 2
    for key in sorted(pairs, key=places.__getitem__):
        if places[key] >= part * settings.validation_share and (chosen or not at_least_one):
            break
        if pairs[key] <= room:
            chosen.add(key)
            room -= pairs[key]
    return chosen


def unit_hash(text: str) -> float:
    """Where a text falls between 0 and 1, evenly and for ever."""
    return int.from_bytes(hashlib.sha256(text.encode(errors="replace")).digest()[:8], "big") / 2**64


def _unseen_answers(
    candidates: Sequence[Candidate],
    keys: Sequence[str],
    answers: Sequence[int],
    trained: Collection[str],
    settings: TrainingSettings,
) -> set[int]:
    """The answers of which every question is held back: some of those that several questions have."""
    first: dict[int, str] = {}
    asking: dict[int, set[str]] = {}
    for candidate, key, answer in zip(candidates, keys, answers, strict=True):
        first.setdefault(answer, plain(candidate.pair.output))
        asking.setdefault(answer, set()).add(key)
    by_text = {
        first[answer]: answer
        for answer, among in asking.items()
        if len(among) > 1 and not among & set(trained)
    }
    sizes = {text: len(asking[answer]) for text, answer in by_text.items()}
    return {by_text[text] for text in held_back(sizes, "unseen answer", settings, part=UNSEEN_PART)}


def _asking(chosen: Collection[int], keys: Sequence[str], answers: Sequence[int]) -> set[str]:
    return {key for key, answer in zip(keys, answers, strict=True) if answer in chosen}


def _marked_alone(candidates: Sequence[Candidate], answers: Sequence[int]) -> int:
    """How many answers only marked turns have."""
    both = [
        {a for c, a in zip(candidates, answers, strict=True) if c.held_out is side} for side in (True, False)
    ]
    return len(both[0] - both[1])


def _examined(
    keys: Sequence[str],
    together: Mapping[str, str],
    examined: Iterable[str],
    trained: Iterable[str],
    settings: TrainingSettings,
    *,
    at_least_one: bool = False,
) -> set[str]:
    """The keys of what examines: all that is kept together with `examined`, and some of what is new."""
    before = {together[key] for key in examined}
    known = before | {together[key] for key in trained}
    new = Counter(together[key] for key in keys if together[key] not in known)
    chosen = before | held_back(new, "examination", settings, at_least_one=at_least_one)
    return {key for key in keys if together[key] in chosen}


def _near_duplicates(candidates: Sequence[Candidate], threshold: float) -> list[Hashable]:
    """The group of nearly the same question after nearly the same one; a marked one is alone in its own."""
    open_ones = [i for i, candidate in enumerate(candidates) if not candidate.held_out]
    later = [i for i in open_ones if candidates[i].history]
    groups: list[Hashable] = [("marked", i) for i in range(len(candidates))]
    asked = similar_texts.groups((candidates[i].question for i in open_ones), threshold)
    for i, group in zip(open_ones, asked, strict=True):
        groups[i] = group
    said = similar_texts.groups((candidates[i].history[-1].question for i in later), threshold)
    for i, before in zip(later, said, strict=True):
        groups[i] = (groups[i], before)
    return groups


def _together(keys: Sequence[str], near: Sequence[Hashable]) -> tuple[dict[str, str], set[str]]:
    """For each key the first of those that it is kept together with; and the keys unfit to examine.

    What hangs together over many corners, until it is more than half of all, is taken apart again: then only
    what is a near duplicate itself is kept out of training. Unfit is a question that more than half ask, for
    without it there would be nothing to train on.
    """
    together = _joined(keys, near)
    sizes = Counter(together[key] for key in keys)
    half = len(keys) // 2
    common = {group for group, size in Counter(near).items() if size > half}
    unfit = {key for key, group in zip(keys, near, strict=True) if group in common}
    return {key: root if sizes[root] <= half else key for key, root in together.items()}, unfit


def _joined(keys: Sequence[str], near: Sequence[Hashable]) -> dict[str, str]:
    """For each key the first key of those that near duplicates join it with."""
    parent = {key: key for key in keys}

    def first(key: str) -> str:
        while parent[key] != key:
            parent[key] = key = parent[parent[key]]
        return key

    order = {key: place for place, key in enumerate(parent)}
    seen: dict[Hashable, str] = {}
    for key, group in zip(keys, near, strict=True):
        one, other = first(key), first(seen.setdefault(group, key))
        if one != other:
            early, late = sorted((one, other), key=order.__getitem__)
            parent[late] = early
    return {key: first(key) for key in parent}


def _conversation_key(candidate: Candidate) -> str:
    return f"conversation {candidate.conversation}"


def _question_key(candidate: Candidate) -> str:
    return candidate.question
