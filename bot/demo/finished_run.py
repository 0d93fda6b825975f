"""The demo's finished run: an adapter trained on the seeded community, its examination, and its report.

`python -m bot.demo.finished_run` trains it by the product's own `retrain` and writes `bot/demo/finished/`:
the adapter's files, and `run.json` with what the record keeps of the run. `put_in` gives it to a demo that
has none yet. The adapter is of rank 2, so that the repository can hold it; it is verified like any other,
its files by their hashes here, its weights by their fingerprint when it is loaded. What retrieval gave its
pairs is kept as well: another processor rounds differently, and might find other passages for them.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any, Final

from sqlmodel import col, select

from bot.demo import seed
from bot.pseudonym_key import pseudonym_key
from bot.settings import Settings
from feedback.database import Database, opened
from feedback.errors import ThumbloopError
from feedback.tables import Adapter, Dataset, Evaluation, Run, now
from training import files
from training.adapters import deployments, registry, verdicts
from training.data import dataset as datasets
from training.data.retrieval import FoundPassage, Lookup
from training.run import lifecycle

STARTED_BY: Final = "demo"
RANK: Final = 2
"""32-bit weights of rank 2 on every linear layer of the default model are 2.4 MB."""
RUN: Final = "run.json"
FILES: Final = ("adapter_config.json", "adapter_model.safetensors", "fingerprint.json")
OVERRULED: Final = "The demo shows the whole loop, whatever its small model learnt."
OUT_OF_DATE: Final = (
    "The demo's finished run does not go with its community or its settings any more; "
    "`make demo-adapter` makes it anew."
)


def packaged() -> Path:
    """Where the finished run lies that comes with the demo."""
    return Path(str(resources.files("bot.demo").joinpath("finished")))


async def put_in(database: Database, settings: Settings, place: Path) -> str:
    """Give the run in `place` to a seeded demo without any run; why that was not done, "" when it was.

    Where the same settings and talk no longer give the dataset that it learnt from, it is left out, because
    its lineage would be untrue.
    """
    async with database.session(read_only=True) as session:
        if (await session.exec(select(Run.id).limit(1))).first() is not None:
            return ""
    if not (place / RUN).is_file() or files.damage(place) is not None:
        return OUT_OF_DATE
    told = json.loads((place / RUN).read_bytes())
    chosen = settings.training
    try:
        dataset = await datasets.build(
            database,
            settings.data,
            name=chosen.adapter_name,
            settings=chosen,
            default_persona=settings.persona,
            lookup=_Remembered(told["retrieved"]),
        )
    except ThumbloopError as error:
        return str(error)
    if dataset.content_hash != told["dataset"]:
        return OUT_OF_DATE
    staged = files.part_of(settings.data / registry.ADAPTERS / chosen.adapter_name / "demo")
    await asyncio.to_thread(_stage, place, staged)
    try:
        await _write(database, settings, staged, dataset, told)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return ""


async def _write(
    database: Database, settings: Settings, staged: Path, dataset: Dataset, told: dict[str, Any]
) -> None:
    """The rows that the run left, and its adapter in service; a rejected one is overruled, with a reason."""
    took = timedelta(seconds=told["seconds"])
    ended = now()
    async with database.session() as session:
        run = Run(
            state=told["state"],
            step="deployment",
            adapter_name=settings.training.adapter_name,
            started_by=STARTED_BY,
            dataset_id=dataset.id,
            settings=told["settings"],
            verdict=told["verdict"],
            started_at=ended - took,
            finished_at=ended,
        )
        session.add(run)
        await session.flush()
        adapter = await registry.add(
            session,
            settings.data,
            staged,
            name=settings.training.adapter_name,
            base_model=told["base_model"],
            base_revision=told["base_revision"],
            dataset_id=dataset.id,
            run_id=run.id,
            metrics=told["metrics"],
        )
        adapter.state = told["state"]
        session.add(adapter)
        for one in told["evaluations"]:
            session.add(
                Evaluation(
                    run_id=run.id or 0,
                    subject=one["subject"],
                    adapter_id=adapter.id if one["subject"] == "candidate" else None,
                    metrics=one["metrics"],
                    answers=one["answers"],
                )
            )
        await session.flush()
        if adapter.state == "rejected":
            await verdicts.overrule(session, adapter, promote=True, by=STARTED_BY, reason=OVERRULED)
        reason = told["verdict"] if told["state"] == "promoted" else OVERRULED
        await deployments.switch(session, adapter, by=STARTED_BY, reason=reason)


class _Recorded:
    """A lookup that also keeps what it gave: each passage once, and for every question which of them."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._passages: list[FoundPassage] = []
        self._found: list[list[int]] = []

    async def __call__(
        self,
        community_id: int,
        question: str,
        language: str,
        *,
        shows: Callable[[int], bool],
        most: int | None = None,
    ) -> Sequence[FoundPassage]:
        given = await self._lookup(community_id, question, language, shows=shows, most=most)
        self._passages += [one for one in given if one not in self._passages]
        self._found.append([self._passages.index(one) for one in given])
        return given

    def kept(self) -> dict[str, Any]:
        """All of it, as `run.json` holds it."""
        return {"passages": [asdict(one) for one in self._passages], "found": self._found}


class _Remembered:
    """A lookup that gives again what was kept, question by question in the same order."""

    def __init__(self, kept: dict[str, Any]) -> None:
        self._passages = [FoundPassage(**one) for one in kept["passages"]]
        self._found = iter(kept["found"])

    async def __call__(
        self,
        community_id: int,
        question: str,
        language: str,
        *,
        shows: Callable[[int], bool],
        most: int | None = None,
    ) -> Sequence[FoundPassage]:
        return [self._passages[place] for place in next(self._found, ())]


def _stage(place: Path, staged: Path) -> None:
    staged.mkdir(parents=True)
    for name in FILES:
        shutil.copyfile(place / name, staged / name)


async def make(place: Path, data: Path) -> str:
    """Train the run in `data`, and write it to `place`; its verdict. Raises what a retraining raises."""
    from bot import service
    from bot.demo.run import demo_settings
    from training.run.retrain import retrain

    settings = demo_settings(data)
    training = settings.training.model_copy(update={"rank": RANK})
    database = await opened(settings.database_url)
    try:
        await seed.seed(database, pseudonym_key(settings))
        lookup = service.open_lookup(settings, database)
        assert lookup is not None, "the demo looks things up"
        recorded = _Recorded(lookup)
        began = datetime.now().timestamp()
        outcome = await retrain(
            database,
            data=data,
            model=settings.model_choice,
            settings=training,
            lookup=recorded,
            embed=lookup.embed,
            gate_settings=settings.gate,
            default_persona=settings.persona,
            started_by=STARTED_BY,
            on_progress=lambda progress: print(progress, file=sys.stderr),
        )
        seconds = round(datetime.now().timestamp() - began)
        told = await _told(database, outcome.run) | {"seconds": seconds, "retrieved": recorded.kept()}
        async with database.session(read_only=True) as session:
            adapter = (await session.exec(select(Adapter).where(Adapter.run_id == outcome.run))).one()
    finally:
        await database.close()
    with files.part_folder(place) as part:
        for name in FILES:
            shutil.copyfile(registry.folder(data, adapter) / name, part / name)
        # the report reads all of it, people nothing: one line
        (part / RUN).write_text(json.dumps(lifecycle.storable(told), ensure_ascii=False, sort_keys=True))
        files.write_manifest(part)
        files.replace_folder(part, place)
    return str(outcome.verdict)


async def _told(database: Database, run_id: int) -> dict[str, Any]:
    """What console and report read of a run once it has ended: nothing that names the machine."""
    async with database.session(read_only=True) as session:
        run = await lifecycle.find(session, run_id)
        adapter = (await session.exec(select(Adapter).where(Adapter.run_id == run_id))).one()
        dataset = (await session.exec(select(Dataset).where(Dataset.id == run.dataset_id))).one()
        evaluations = await session.exec(
            select(Evaluation).where(Evaluation.run_id == run_id).order_by(col(Evaluation.id))
        )
        return {
            "dataset": dataset.content_hash,
            "state": run.state,
            "verdict": run.verdict,
            "settings": {name: value for name, value in run.settings.items() if name != "accelerate_config"},
            "base_model": adapter.base_model,
            "base_revision": adapter.base_revision,
            "metrics": adapter.metrics,
            "evaluations": [
                {"subject": one.subject, "metrics": one.metrics, "answers": one.answers}
                for one in evaluations
            ],
        }


def main() -> None:
    """Make the finished run anew where the demo's package lies."""
    with tempfile.TemporaryDirectory(prefix="thumbloop-demo-") as folder:
        print(asyncio.run(make(packaged(), Path(folder))))


if __name__ == "__main__":
    main()
