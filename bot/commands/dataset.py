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
from training import dataset as datasets
from training.errors import PairsError


@dataclass(frozen=True)
class DatasetView:
    """A dataset for people; `pairs` by split, `fault` says what is wrong with its files ("" is nothing)."""

    label: str
    pairs: dict[str, int]
    languages: dict[str, int]
    task_types: dict[str, int]
    left_out: dict[str, int]
    folder: str
    content_hash: str
    created_at: datetime
    fault: str = ""


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
        fault=fault,
    )
