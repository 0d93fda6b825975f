"""The datasets that there are: whether their files are whole, what is in them and was not, how they differ.

Who overrules a hygiene rule or settles a contradiction does it here; the next dataset heeds it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlmodel import col, select

from bot.access.actor import Actor
from bot.access.rights import require
from bot.commands import review as reviews
from feedback.database import Database
from feedback.errors import AlreadyDecided, NotFound
from feedback.tables import Dataset, Pair, Turn
from training.data import dataset as datasets
from training.data import exceptions
from training.data.dataset import SPLITS, DatasetFilter
from training.errors import PairsError
from training.model.personas import question_text
from training.settings import TrainingSettings


@dataclass(frozen=True)
class DatasetView:
    """A dataset for people; `pairs` by split, `fault` says what is wrong with its files ("" is nothing).

    `hygiene` says of each rule that found something what it dropped or changed, and why; `contradictions`
    counts the pairs kept apart by it; `quarantined` approvals are by reviewer.
    """

    label: str
    pairs: dict[str, int]
    languages: dict[str, int]
    task_types: dict[str, int]
    left_out: dict[str, int]
    folder: str
    content_hash: str
    created_at: datetime
    hygiene: dict[str, dict[str, Any]]
    contradictions: int
    quarantined: dict[str, int]
    filter: dict[str, list[str]]
    fault: str = ""


@dataclass(frozen=True)
class Side:
    """One of the answers of a contradiction."""

    turn: int
    question: str
    answer: str


@dataclass(frozen=True)
class ContradictionView:
    """Approved answers to the same question that contradict one another."""

    answers: tuple[Side, ...]


@dataclass(frozen=True)
class PairView:
    """A pair of a frozen dataset; `turn` None is one that came with the package."""

    question: str
    answer: str
    language: str
    task_type: str
    turn: int | None


@dataclass(frozen=True)
class PairPage:
    """Some pairs of a split in their order, and where the next ones begin; None: there are no more."""

    pairs: tuple[PairView, ...]
    next_at: int | None


@dataclass(frozen=True)
class Difference:
    """What one dataset has and another has not, by turn: new, gone, and of other content or split."""

    added: tuple[int, ...]
    removed: tuple[int, ...]
    changed: tuple[int, ...]
    questions: dict[int, str]
    """The question of each of the first turns, as the record has it now; erased ones have none."""


async def overruled(database: Database) -> dict[int, frozenset[str]]:
    """The hygiene rules that people overruled, by turn."""
    async with database.session(read_only=True) as session:
        return await exceptions.by_turn(session)


async def overrule(database: Database, actor: Actor, turn_id: int, rule: str, *, keep: bool = True) -> None:
    """Keep a turn's pair in the next datasets against a hygiene rule, or no longer.

    Raises NotAllowed, NotFound, and UsageError for a rule that nobody overrules.
    """
    require(actor, "dataset.curate", actor.community_id)
    async with database.session() as session:
        change = exceptions.allow if keep else exceptions.withdraw
        await change(session, turn_id, rule, by=actor.name)


async def settle(database: Database, actor: Actor, *, keep: int, against: Sequence[int]) -> None:
    """Of approved answers that contradict one another keep one turn's; the others are rejected.

    A decision of somebody else's is taken back first, and both are audited. Raises as `reviews.decide`.
    """
    require(actor, "dataset.curate", actor.community_id)
    note = f"It contradicts turn {keep}."
    for turn_id in against:
        try:
            await reviews.reject(database, turn_id, actor, note=note)
        except AlreadyDecided:
            await reviews.undo(database, turn_id, actor)
            await reviews.reject(database, turn_id, actor, note=note)


async def find(database: Database, label: str) -> Dataset:
    """The row of the dataset `name@version`. Raises NotFound."""
    name, _, version = label.partition("@")
    number = int(version) if version.isascii() and version.isdigit() and len(version) < 10 else 0
    wanted = select(Dataset).where(Dataset.name == name, Dataset.version == number)
    async with database.session(read_only=True) as session:
        found = (await session.exec(wanted)).one_or_none()
    if found is None:
        raise NotFound("dataset", label, "`thumbloop dataset show` lists them.")
    return found


def split_file(data: Path, dataset: Dataset, split: str) -> Path:
    """The frozen file of a split. Raises NotFound where there is none."""
    path = data / dataset.folder / f"{split}.jsonl"
    if split not in SPLITS or not path.is_file():
        raise NotFound("split", f"{split} of {datasets.label(dataset)}", f"There are {', '.join(SPLITS)}.")
    return path


def pairs(path: Path, *, at: int = 0, containing: str = "", limit: int = 25) -> PairPage:
    """The next pairs of a frozen file from byte `at` on, those whose texts contain something if asked."""
    wanted = containing.casefold()
    found: list[PairView] = []
    with path.open("rb") as file:
        file.seek(at)
        for line in file:
            row = json.loads(line)
            question = question_text(row["instruction"], row["input"])
            if wanted and wanted not in f"{question}\n{row['output']}".casefold():
                continue
            if len(found) == limit:
                return PairPage(tuple(found), file.tell() - len(line))
            turn = (row.get("lineage") or {}).get("turn")
            found.append(PairView(question, row["output"], row["language"], row["task_type"], turn))
    return PairPage(tuple(found), None)


async def difference(database: Database, older: Dataset, newer: Dataset, *, shown: int = 20) -> Difference:
    """How a dataset differs from another, with the questions of the first `shown` turns of each kind."""
    async with database.session(read_only=True) as session:
        held = []
        for dataset in (older, newer):
            rows = await session.exec(
                select(Pair.turn_id, Pair.split, Pair.content_hash).where(Pair.dataset_id == dataset.id)
            )
            held.append({turn: (split, digest) for turn, split, digest in rows})
        before, after = held
        added = tuple(sorted(after.keys() - before.keys()))
        removed = tuple(sorted(before.keys() - after.keys()))
        changed = tuple(turn for turn in sorted(before.keys() & after.keys()) if before[turn] != after[turn])
        named = [*added[:shown], *removed[:shown], *changed[:shown]]
        texts = await session.exec(select(Turn.id, Turn.question).where(col(Turn.id).in_(named)))
        return Difference(added, removed, changed, {turn or 0: text for turn, text in texts})


async def contradictions(
    database: Database, settings: TrainingSettings, default_persona: str
) -> list[ContradictionView]:
    """What the next dataset of an adapter would keep apart, until a moderator rejects or edits one side."""
    found = await datasets.contradictions(
        database,
        settings=settings,
        default_persona=default_persona,
        only=DatasetFilter.of(settings.own),
    )
    return [
        ContradictionView(
            tuple(
                Side(one.turn, question_text(one.pair.instruction, one.pair.input), one.pair.output)
                for one in contradiction.answers
            )
        )
        for contradiction in found
    ]


async def list_datasets(database: Database) -> list[DatasetView]:
    """Every dataset, by name, the newest version first. Files are not looked at."""
    by_name = select(Dataset).order_by(col(Dataset.name), col(Dataset.version).desc())
    async with database.session(read_only=True) as session:
        return [view(dataset) for dataset in (await session.exec(by_name)).all()]


async def show(database: Database, data: Path, label: str) -> DatasetView:
    """The dataset `name@version`, or the newest one of that name, its files read. Raises NotFound."""
    name, _, version = label.partition("@")
    wanted = select(Dataset).where(Dataset.name == name).order_by(col(Dataset.version).desc()).limit(1)
    if version:
        number = int(version) if version.isascii() and version.isdigit() and len(version) < 10 else 0
        wanted = wanted.where(Dataset.version == number)
    async with database.session(read_only=True) as session:
        found = (await session.exec(wanted)).one_or_none()
    if found is None:
        raise NotFound("dataset", label, "`thumbloop dataset show` lists them.")
    try:
        datasets.load(data, found)
    except PairsError as error:
        return view(found, fault=str(error))
    return view(found)


def view(dataset: Dataset, *, fault: str = "") -> DatasetView:
    """A dataset's row and manifest as people see them."""
    about: dict[str, Any] = dataset.manifest
    return DatasetView(
        label=datasets.label(dataset),
        pairs=about.get("pairs", {}),
        languages=about.get("languages", {}),
        task_types=about.get("task_types", {}),
        left_out={why: count for why, count in about.get("left_out", {}).items() if count},
        folder=dataset.folder,
        content_hash=dataset.content_hash,
        created_at=dataset.created_at,
        hygiene={
            rule: found
            for rule, found in about.get("hygiene", {}).get("rules", {}).items()
            if found["dropped"] or found["changed"]
        },
        contradictions=sum(map(len, about.get("contradictions", []))),
        quarantined=datasets.quarantined_approvals(dataset),
        filter=about.get("filter", {}),
        fault=fault,
    )
