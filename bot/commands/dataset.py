"""The datasets that there are, and whether one's files are as they were frozen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlmodel import col, select

from feedback.database import Database
from feedback.errors import NotFound
from feedback.tables import Dataset
from training.data import dataset as datasets
from training.data.dataset import DatasetFilter
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
