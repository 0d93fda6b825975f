"""The notes that a pair is trained and examined with: what retrieval gives its question, as when answering.

After RAFT (Zhang et al. 2024): a pair learns its answer beside passages of which one says it and the others
distract, and for a share of the pairs none says it. The passages are those that retrieval would have given
without the pair itself. Where they lack the answer, another pair that has it stands among them; where there
is no other, the pair itself, or an answer that was approved in one wording only would teach that notes are
of no use. Training sees no words of the examination and none that are kept out of pairs. Leaves to others:
how passages are found (a `Lookup` is given) and how they stand in a prompt (`model.notes`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from training.data import hygiene, similar_texts
from training.data.candidates import NO_NOTES, Candidate
from training.data.pairs import TrainingPair
from training.data.splits import LEARNT, Split, unit_hash
from training.model import personas
from training.settings import TrainingSettings

NOTES: Final = "notes"
"""The key of a pair's lineage that its notes stand under, as JSON text."""


@dataclass(frozen=True)
class FoundPassage:
    """A passage that retrieval gives: its id and hash in the record, and as which note it stands in a prompt.

    `turn` is the approved turn whose answer it is; None for a piece of a document.
    """

    passage: int
    content_hash: str
    title: str
    text: str
    language: str = "en"
    turn: int | None = None


Embed = Callable[[Sequence[str]], NDArray[np.float32] | None]
"""Unit vectors of texts by their meaning, of shape (texts, dimensions); None while they cannot be had."""


class Lookup(Protocol):
    """A function that retrieves as the bot does when it answers."""

    async def __call__(
        self,
        community_id: int,
        question: str,
        language: str,
        *,
        shows: Callable[[int], bool],
        most: int | None = None,
    ) -> Sequence[FoundPassage]:
        """The community's passages that fit the question best, best first.

        As many as `most`, None: as prompts have. Approved answers count only where `shows` says so of their
        turn.
        """


def notes(pair: TrainingPair) -> list[FoundPassage]:
    """The notes of a pair, in their order in the prompt."""
    return [FoundPassage(**note) for note in json.loads((pair.lineage or {}).get(NOTES) or NO_NOTES)]


def with_notes(pair: TrainingPair, found: Iterable[FoundPassage]) -> TrainingPair:
    """The pair with these notes in place of its own."""
    return replace(pair, lineage={**(pair.lineage or {}), NOTES: _as_text(found)})


def without_notes(pairs: Iterable[TrainingPair]) -> list[TrainingPair]:
    """The pairs with their questions alone."""
    return [with_notes(pair, ()) for pair in pairs]


async def give_notes(
    chosen: Mapping[Split, Sequence[Candidate]], lookup: Lookup, settings: TrainingSettings
) -> dict[str, int]:
    """Write its notes into every pair of the splits; how many pairs have some, and how many the right one.

    The same record gives the same notes.
    """
    trained = {one.turn: one.pair for split in LEARNT for one in chosen[split]}
    groups = similar_texts.groups((pair.output for pair in trained.values()), settings.hygiene.same_answer)
    answers = dict(zip(trained, groups, strict=True))
    known = {one.turn: one.pair for split in chosen for one in chosen[split]}
    counts = Counter[str]()
    for split in chosen:
        for candidate in chosen[split]:
            if split == "examination":
                found = await _examined(candidate, lookup, known, settings)
            else:
                found = await _trained(candidate, lookup, trained, answers, settings)
                counts["right"] += any(_says(note, candidate, answers) for note in found)
            counts["pairs"] += bool(found)
            assert candidate.pair.lineage is not None, "a candidate's pair has its lineage"
            candidate.pair.lineage[NOTES] = _as_text(found)
    return {"pairs": counts["pairs"], "right": counts["right"]}


async def distracted(
    packaged: Sequence[TrainingPair], chosen: Sequence[Candidate], lookup: Lookup
) -> list[TrainingPair]:
    """The unanswerable examples with what retrieval gives their questions: notes that have no answer.

    They come from the community that most of the `chosen` pairs are of.
    """
    communities = Counter(_community(one) for one in chosen)
    if not communities:
        return list(packaged)
    community = min(communities, key=lambda one: (-communities[one], one))
    shown = {one.turn: one.pair for one in chosen}
    told = []
    for pair in packaged:
        found = await lookup(community, pair.instruction, pair.language, shows=shown.__contains__)
        told.append(with_notes(pair, (_in_pairs_words(one, shown) for one in found)))
    return told


async def _examined(
    candidate: Candidate, lookup: Lookup, known: Mapping[int, TrainingPair], settings: TrainingSettings
) -> list[FoundPassage]:
    """What a member would have got: everything but the pair itself, after hygiene's look at it."""
    found = await _looked_up(candidate, lookup, lambda turn: turn != candidate.turn)
    return [
        kept
        for one in found
        if (kept := _in_pairs_words(one, known) if one.turn in known else _mended(one, settings))
    ]


async def _trained(
    candidate: Candidate,
    lookup: Lookup,
    trained: Mapping[int, TrainingPair],
    answers: Mapping[int, int],
    settings: TrainingSettings,
) -> list[FoundPassage]:
    """What retrieval gives of documents and of what is trained on, with the right passage or without it.

    Nothing for the share of pairs that are trained without notes.
    """
    own = answers[candidate.turn]
    if _falls(candidate, "noted", settings) >= settings.noted_share:
        return []
    if _falls(candidate, "without", settings) < settings.missing_note_share:
        return [
            _in_pairs_words(one, trained)
            for one in await _looked_up(
                candidate, lookup, lambda turn: turn in trained and answers[turn] != own
            )
        ]
    found = await _looked_up(candidate, lookup, lambda turn: turn in trained and turn != candidate.turn)
    if found and not any(_says(note, candidate, answers) for note in found):
        alike = {turn for turn, answer in answers.items() if answer == own}
        # another wording is what a new question will meet; a pair's own words where there is none
        among = alike - {candidate.turn} or alike
        right = await _looked_up(candidate, lookup, among.__contains__)
        of_answers = [note for note in right if note.turn is not None]
        if of_answers:
            found[int(_falls(candidate, "place", settings) * len(found))] = of_answers[0]
    return [_in_pairs_words(one, trained) for one in found]


async def _looked_up(
    candidate: Candidate, lookup: Lookup, shows: Callable[[int], bool]
) -> list[FoundPassage]:
    pair = candidate.pair
    return list(await lookup(_community(candidate), pair.instruction, pair.language, shows=shows))


def _says(note: FoundPassage, candidate: Candidate, answers: Mapping[int, int]) -> bool:
    """Whether a note gives the pair's answer; of documents nobody can tell."""
    return note.turn is not None and answers.get(note.turn) == answers[candidate.turn]


def _in_pairs_words(note: FoundPassage, known: Mapping[int, TrainingPair]) -> FoundPassage:
    """The note in the words of its pair, which hygiene may have mended."""
    pair = known.get(note.turn) if note.turn is not None else None
    if pair is None:
        return note
    return replace(note, title=personas.question_text(pair.instruction, pair.input), text=pair.output)


def _mended(note: FoundPassage, settings: TrainingSettings) -> FoundPassage | None:
    """A note after hygiene's look at it; a document is the community's own, and stays as it is."""
    if note.turn is None:
        return note
    pair = hygiene.mended(
        TrainingPair(note.title, output=note.text, language=note.language), settings.hygiene
    )
    return None if pair is None else replace(note, title=pair.instruction, text=pair.output)


def _falls(candidate: Candidate, purpose: str, settings: TrainingSettings) -> float:
    """A number from 0 to 1, evenly spread over pairs and the same for a pair for ever."""
    return unit_hash(f"{settings.seed} notes {purpose} {candidate.turn}")


def _community(candidate: Candidate) -> int:
    return int((candidate.pair.lineage or {})["community"])


def _as_text(found: Iterable[FoundPassage]) -> str:
    """Notes as text: columns of one type in every row, whatever reads the files."""
    return json.dumps([asdict(one) for one in found], ensure_ascii=False)
