"""What people preferred, as examples for preference methods: pairs for DPO, thumbs for KTO.

A pair is a moderator's text over the bot's, or, of two answers to the same question, the one that was found
good over the one that was not. A thumb is an answer found good or bad by itself. A review outranks the votes.
The splits are those of the dataset: a held-out conversation or question is never trained on, and a reviewed
answer that the dataset leaves out is left out here. Frozen in the dataset's folder, hashed, with lineage.
"""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from sqlmodel.ext.asyncio.session import AsyncSession

from feedback import opinions
from feedback.opinions import JudgedTurn
from feedback.review import TRAINABLE
from training import files
from training.data import candidates, hygiene, similar_texts
from training.data.candidates import DatasetFilter
from training.data.dataset import DATASETS, EVERYTHING, Splits
from training.data.pairs import PreferencePair, Thumb, TrainingPair, json_line
from training.data.splits import LEARNT, SPLITS, Split, unit_hash
from training.errors import PairsError
from training.model.reasoning import answer_of
from training.settings import TrainingSettings

PAIRS_FILE: Final = "preferences.jsonl"
THUMBS_FILE: Final = "thumbs.jsonl"


@dataclass(frozen=True)
class Preferences:
    """Preference pairs and thumbs by the dataset's split; `folder` and `content_hash` once frozen."""

    pairs: dict[Split, list[PreferencePair]] = field(default_factory=lambda: {split: [] for split in SPLITS})
    thumbs: dict[Split, list[Thumb]] = field(default_factory=lambda: {split: [] for split in SPLITS})
    folder: Path | None = None
    content_hash: str = ""

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """How many of each kind are in each split."""
        return {
            "pairs": {split: len(self.pairs[split]) for split in SPLITS},
            "desirable": {split: sum(t.desirable for t in self.thumbs[split]) for split in SPLITS},
            "undesirable": {split: sum(not t.desirable for t in self.thumbs[split]) for split in SPLITS},
        }

    @property
    def turns(self) -> list[int]:
        """The turns that shape an adapter through these, whether the dataset has them or not."""
        rows: list[PreferencePair | Thumb] = []
        for split in LEARNT:
            rows += [*self.pairs[split], *self.thumbs[split]]
        named = [(row.lineage or {}).get(key) for row in rows for key in ("turn", "rejected_turn")]
        return sorted({turn for turn in named if turn is not None})

    @property
    def votes(self) -> int:
        """The thumbs to train on that are votes alone, without a review."""
        return sum((thumb.lineage or {}).get("origin") == "votes" for thumb in self.thumbs["train"])


async def collect(
    session: AsyncSession,
    splits: Splits,
    settings: TrainingSettings,
    *,
    default_persona: str,
    only: DatasetFilter = EVERYTHING,
) -> Preferences:
    """What the record holds of people's preferences, split like the dataset `splits` that `only` made.

    Of communities that the dataset draws from. The same record, dataset and settings give the same examples.
    """
    sides = _Sides.of(splits, settings)
    repeated = await opinions.repeated_questions(session)
    answers = []
    async for judged in opinions.judged_turns(session):
        answer = sides.place(judged, default_persona)
        if answer is not None and only.lets_through(answer.said, answer.persona, judged.turn.mode):
            answers.append(answer)
    answers = _kept_from_examination(answers, splits)
    collected = Preferences()
    groups: dict[int, list[_Answer]] = defaultdict(list)
    for answer in answers:
        if answer.better is not None:
            collected.pairs[answer.split].append(_preference(answer.better, answer.said, origin="edit"))
        collected.thumbs[answer.split].extend(answer.thumbs())
        if answer.question_id in repeated:
            groups[answer.question_id].append(answer)
    for _, group in sorted(groups.items()):
        best, worst = (choose(group, key=lambda one: one.rank) for choose in (max, min))
        good = best.better or (best.said if best.standing > 0 else None)
        if good is None or worst.standing >= 0 or worst is best or best.split != worst.split:
            continue
        if good.output.strip() != worst.said.output.strip():
            collected.pairs[best.split].append(_preference(good, worst.said, origin="regenerated"))
    return collected


def freeze(preferences: Preferences, dataset_folder: Path) -> Preferences:
    """Write both files into a folder of their own in the dataset's, named by their hash.

    The same examples lie there once. Raises PairsError.
    """
    with files.faults_explained("Writing the preferences to", dataset_folder, PairsError):
        files.sweep(dataset_folder)
        with files.part_folder(dataset_folder / "preferences") as part:
            for name, rows in ((PAIRS_FILE, preferences.pairs), (THUMBS_FILE, preferences.thumbs)):
                with (part / name).open("wb") as file:
                    file.writelines(json_line(row) for split in SPLITS for row in rows[split])
            content_hash = files.write_manifest(part, counts=preferences.counts)
            place = dataset_folder / f"preferences-{content_hash[:12]}"
            if files.damage(place, content_hash) is not None:
                files.replace_folder(part, place)
    return replace(preferences, folder=place, content_hash=content_hash)


def forget(data: Path, turn_ids: Iterable[int]) -> list[Path]:
    """Remove every frozen version with words of one of these turns; the folders removed.

    The next run freezes what is left.
    """
    forgotten = set(turn_ids)
    removed = []
    for place in sorted((data / DATASETS).glob("*/*/preferences-*")):
        with files.faults_explained("Reading the preferences in", place, PairsError):
            if any(forgotten & _turns(line) for path in place.glob("*.jsonl") for line in path.open("rb")):
                shutil.rmtree(place)
                removed.append(place)
    return removed


@dataclass(frozen=True)
class _Answer:
    """The bot's answer to a question, what counts of it, and a moderator's better one where there is one."""

    said: TrainingPair
    question_id: int
    standing: int
    score: int
    split: Split
    reviewed: bool
    better: TrainingPair | None = None

    @property
    def rank(self) -> tuple[int, int, int]:
        """What is better stands higher: a moderator's text, then what was found good, then by votes."""
        return (int(self.better is not None), self.standing, self.score)

    @property
    def persona(self) -> str:
        """Whose voice it was given in."""
        return str((self.said.lineage or {})["persona"])

    def thumbs(self) -> Iterable[Thumb]:
        """Nothing where nobody can tell; both texts where a moderator wrote a better one."""
        if self.better is not None:
            yield self._thumb(self.better, desirable=True)
        if self.standing:
            yield self._thumb(self.said, desirable=self.standing > 0)

    def _thumb(self, said: TrainingPair, *, desirable: bool) -> Thumb:
        lineage = {**(said.lineage or {}), "origin": "review" if self.reviewed else "votes"}
        return Thumb(
            said.instruction, said.input, said.output, desirable, said.task_type, said.language, lineage
        )


@dataclass(frozen=True)
class _Sides:
    """The pairs of a dataset by turn, and which conversations and questions lie on which side of it."""

    pairs: dict[int, tuple[Split, TrainingPair]]
    conversations: dict[int, Split]
    questions: dict[str, Split]
    communities: frozenset[int]
    settings: TrainingSettings

    @classmethod
    def of(cls, splits: Splits, settings: TrainingSettings) -> _Sides:
        sides = cls({}, {}, {}, frozenset(_lineage(splits, "community")), settings)
        on_sides: dict[int, set[Split]] = defaultdict(set)
        for split in SPLITS:  # the examination comes last, so its questions stay its own
            for pair in getattr(splits, split):
                lineage = pair.lineage or {}
                sides.questions[_question(pair)] = split
                if "turn" in lineage:
                    sides.pairs[lineage["turn"]] = (split, pair)
                    on_sides[lineage["conversation"]].add(split)
        # where there are few conversations, one lies on several sides and its questions decide
        sides.conversations.update({one: min(of) for one, of in on_sides.items() if len(of) == 1})
        return sides

    def place(self, judged: JudgedTurn, default_persona: str) -> _Answer | None:
        """The answer with its split, personal data masked; None when it may not be used."""
        turn, community = judged.turn, judged.community
        assert turn.id is not None, "a stored turn has its id"
        approved = turn.review_state in TRAINABLE
        if turn.community_id not in self.communities or (approved and turn.id not in self.pairs):
            return None
        if approved:
            # the dataset's words, which may have been cleaned
            split, pair = self.pairs[turn.id]
            edited = turn.review_state == "edited" and pair.output.strip() != answer_of(turn.answer).strip()
            if not edited:
                return _answer(judged, pair, split)
            raw = hygiene.without_personal_data(
                replace(pair, output=answer_of(turn.answer)), self.settings.hygiene
            )
            return None if raw is None else _answer(judged, raw, split, pair)
        lineage: dict[str, Any] = {
            "turn": turn.id,
            "conversation": turn.conversation_id,
            "community": turn.community_id,
            "persona": community.persona or default_persona,
            "mode": turn.mode,
        }
        said = hygiene.without_personal_data(
            TrainingPair(
                turn.question, turn.input, answer_of(turn.answer), turn.task_type, turn.language, lineage
            ),
            self.settings.hygiene,
        )
        if said is None:
            return None
        return _answer(judged, said, self._split(turn.conversation_id, said, held_out=turn.held_out))

    def _split(self, conversation: int, said: TrainingPair, *, held_out: bool) -> Split:
        """Where a question goes that the dataset does not have: with its like, else by its hash."""
        by_question = self.questions.get(_question(said))
        if held_out or by_question == "examination":
            return "examination"
        known = by_question or self.conversations.get(conversation)
        if known is not None:
            return known
        falls = unit_hash(f"{self.settings.seed} preferences {conversation}")
        share = self.settings.validation_share
        return "examination" if falls < share else "validation" if falls < 2 * share else "train"


def _answer(
    judged: JudgedTurn, said: TrainingPair, split: Split, better: TrainingPair | None = None
) -> _Answer:
    reviewed = judged.turn.review_state != "waiting"
    return _Answer(said, judged.question_id, judged.standing, judged.score, split, reviewed, better)


def _kept_from_examination(answers: list[_Answer], splits: Splits) -> list[_Answer]:
    """The answers with those to nearly a question of the examination moved there; the dataset's own stay."""
    open_ones = [i for i, answer in enumerate(answers) if "review" not in (answer.said.lineage or {})]
    asked = [candidates.plain(pair.instruction) for pair in splits.examination]
    groups = similar_texts.groups(
        [*asked, *(candidates.plain(answers[i].said.instruction) for i in open_ones)]
    )
    examined = set(groups[: len(asked)])
    moved = {i for i, group in zip(open_ones, groups[len(asked) :], strict=True) if group in examined}
    return [replace(one, split="examination") if i in moved else one for i, one in enumerate(answers)]


def _turns(line: bytes) -> set[int]:
    """The turns whose words a frozen row has, those said before it and those of its notes among them."""
    lineage = json.loads(line).get("lineage") or {}
    said = [one["turn"] for kept in ("history", "notes") for one in json.loads(lineage.get(kept) or "[]")]
    return {turn for turn in (lineage.get("turn"), lineage.get("rejected_turn"), *said) if turn is not None}


def _preference(chosen: TrainingPair, rejected: TrainingPair, *, origin: str) -> PreferencePair:
    other = (rejected.lineage or {}).get("turn")
    lineage = {**(chosen.lineage or {}), "rejected_turn": other, "origin": origin}
    return PreferencePair(
        chosen.instruction,
        chosen.input,
        chosen.output,
        rejected.output,
        chosen.task_type,
        chosen.language,
        lineage,
    )


def _question(pair: TrainingPair) -> str:
    return candidates.plain(f"{pair.instruction}\n{pair.input}")


def _lineage(splits: Splits, name: str) -> Iterable[int]:
    for split in SPLITS:
        for pair in getattr(splits, split):
            if pair.lineage and name in pair.lineage:
                yield pair.lineage[name]
