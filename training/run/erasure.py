"""Forget-me requests carried on into datasets, and which adapters have learnt from the erased words.

A dataset's files are rewritten without what was erased: its pairs go, and so does what others' pairs
repeat of it as history or as notes. The version keeps its number and its rows, so that lineage stays true;
its hash changes. Answers that an examination kept lose the texts too. Adapters are not changed by it: they
are named, and the next run trains on what is left.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from sqlalchemy.orm.attributes import flag_modified
from sqlmodel import col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from feedback import consent
from feedback.database import Database
from feedback.journal import audit
from feedback.tables import Audit, Dataset, Evaluation, ForgetRequest, Pair, Run, Turn
from training import files
from training.adapters import deployments, lineage, registry
from training.data import dataset as datasets
from training.data import preferences, retrieval
from training.data.mining import notes
from training.data.pair_files.reading import read_pairs
from training.data.pairs import json_line
from training.data.splits import LEARNT, SPLITS
from training.errors import PairsError
from training.model import personas
from training.run import report

ACTOR: Final = "erasure"
_ERASED: Final = "dataset.erase"


@dataclass(frozen=True)
class Erasure:
    """A forget-me request and how far it has gone: `carried_at` None means that files may still hold words.

    `datasets` held words of it, `adapters` learnt from those, and `serving` are those of them in service.
    """

    request: int
    requested_at: datetime
    erased_at: datetime | None
    carried_at: datetime | None
    turns: tuple[int, ...]
    datasets: tuple[str, ...]
    adapters: tuple[str, ...]
    serving: tuple[str, ...]


@dataclass(frozen=True)
class _Rewritten:
    """A dataset's files without the erased words, and what was taken out: the turns found there, those of
    them that were trained on, and the questions of the pairs."""

    content_hash: str
    turns: set[int]
    learnt: set[int]
    questions: set[str]


async def carry_out(database: Database, data: Path) -> list[str]:
    """Follow every open request, and every turn erased by itself; the labels of the datasets rewritten.

    Imports that were interrupted start over: what was noted of them may hold words of whoever asked.

    A data folder without any dataset leaves the requests open: another machine's holds them then. Raises
    PairsError when files cannot be read or written; what was not finished is finished the next time.
    """
    async with database.session(read_only=True) as session:
        requests = [one for one in await consent.open_requests(session) if one.erased_at is not None]
        turns = {turn for request in requests for turn in request.turns} | await _erased_in_pairs(session)
        every = (await session.exec(select(Dataset).order_by(col(Dataset.id)))).all() if turns else []
    if requests:
        await asyncio.to_thread(notes.delete_all, data)
    if every and not (data / datasets.DATASETS).is_dir():
        return []
    rewritten = []
    for dataset in every:
        # histories and the examples of hygiene are in the files alone, so those of every version are read
        if await _rewrite(database, data, dataset, turns, requests):
            rewritten.append(datasets.label(dataset))
    if turns:
        await asyncio.to_thread(report.forget, data, turns)
        await asyncio.to_thread(preferences.forget, data, turns)
    async with database.session() as session:
        for request in requests:
            await consent.tick_off(session, request.id or 0, actor=ACTOR)
    return rewritten


async def is_due(database: Database) -> bool:
    """Whether a request waits to be carried out."""
    async with database.session(read_only=True) as session:
        return any(one.erased_at is not None for one in await consent.open_requests(session))


async def erasures(session: AsyncSession) -> list[Erasure]:
    """Every forget-me request, the newest first."""
    requests = await session.exec(select(ForgetRequest).order_by(col(ForgetRequest.id).desc()))
    every = {dataset.id or 0: dataset for dataset in (await session.exec(select(Dataset))).all()}
    by_label = {datasets.label(dataset): dataset for dataset in every.values()}
    entries = (await session.exec(select(Audit).where(Audit.action == _ERASED))).all()
    serving = {adapter.id for adapter in await deployments.in_service(session)}
    found = []
    for request in requests.all():
        holding = await _holding(session, request.turns)
        # what others' pairs had repeated as history, the files and the rows no longer say
        mine = [(by_label[entry.subject].id or 0, entry.detail) for entry in entries]
        holding |= {dataset for dataset, detail in mine if request.id in detail["requests"]}
        learnt = {dataset for dataset, detail in mine if request.id in detail["learnt"]}
        adapters = await lineage.adapters_trained_on(session, request.turns, datasets=learnt)
        found.append(
            Erasure(
                request=request.id or 0,
                requested_at=request.requested_at,
                erased_at=request.erased_at,
                carried_at=request.carried_at,
                turns=tuple(request.turns),
                datasets=tuple(datasets.label(every[one]) for one in sorted(holding)),
                adapters=tuple(map(registry.label, adapters)),
                serving=tuple(registry.label(adapter) for adapter in adapters if adapter.id in serving),
            )
        )
    return found


async def _erased_in_pairs(session: AsyncSession) -> set[int]:
    """Turns erased in whatever way whose words a dataset still holds: the hash of a pair goes with them."""
    rows = await session.exec(
        select(Pair.turn_id)
        .join(Turn, col(Turn.id) == Pair.turn_id)
        .where(Turn.review_state == "erased", Pair.content_hash != "")
        .distinct()
    )
    return set(rows.all())


async def _holding(session: AsyncSession, turns: Iterable[int]) -> set[int]:
    """The datasets that have a pair of any of those turns."""
    found: set[int] = set()
    for some in lineage.batches(turns):
        rows = await session.exec(select(Pair.dataset_id).where(col(Pair.turn_id).in_(some)).distinct())
        found.update(rows.all())
    return found


async def _rewrite(
    database: Database, data: Path, dataset: Dataset, turns: set[int], requests: Sequence[ForgetRequest]
) -> bool:
    """Take the turns out of a dataset's files and rows; whether they were in it."""
    place = data / dataset.folder
    shelf = place.parent
    with files.faults_explained("Rewriting the dataset in", place, PairsError):
        if not place.is_dir():
            return False
        async with datasets.locked(shelf):
            with files.part_folder(place) as part:
                rewritten = await asyncio.to_thread(_without, place, part, turns)
                if rewritten is None:
                    return False
                async with database.session() as session:
                    row = await session.get_one(Dataset, dataset.id)
                    row.content_hash = rewritten.content_hash
                    row.manifest = json.loads((part / files.MANIFEST).read_bytes())
                    session.add(row)
                    for some in lineage.batches(turns):
                        await session.exec(
                            update(Pair)
                            .where(col(Pair.dataset_id) == dataset.id, col(Pair.turn_id).in_(some))
                            .values(content_hash="")
                        )
                    await _empty_answers(session, dataset, rewritten.questions)
                    audit(
                        session,
                        ACTOR,
                        _ERASED,
                        datasets.label(dataset),
                        requests=[one.id for one in requests if not rewritten.turns.isdisjoint(one.turns)],
                        learnt=[one.id for one in requests if not rewritten.learnt.isdisjoint(one.turns)],
                        turns=len(rewritten.turns),
                    )
                    await session.flush()
                    files.replace_folder(part, place)
    return True


def _without(place: Path, part: Path, turns: set[int]) -> _Rewritten | None:
    """Write the dataset in `place` to `part` without those turns; None where none of them is in it."""
    found, learnt, questions = set[int](), set[int](), set[str]()
    counts: dict[str, int] = {}
    for split in SPLITS:
        here = set[int]()
        counts[split] = 0
        with (part / f"{split}.jsonl").open("wb") as file:
            for pair in read_pairs(place / f"{split}.jsonl"):
                turn = (pair.lineage or {}).get("turn")
                if turn in turns:
                    here.add(turn)
                    questions |= {pair.instruction, personas.question_text(pair.instruction, pair.input)}
                    continue
                said = datasets.history(pair)
                left = [exchange for exchange in said if exchange["turn"] not in turns]
                if len(left) < len(said):
                    here |= {exchange["turn"] for exchange in said} & turns
                    pair = datasets.with_history(pair, left)
                noted = retrieval.notes(pair)
                still = [note for note in noted if note.turn not in turns]
                if len(still) < len(noted):
                    here |= {note.turn for note in noted if note.turn is not None} & turns
                    pair = retrieval.with_notes(pair, still)
                    # what was answered from such a note may repeat it
                    questions |= {pair.instruction, personas.question_text(pair.instruction, pair.input)}
                counts[split] += 1
                file.write(json_line(pair))
        found |= here
        learnt |= here if split in LEARNT else set()
    about = json.loads((place / files.MANIFEST).read_bytes())
    for rule in about.get("hygiene", {}).get("rules", {}).values():
        found |= {example["key"] for example in rule["examples"]} & turns
        rule["examples"] = [example for example in rule["examples"] if example["key"] not in turns]
    if not found:
        return None
    del about["files"]
    about["pairs"] = counts
    about["erased_turns"] = about.get("erased_turns", 0) + len(found)
    return _Rewritten(files.write_manifest(part, **about), found, learnt, questions)


async def _empty_answers(session: AsyncSession, dataset: Dataset, questions: set[str]) -> None:
    """Empty what examinations on that dataset kept of those questions; the figures stay."""
    kept = (
        select(Evaluation)
        .join(Run, col(Run.id) == Evaluation.run_id)
        .where(Run.dataset_id == dataset.id)
        .order_by(col(Evaluation.id))
    )
    for evaluation in (await session.exec(kept)).all():
        for answer in evaluation.answers:
            if answer.get("question") in questions:
                answer.update({name: "" for name, value in answer.items() if isinstance(value, str)})
                flag_modified(evaluation, "answers")
        session.add(evaluation)
