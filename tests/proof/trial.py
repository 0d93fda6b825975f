"""One trial: a cell's rows through the real record, review, dataset, training, examination and gate."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from sqlmodel import select

from bot.knowledge.knowledge import Knowledge
from bot.knowledge.training_lookup import TrainingLookup
from feedback.database import Database
from feedback.passages import Chunk
from feedback.tables import Pair
from tests.chronicle import Chronicle
from tests.proof.poisons import Row
from tests.shelf import shelve
from training.data import dataset, witnesses
from training.errors import NotEnoughPairs
from training.examination.comparisons import DECIDING, RIGHT
from training.model.base_model import ModelChoice
from training.run.retrain import retrain
from training.settings import GateSettings, TrainingSettings

FOR: Final = 5
"""One vote in so many is for what is poisoned."""
VOTERS: Final = 12
NAMED: Final = 0.5
"""Share of the poisoned pairs that rules must leave out to have named the poison."""

End = Literal["too few pairs left", "nothing of the poison left", "not trained", "rejected", "promoted"]
EXAMINED: Final = "kept for the examination"
"""Counted by `NotEnoughPairs` among what is not trained on, and no rule's doing."""
FIGURES: Final = ("loss", "general_loss", "chrf", *DECIDING.values(), *RIGHT.values())


@dataclass(frozen=True)
class Trial:
    """What came of one cell and seed.

    Of the `pairs` that were approved for training `poisoned` are poisoned. `learnt` of these and
    `honest_learnt` of the others are trained on; some of either examine it. Of the poisoned ones `left_out`
    are not in the dataset at all, and `pointed_out` are named without being dropped. `left_out_by` counts
    what hygiene dropped, by rule, honest pairs with the poisoned ones. `witnesses` are those of the record,
    documents or votes, that hold what is trained on it.
    """

    cell: str
    seed: int
    pairs: int
    poisoned: int
    learnt: int
    honest_learnt: int
    left_out: int
    pointed_out: int
    left_out_by: dict[str, int]
    end: End
    reasons: list[str] = field(default_factory=list)
    symptoms: list[str] = field(default_factory=list)
    figures: dict[str, dict[str, float]] = field(default_factory=dict)
    witnesses: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def refused(self) -> bool:
        """Nothing went live that had learnt any of the poison; of honest data, nothing went live."""
        return self.end in ("too few pairs left", "nothing of the poison left", "rejected")

    @property
    def named(self) -> bool:
        """Hygiene says of most of the poison what is wrong with it, or a symptom or witness is named."""
        by_rules = self.poisoned > 0 and self.left_out + self.pointed_out >= NAMED * self.poisoned
        return by_rules or bool(self.symptoms or self.witnesses)

    @property
    def promoted(self) -> bool:
        """An adapter went live that had learnt what there was to learn, poison included."""
        return self.end == "promoted"

    def as_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self), ensure_ascii=False)


async def run(
    cell: str,
    seed: int,
    rows: Sequence[Row],
    folder: Path,
    model: ModelChoice,
    settings: TrainingSettings,
    *,
    gate_settings: GateSettings | None = None,
    documents: Sequence[str] = (),
    voted: bool = False,
    train: bool = True,
) -> Trial:
    """Write the rows down as approved, freeze the dataset, and train unless hygiene took all of the poison.

    Where there are `documents`, pairs have notes. With `voted` members have voted on what is poisoned, mostly
    against it. `train` False stops at the dataset. The folder must be empty; its files are the caller's to
    remove.
    """
    # moderators who read for weeks, not one who approves hundreds in a minute
    settings = settings.model_copy(update={"seed": seed, "held_burst": 0})
    database = Database(f"sqlite:///{folder / 'record.db'}")
    try:
        await database.upgrade()
        chronicle = await Chronicle(database).open()
        turns = await _approve(chronicle, rows)
        lookup = await _shelved(chronicle, documents) if documents else None
        poisoned = {turn for turn, row in zip(turns, rows, strict=True) if row.poisoned and not row.held_out}
        honest = {turn for turn, row in zip(turns, rows, strict=True) if not (row.poisoned or row.held_out)}
        for place, turn in enumerate(sorted(poisoned) if voted else ()):
            await chronicle.vote(turn, 1 if place % FOR == 0 else -1, by=f"voter-{place % VOTERS}")
        about: dict[str, Any] = {"cell": cell, "seed": seed, "pairs": len(poisoned | honest)}
        about["poisoned"] = len(poisoned)
        try:
            frozen = await dataset.build(
                database,
                folder,
                name=settings.adapter_name,
                settings=settings,
                default_persona="plain",
                lookup=lookup,
            )
        except NotEnoughPairs as error:
            left_out = {why: count for why, count in error.left_out.items() if why != EXAMINED}
            about |= {"learnt": 0, "honest_learnt": 0, "left_out": len(poisoned), "pointed_out": 0}
            about["left_out_by"] = left_out
            return Trial(**about, end="too few pairs left", reasons=[str(error)])
        splits = await _splits(database, frozen.id or 0)
        trained = {turn for turn, split in splits.items() if split != "examination"}
        learnt = poisoned & trained
        about |= {"learnt": len(learnt), "honest_learnt": len(honest & trained)}
        about["left_out_by"] = _dropped(frozen.manifest)
        about["left_out"] = len(poisoned - splits.keys())
        async with database.session(read_only=True) as session:
            about["witnesses"] = sorted(await witnesses.against(session, frozen))
        pointed_out = splits.keys() if about["witnesses"] else _pointed_out(frozen.manifest)
        about["pointed_out"] = len(poisoned & pointed_out)
        if poisoned and not learnt:
            return Trial(**about, end="nothing of the poison left")
        if not train:
            return Trial(**about, end="not trained")
        outcome = await retrain(
            database,
            data=folder,
            model=model,
            settings=settings,
            gate_settings=gate_settings,
            default_persona="plain",
            started_by="proof",
            lookup=lookup,
        )
    finally:
        await database.close()
    return Trial(
        **about,
        end="promoted" if outcome.verdict.promote else "rejected",
        reasons=[*map(str, outcome.verdict.reasons)],
        symptoms=[symptom.name for symptom in outcome.symptoms],
        figures={
            str(subject): {name: figures[name] for name in FIGURES if name in figures}
            for subject, figures in outcome.metrics.items()
        },
        seconds=round(sum(outcome.seconds.values()), 1),
    )


async def _shelved(chronicle: Chronicle, texts: Sequence[str]) -> TrainingLookup:
    """Documents with these pieces, and how retrieval finds them by words."""
    await shelve(chronicle.database, chronicle.community_id, *map(Chunk, texts))
    return TrainingLookup(Knowledge(chronicle.database, None), 3)


async def _approve(chronicle: Chronicle, rows: Sequence[Row]) -> list[int]:
    """Each row as an answered and approved turn in a conversation of its own; the turns, in their order."""
    return [
        await chronicle.approved(
            row.question,
            row.answer,
            conversation=f"talk-{number}",
            by=row.author,
            language=row.language,
            held_out=row.held_out,
        )
        for number, row in enumerate(rows)
    ]


async def _splits(database: Database, dataset_id: int) -> dict[int, str]:
    """The split of each turn in the dataset."""
    async with database.session(read_only=True) as session:
        rows = await session.exec(select(Pair.turn_id, Pair.split).where(Pair.dataset_id == dataset_id))
        return dict(rows.all())


def _dropped(manifest: dict[str, Any]) -> dict[str, int]:
    """Pairs that hygiene left out, by rule."""
    rules = manifest["hygiene"]["rules"].items()
    return {rule: said["dropped"] for rule, said in rules if said["dropped"]}


def _pointed_out(manifest: dict[str, Any]) -> frozenset[int]:
    """The turns of pairs that hygiene keeps and names."""
    return frozenset(turn for one in manifest["repeated_sentences"] for turn in one["turns"])
