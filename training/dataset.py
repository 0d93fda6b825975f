"""Approved turns become a frozen dataset: versioned, hashed, split, with the lineage of every pair.

`data/datasets/<name>/<version>/` holds train, validation and examination as .jsonl and a manifest. The same
record and settings give the same bytes, and then the version that is there already. Splits go by
conversation: none of them spans examination and training. Which new conversations are held back depends on
their own hash; what an earlier version held back or trained on stays on its side while the record grows.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

from filelock import AsyncFileLock
from sqlalchemy import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from feedback import review
from feedback.database import Database
from feedback.journal import audit
from feedback.review import ApprovedTurn
from feedback.tables import Dataset, Pair
from feedback.words import MODES
from training import files, personas
from training.errors import NotEnoughPairs, PairsError
from training.pairs import TrainingPair, json_line, read_pairs
from training.settings import TrainingSettings

Split = Literal["train", "validation", "examination"]

SPLITS: Final[tuple[Split, ...]] = get_args(Split)
DATASETS: Final = "datasets"
FORMAT: Final = 1
"""Raised when the same record shall give other bytes than before."""


@dataclass(frozen=True)
class Splits:
    """The pairs of a dataset, and which dataset they are."""

    train: list[TrainingPair]
    validation: list[TrainingPair]
    examination: list[TrainingPair]
    dataset: str = ""
    content_hash: str = ""


def label(dataset: Dataset) -> str:
    """`name@version`."""
    return f"{dataset.name}@{dataset.version}"


def messages(pair: TrainingPair) -> list[dict[str, str]]:
    """The conversation that a pair stands for: system text, question, answer."""
    lineage = pair.lineage or {}
    mode = lineage.get("mode")
    system = personas.system_text(
        lineage.get("persona") or "plain",
        mode if mode in MODES else "default",
        "pl" if pair.language == "pl" else "en",
    )
    return [
        {"role": "system", "content": system},
        {"role": "user", "content": personas.question_text(pair.instruction, pair.input)},
        {"role": "assistant", "content": pair.output},
    ]


async def build(
    database: Database, data: Path, *, name: str, settings: TrainingSettings, default_persona: str
) -> Dataset:
    """Freeze every approved turn into the next version of the dataset `name`, unless nothing has changed.

    Raises NotEnoughPairs, and PairsError when the files cannot be written.
    """
    async with database.session(read_only=True) as session:
        turns = [_Item.of(found, default_persona) async for found in review.approved_turns(session)]
        former = await _former(session, name, settings)
    chosen, left_out, grouped_by = _split(turns, former, settings)
    trainable = len(chosen["train"]) + len(chosen["validation"])
    if trainable < settings.min_pairs:
        raise NotEnoughPairs(trainable, settings.min_pairs)
    about = {
        "format": FORMAT,
        "name": name,
        "default_persona": default_persona,
        "seed": settings.seed,
        "validation_share": settings.validation_share,
        "grouped_by": grouped_by,
        "pairs": {split: len(chosen[split]) for split in SPLITS},
        "left_out": left_out,
        "languages": _counts(item.pair.language for item in turns),
        "task_types": _counts(item.pair.task_type for item in turns),
        "turns": _range(item.turn for item in turns),
        "reviews": _range(item.review for item in turns),
    }
    shelf = data / DATASETS / name
    with files.faults_explained("Writing the dataset to", shelf, PairsError):
        async with _locked(shelf):
            return await _freeze(database, data, shelf, chosen, about)


def load(data: Path, dataset: Dataset) -> Splits:
    """The pairs of a frozen dataset. Raises PairsError when a file is missing or not what was frozen."""
    place = data / dataset.folder
    with files.faults_explained("Reading the dataset in", place, PairsError):
        fault = files.damage(place, dataset.content_hash)
        splits = {}
        for split in SPLITS:
            path = place / f"{split}.jsonl"
            # a line that is no pair is named before the file as a whole is called corrupt
            splits[split] = list(read_pairs(path)) if path.exists() else []
    if fault is not None:
        raise PairsError(
            f"The dataset {label(dataset)} in {place} cannot be used: {fault}.",
            "Delete that folder and run `thumbloop dataset build`, which makes it anew from the record.",
        )
    return Splits(**splits, dataset=label(dataset), content_hash=dataset.content_hash)


@dataclass(frozen=True)
class _Item:
    """A pair on its way into a split."""

    pair: TrainingPair
    turn: int
    review: int
    conversation: str
    held_out: bool

    @classmethod
    def of(cls, found: ApprovedTurn, default_persona: str) -> _Item:
        turn, community = found.turn, found.community
        assert turn.id is not None, "a stored turn has its id"
        pair = TrainingPair(
            instruction=turn.question,
            input=turn.input,
            output=turn.approved_answer,
            task_type=turn.task_type,
            language=turn.language,
            lineage={
                "turn": turn.id,
                "review": found.review_id,
                "conversation": turn.conversation_id,
                "community": turn.community_id,
                "persona": community.persona or default_persona,
                "mode": turn.mode,
            },
        )
        return cls(pair, turn.id, found.review_id, f"conversation {turn.conversation_id}", turn.held_out)

    @property
    def question(self) -> str:
        """What is asked, without regard to case and spacing."""
        return " ".join(f"{self.pair.instruction}\n{self.pair.input}".casefold().split())

    def is_empty(self) -> bool:
        return not self.pair.instruction.strip() or not self.pair.output.strip()


@dataclass(frozen=True)
class _Former:
    """The version before: what it kept together, and the turns on either side."""

    grouped_by: str = ""
    examined: frozenset[int] = frozenset()
    trained: frozenset[int] = frozenset()


async def _former(session: AsyncSession, name: str, settings: TrainingSettings) -> _Former:
    """The newest version that was split by the same settings; without one, nothing is on either side yet."""
    versions = select(Dataset).where(Dataset.name == name).order_by(col(Dataset.version).desc())
    for dataset in (await session.exec(versions)).all():
        about = dataset.manifest
        if (about["seed"], about["validation_share"]) == (settings.seed, settings.validation_share):
            pairs = await session.exec(select(Pair.turn_id, Pair.split).where(Pair.dataset_id == dataset.id))
            sides: dict[bool, set[int]] = {True: set(), False: set()}
            for turn, split in pairs:
                sides[split == "examination"].add(turn)
            return _Former(about["grouped_by"], frozenset(sides[True]), frozenset(sides[False]))
    return _Former()


def _split(
    items: list[_Item], former: _Former, settings: TrainingSettings
) -> tuple[dict[Split, list[_Item]], dict[str, int], str]:
    """The items of each split, how many were left out and why, and what was kept together."""
    whole = [item for item in items if not item.is_empty()]
    # one or two conversations in all would leave nothing to train on: questions are kept together then
    by_question = len({item.conversation for item in whole}) < 3
    key: Callable[[_Item], str] = (lambda item: item.question) if by_question else (lambda i: i.conversation)
    grouped_by = "question" if by_question else "conversation"
    if former.grouped_by != grouped_by:
        former = _Former()
    marked = {key(item) for item in whole if item.held_out}
    examined = {key(item) for item in whole if item.turn in former.examined}
    if not marked:
        trained = {key(item) for item in whole if item.turn in former.trained}
        new = Counter(key(item) for item in whole if key(item) not in examined | trained)
        examined |= _held_back(new, "examination", settings)
        examined = examined or _held_back(
            Counter(key(item) for item in whole), "examination", settings, at_least_one=True
        )
    # of a conversation with marked turns those are the examination, and the others are left out
    examination = [item for item in whole if item.held_out or key(item) in examined - marked]
    rest = [item for item in whole if key(item) not in examined | marked]
    # the same words asked in another conversation would give the examination away
    asked = {item.question for item in examination}
    free = [item for item in rest if item.question not in asked]
    watched = _held_back(Counter(key(item) for item in free), "validation", settings, at_least_one=True)
    chosen: dict[Split, list[_Item]] = {
        "train": [item for item in free if key(item) not in watched],
        "validation": [item for item in free if key(item) in watched],
        "examination": examination,
    }
    left_out = {
        "empty": len(items) - len(whole),
        "same conversation as examination": len(whole) - len(examination) - len(rest),
        "same question as examination": len(rest) - len(free),
    }
    return chosen, left_out, grouped_by


def _held_back(
    pairs: Mapping[str, int], purpose: str, settings: TrainingSettings, *, at_least_one: bool = False
) -> set[str]:
    """About `validation_share` of the keys, chosen by hash, and never more than half of the pairs of all.

    `pairs` says how many each key has.
    """

    def place(key: str) -> float:
        digest = hashlib.sha256(f"{settings.seed} {purpose} {key}".encode(errors="replace")).digest()
        return int.from_bytes(digest[:8], "big") / 2**64

    chosen: set[str] = set()
    room = sum(pairs.values()) // 2
    for key in sorted(pairs, key=place):
        if place(key) >= settings.validation_share and (chosen or not at_least_one):
            break
        if pairs[key] <= room:
            chosen.add(key)
            room -= pairs[key]
    return chosen


async def _freeze(
    database: Database,
    data: Path,
    shelf: Path,
    chosen: Mapping[Split, list[_Item]],
    about: dict[str, Any],
) -> Dataset:
    """Write the files and the rows. The caller holds the shelf's lock, so the next version is ours."""
    name = shelf.name
    files.sweep(shelf)
    with files.part_folder(shelf / "next") as part:
        content_hash = await asyncio.to_thread(_write, part, chosen, about)
        async with database.session() as session:
            versions = select(Dataset).where(Dataset.name == name).order_by(col(Dataset.version).desc())
            known = list((await session.exec(versions)).all())
            same = next((dataset for dataset in known if dataset.content_hash == content_hash), None)
            if same is not None:
                if files.damage(data / same.folder, content_hash) is not None:
                    files.replace_folder(part, data / same.folder)
                return same
            # a folder without a row is what a crash between the two left behind
            version = known[0].version + 1 if known else 1
            place = shelf / str(version)
            files.replace_folder(part, place)
            dataset = Dataset(
                name=name,
                version=version,
                folder=place.relative_to(data).as_posix(),
                content_hash=content_hash,
                manifest=json.loads((place / files.MANIFEST).read_bytes()),
            )
            session.add(dataset)
            await session.flush()
            rows = [
                {
                    "dataset_id": dataset.id,
                    "turn_id": item.turn,
                    "review_id": item.review,
                    "split": split,
                    "content_hash": hashlib.sha256(json_line(item.pair)).hexdigest(),
                }
                for split in SPLITS
                for item in chosen[split]
            ]
            await session.exec(insert(Pair), params=rows)
            audit(session, "dataset build", "dataset.add", label(dataset), content_hash=content_hash)
    return dataset


def _write(part: Path, chosen: Mapping[Split, list[_Item]], about: dict[str, Any]) -> str:
    for split in SPLITS:
        with (part / f"{split}.jsonl").open("wb") as file:
            file.writelines(json_line(item.pair) for item in chosen[split])
    return files.write_manifest(part, **about)


@asynccontextmanager
async def _locked(shelf: Path) -> AsyncIterator[None]:
    """Nobody else, in whatever process, adds to this shelf."""
    shelf.mkdir(parents=True, exist_ok=True)
    async with AsyncFileLock(shelf.with_name(f".{shelf.name}.lock")):
        yield


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))


def _range(ids: Iterable[int]) -> list[int]:
    found = list(ids)
    return [min(found), max(found)] if found else []
