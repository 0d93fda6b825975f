"""Approved turns become a frozen dataset: versioned, hashed, split, with the lineage of every pair.

`data/datasets/<name>/<version>/` holds train, validation and examination as .jsonl and a manifest. The same
record and settings give the same bytes, and then the version that is there already. Leaves to others: what
the record holds (`candidates`), what is wrong with a pair (`hygiene`), and which pair goes where (`splits`).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from filelock import AsyncFileLock
from sqlalchemy import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from feedback.conversations import Spoken
from feedback.database import Database
from feedback.journal import audit
from feedback.plural import plural
from feedback.tables import Dataset, Pair
from feedback.words import Language
from training import files
from training.data import candidates, hygiene, retrieval, splits, task_types, unanswerable, witnesses
from training.data.candidates import Candidate, Gathered
from training.data.candidates import DatasetFilter as DatasetFilter
from training.data.pair_files.reading import read_pairs
from training.data.pairs import TrainingPair, json_line
from training.data.retrieval import Lookup
from training.data.splits import SPLITS as SPLITS
from training.data.splits import Divided, Former, Split
from training.errors import NotEnoughPairs, PairsError, ReviewsQuarantined
from training.model import personas
from training.model.notes import Note, with_notes
from training.settings import TrainingSettings

DATASETS: Final = "datasets"
EVERYTHING: Final = DatasetFilter()
FORMAT: Final = 4
"""Raised when the same record shall give other bytes than before."""
QUARANTINED: Final = "held"
"""The manifest's key of quarantined approvals; another name would change the hash of the same dataset."""
ROWS_AT_ONCE: Final = 10_000
"""Rows of pairs in one statement."""


@dataclass(frozen=True)
class Contradiction:
    """Approved answers to the same question that contradict one another, for a moderator to decide."""

    question: str
    answers: tuple[Candidate, ...]


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


def quarantined_approvals(dataset: Dataset) -> dict[str, int]:
    """How many approvals of whom are quarantined until the operator decides, as of that version."""
    about = dataset.manifest.get(QUARANTINED, {})
    return {reviewer: burst["approvals"] for reviewer, burst in about.items()}


def repeated_sentences(dataset: Dataset) -> dict[str, int]:
    """Long sentences that stand in several of its answers, with the number of pairs that have each."""
    return {one["sentence"]: len(one["turns"]) for one in dataset.manifest.get("repeated_sentences", ())}


def messages(pair: TrainingPair) -> list[dict[str, str]]:
    """The conversation that a pair stands for: system text, what was said before, notes, question, answer."""
    lineage = pair.lineage or {}
    language: Language = "pl" if pair.language == "pl" else "en"
    mode = candidates.mode_of(lineage.get("mode"))
    question = personas.question_text(pair.instruction, pair.input)
    system = personas.system_text(
        lineage.get("persona") or "plain",
        mode,
        language,
        task_types.asked_for(question, mode),
    )
    question = with_notes(question, [Note(note.title, note.text) for note in retrieval.notes(pair)], language)
    said = [{"role": "system", "content": system}]
    for exchange in history(pair):
        said.append({"role": "user", "content": exchange["question"]})
        said.append({"role": "assistant", "content": exchange["answer"]})
    return [*said, {"role": "user", "content": question}, {"role": "assistant", "content": pair.output}]


def history(pair: TrainingPair) -> list[dict[str, Any]]:
    """What was said before in the pair's conversation, oldest first: `turn`, `question`, `answer` of each."""
    said: list[dict[str, Any]] = json.loads((pair.lineage or {}).get("history") or candidates.NO_HISTORY)
    return said


def fitted(pair: TrainingPair, fits: Callable[[TrainingPair], bool]) -> TrainingPair:
    """The pair with as much of its history and notes as `fits`, as when answering.

    The oldest exchanges go first, then the notes that fit the question least.
    """
    said, notes = history(pair), retrieval.notes(pair)
    while (said or notes) and not fits(pair):
        if said:
            said = said[1:]
            pair = with_history(pair, said)
        else:
            notes = notes[:-1]
            pair = retrieval.with_notes(pair, notes)
    return pair


def with_history(pair: TrainingPair, said: Sequence[Mapping[str, Any]]) -> TrainingPair:
    """The pair after another history."""
    return replace(pair, lineage={**(pair.lineage or {}), "history": _as_text(said)})


async def build(
    database: Database,
    data: Path,
    *,
    name: str,
    settings: TrainingSettings,
    default_persona: str,
    only: DatasetFilter = EVERYTHING,
    lookup: Lookup | None = None,
) -> Dataset:
    """Freeze every approved turn that `only` lets through into the next version of the dataset `name`.

    Its pairs have the notes that `lookup` gives them, none without it. Nothing new, no new version. Raises
    NotEnoughPairs; ReviewsQuarantined when too few are left because of quarantined approvals; UsageError for
    a filter that names what does not exist; PairsError when the files cannot be written; and what `lookup`
    raises.
    """
    async with database.session(read_only=True) as session:
        gathered = await candidates.gather(session, settings, default_persona, only)
        former = await _former(session, name, settings)
    divided, about = await asyncio.to_thread(_prepare, gathered, former, settings)
    trainable = len(divided.chosen["train"]) + len(divided.chosen["validation"])
    if trainable < settings.min_pairs:
        if gathered.quarantined:
            raise ReviewsQuarantined(
                {one.reviewer: len(one.reviews) for one in gathered.quarantined},
                f"{trainable} approved {plural(trainable, 'pair is', 'pairs are')} ready, and a training run "
                f"needs {settings.min_pairs}",
            )
        examined = len(divided.chosen["examination"])
        raise NotEnoughPairs(trainable, settings.min_pairs, left_out=_reasons(about, examined))
    packaged = unanswerable.to_fill_up(
        [candidate.pair for candidate in divided.chosen["train"]],
        settings.not_knowing_share,
        asked={candidate.question for candidate in divided.chosen["examination"]},
    )
    heard = {"earlier": witnesses.earlier(about["contradictions"], len(gathered.candidates))}
    noted = {"pairs": 0, "right": 0}
    if lookup is not None and settings.notes:
        noted = await retrieval.give_notes(divided.chosen, lookup, settings)
        packaged = await retrieval.distracted(packaged, divided.chosen["train"], lookup)
        learnt = [one for split in splits.LEARNT for one in divided.chosen[split]]
        heard["documents"] = await witnesses.documents(learnt, lookup)
    about |= {
        "name": name,
        "filter": only.described(),
        "default_persona": default_persona,
        "pairs": {split: len(divided.chosen[split]) for split in SPLITS},
        "notes": noted,
        "witnesses": heard,
        "packaged": {
            "not_knowing_share": settings.not_knowing_share,
            "train": len(packaged),
            "note": "packaged examples come from no turn, so the record's table of pairs lacks them",
        },
    }
    about["pairs"]["train"] += len(packaged)
    shelf = data / DATASETS / name
    with files.faults_explained("Writing the dataset to", shelf, PairsError):
        async with locked(shelf):
            return await _freeze(database, data, shelf, divided.chosen, packaged, about)


async def contradictions(
    database: Database, *, settings: TrainingSettings, default_persona: str, only: DatasetFilter = EVERYTHING
) -> list[Contradiction]:
    """What a build would keep apart now; rejecting, editing or undoing one side lets the rest train."""
    async with database.session(read_only=True) as session:
        gathered = await candidates.gather(session, settings, default_persona, only)
    by_turn = {candidate.turn: candidate for candidate in gathered.candidates if not candidate.is_empty()}
    _, cleaned = await asyncio.to_thread(clean, list(by_turn.values()), settings)
    return [
        Contradiction(by_turn[turns[0]].pair.instruction, tuple(by_turn[turn] for turn in turns))
        for turns in cleaned.contradictions
    ]


def load(data: Path, dataset: Dataset) -> Splits:
    """The pairs of a frozen dataset. Raises PairsError when a file is missing or not what was frozen."""
    place = data / dataset.folder
    with files.faults_explained("Reading the dataset in", place, PairsError):
        fault = files.damage(place, dataset.content_hash)
        pairs = {}
        for split in SPLITS:
            path = place / f"{split}.jsonl"
            # a line that is no pair is named before the file as a whole is called corrupt
            pairs[split] = list(read_pairs(path)) if path.exists() else []
    if fault is not None:
        raise PairsError(
            f"The dataset {label(dataset)} in {place} cannot be used: {fault}.",
            "Delete that folder and run `thumbloop dataset build`, which builds it again from the record.",
        )
    return Splits(**pairs, dataset=label(dataset), content_hash=dataset.content_hash)


async def _former(session: AsyncSession, name: str, settings: TrainingSettings) -> Former:
    """The newest version that was split by the same settings; without one, nothing is on either side yet."""
    versions = select(Dataset).where(Dataset.name == name).order_by(col(Dataset.version).desc())
    for dataset in (await session.exec(versions)).all():
        about = dataset.manifest
        if (about["seed"], about["validation_share"]) == (settings.seed, settings.validation_share):
            pairs = await session.exec(select(Pair.turn_id, Pair.split).where(Pair.dataset_id == dataset.id))
            sides: dict[bool, set[int]] = {True: set(), False: set()}
            for turn, split in pairs:
                sides[split == "examination"].add(turn)
            return Former(about["grouped_by"], frozenset(sides[True]), frozenset(sides[False]))
    return Former()


def _prepare(
    gathered: Gathered, former: Former, settings: TrainingSettings
) -> tuple[Divided, dict[str, Any]]:
    """The candidates cleaned, divided and given their histories, and what the manifest says of it."""
    every = gathered.candidates
    whole = [candidate for candidate in every if not candidate.is_empty()]
    kept, cleaned = clean(whole, settings)
    divided = splits.divide(kept, former, settings)
    _give_histories(divided, kept, settings)
    return divided, {
        "format": FORMAT,
        "seed": settings.seed,
        "validation_share": settings.validation_share,
        "history_turns": settings.history_turns,
        "grouped_by": divided.grouped_by,
        "hygiene": {"settings": settings.hygiene.model_dump(), "rules": cleaned.report},
        "contradictions": cleaned.contradictions,
        "repeated_sentences": [
            {"sentence": one["sentence"], "turns": one["keys"]} for one in cleaned.repeated_sentences
        ],
        "left_out": {
            "empty": len(every) - len(whole),
            "hygiene": len(whole) - len(kept),
            **divided.left_out,
        },
        "languages": _counts(candidate.pair.language for candidate in every),
        "task_types": _counts(candidate.pair.task_type for candidate in every),
        "turns": _range(candidate.turn for candidate in every),
        "reviews": _range(candidate.review for candidate in every),
        QUARANTINED: {
            one.reviewer: {
                "approvals": len(one.reviews),
                "from": one.since.isoformat(),
                "until": one.until.isoformat(),
            }
            for one in gathered.quarantined
        },
    }


def _reasons(about: Mapping[str, Any], examined: int) -> dict[str, int]:
    """Why approved pairs are not trained on, with how many each, the commonest reason first."""
    counts = Counter[str]({"kept for the examination": examined})
    counts.update({why: many for why, many in about["left_out"].items() if why != "hygiene"})
    for rule, found in about["hygiene"]["rules"].items():
        reasons = found["why"] if not found["changed"] else {}
        said = f"{rule} ({'; '.join(reasons)})" if reasons else rule
        counts[said] += found["dropped"]
    return {why: many for why, many in counts.most_common() if many}


def clean(whole: Sequence[Candidate], settings: TrainingSettings) -> tuple[list[Candidate], hygiene.Cleaned]:
    """The candidates that hygiene keeps, mended, and what it says of the others.

    Turns that a person marked as held out are as that person left them.
    """
    items = [
        hygiene.Item(
            key=candidate.turn,
            pair=candidate.pair,
            member="" if candidate.member is None else str(candidate.member),
            context=candidate.history[-1].question if candidate.history else "",
            exempt=candidate.exempt,
        )
        for candidate in whole
        if not candidate.held_out
    ]
    cleaned = hygiene.clean(items, settings.hygiene)
    mended = {item.key: item.pair for item in cleaned.items}
    kept = []
    for candidate in whole:
        if candidate.turn in mended:
            candidate.pair = mended[candidate.turn]
        if candidate.turn in mended or candidate.held_out:
            kept.append(candidate)
    return kept, cleaned


def _give_histories(divided: Divided, kept: Sequence[Candidate], settings: TrainingSettings) -> None:
    """Write what was said before into the pairs; no question of the examination is shown to training.

    It goes through hygiene, too, so that nothing comes in there which is kept out of pairs.
    """
    known: dict[int, TrainingPair | None] = {candidate.turn: candidate.pair for candidate in kept}

    def mended(spoken: Spoken) -> TrainingPair | None:
        if spoken.turn not in known:
            pair = TrainingPair(spoken.question, spoken.input, spoken.answer, language=spoken.language)
            known[spoken.turn] = hygiene.mended(pair, settings.hygiene)
        return known[spoken.turn]

    asked = {candidate.question for candidate in divided.chosen["examination"]}
    for split, chosen in divided.chosen.items():
        for candidate in chosen:
            if not candidate.history:
                continue
            said = [
                {
                    "turn": spoken.turn,
                    "question": personas.question_text(pair.instruction, pair.input),
                    "answer": pair.output,
                }
                for spoken in candidate.history
                if (pair := mended(spoken)) is not None
                and (
                    split == "examination"
                    or candidates.plain(f"{spoken.question}\n{spoken.input}") not in asked
                )
            ]
            assert candidate.pair.lineage is not None, "a candidate's pair has its lineage"
            candidate.pair.lineage["history"] = _as_text(said)


async def _freeze(
    database: Database,
    data: Path,
    shelf: Path,
    chosen: Mapping[Split, Sequence[Candidate]],
    packaged: Sequence[TrainingPair],
    about: dict[str, Any],
) -> Dataset:
    """Write the files and the rows. The caller holds the shelf's lock, so the next version is ours."""
    name = shelf.name
    files.sweep(shelf)
    with files.part_folder(shelf / "next") as part:
        content_hash, rows = await asyncio.to_thread(_write, part, chosen, packaged, about)
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
            for first in range(0, len(rows), ROWS_AT_ONCE):
                batch = rows[first : first + ROWS_AT_ONCE]
                await session.exec(
                    insert(Pair),
                    params=[
                        {
                            "dataset_id": dataset.id,
                            "turn_id": turn,
                            "review_id": review,
                            "split": split,
                            "content_hash": digest,
                        }
                        for turn, review, split, digest in batch
                    ],
                )
            audit(session, "dataset build", "dataset.add", label(dataset), content_hash=content_hash)
    return dataset


def _write(
    part: Path,
    chosen: Mapping[Split, Sequence[Candidate]],
    packaged: Sequence[TrainingPair],
    about: dict[str, Any],
) -> tuple[str, list[tuple[int, int, Split, str]]]:
    """Write files and manifest; the content hash, and turn, review, split and hash of each pair of a turn."""
    rows: list[tuple[int, int, Split, str]] = []
    for split in SPLITS:
        with (part / f"{split}.jsonl").open("wb") as file:
            if split == "train":
                # first: readers that infer columns from the first rows then know the keys of both kinds
                file.writelines(json_line(pair) for pair in packaged)
            for candidate in chosen[split]:
                line = json_line(candidate.pair)
                file.write(line)
                rows.append((candidate.turn, candidate.review, split, hashlib.sha256(line).hexdigest()))
    return files.write_manifest(part, **about), rows


@asynccontextmanager
async def locked(shelf: Path) -> AsyncIterator[None]:
    """Nobody else, in whatever process, adds to this shelf."""
    shelf.mkdir(parents=True, exist_ok=True)
    async with AsyncFileLock(shelf.with_name(f".{shelf.name}.lock")):
        yield


def _as_text(said: Sequence[Mapping[str, Any]]) -> str:
    """A history as text: columns of one type in every row, whatever reads the files."""
    return json.dumps(said, ensure_ascii=False)


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))


def _range(ids: Iterable[int]) -> list[int]:
    known = list(ids)
    return [min(known), max(known)] if known else []
