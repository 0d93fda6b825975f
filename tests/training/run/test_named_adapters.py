"""Several adapters in one installation: each learns from its own communities, and serves those alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import col, select

from feedback import journal
from feedback.errors import UsageError
from feedback.tables import Adapter, Pair, Run, Turn
from tests.chronicle import Chronicle
from tests.conftest import SQLITE
from tests.training import lessons
from training.adapters import deployments, registry
from training.errors import NotDue
from training.model.base_model import ModelChoice
from training.progress import Progress
from training.run import due, lifecycle, retrain
from training.run.conclusion import Outcome
from training.settings import TrainingSettings

SETTINGS = lessons.settings(
    min_pairs=4,
    min_new_pairs=3,
    validation_share=0.2,
    examination_questions=4,
    adapters={
        "docs": {"communities": ["discord:guild"]},
        "both": {"communities": ["discord:guild", "discord:other"], "epochs": 8},
        "nowhere": {"communities": ["discord:nobody"]},
        "tables": {"modes": ["code"]},
    },
)


class Town:
    """Two communities of one record, and runs on what they approved."""

    def __init__(self, chronicle: Chronicle, data: Path, model: ModelChoice) -> None:
        self.chronicle, self.database = chronicle, chronicle.database
        self.data, self.model = data, model
        self.guild = chronicle.community_id
        self.other = 0

    async def open(self) -> Town:
        await self.teach("lamp", 10)
        async with self.database.session() as session:
            other = await journal.community(session, "discord", "other")
            other.training_allowed = True
            session.add(other)
        self.other = other.id or 0
        self.chronicle.community_id = self.other
        await self.teach("chair", 10)
        return self

    async def teach(self, what: str, count: int, **more: Any) -> None:
        for number in range(count):
            await self.chronicle.approved(
                f"What is {what} {number}?",
                f"Item {number} is a {what}.",
                conversation=f"{what} {number}",
                **more,
            )

    async def retrain(self, name: str | None, **given: Any) -> Outcome:
        options: dict[str, Any] = {
            "gate_settings": lessons.LENIENT,
            "default_persona": "plain",
            "started_by": "ada",
        }
        return await retrain.retrain(
            self.database,
            data=self.data,
            model=self.model,
            settings=SETTINGS.of_adapter(name),
            **(options | given),
        )

    async def serving(self) -> list[str]:
        """What serves the guild, the other community, and everyone else."""
        async with self.database.session(read_only=True) as session:
            found = [await deployments.serving(session, place) for place in (self.guild, self.other, None)]
        return [registry.label(one) if one else "base" for one in found]

    async def learnt_communities(self, label: str) -> set[int]:
        async with self.database.session(read_only=True) as session:
            adapter = await registry.find(session, label)
            assert adapter is not None
            rows = await session.exec(
                select(Turn.community_id)
                .join(Pair, col(Pair.turn_id) == Turn.id)
                .where(Pair.dataset_id == adapter.dataset_id)
            )
            return set(rows.all())

    async def switch(self, label: str, place: int | None) -> None:
        async with self.database.session() as session:
            adapter = await registry.find(session, label)
            await deployments.switch(session, adapter, by="mo", community_id=place)


@pytest.fixture
async def town(chronicle: Chronicle, tmp_path: Path, tiny_model_folder: Path) -> Town:
    model = ModelChoice(str(tiny_model_folder), tiny_model_folder.parent, device="cpu", precision="fp32")
    return await Town(chronicle, tmp_path / "data", model).open()


async def test_a_named_adapter_learns_from_its_communities_and_serves_those_alone(town: Town) -> None:
    outcome = await town.retrain("docs")
    assert (outcome.adapter, outcome.verdict.promote) == ("docs@1", True)
    assert await town.learnt_communities("docs@1") == {town.guild}
    assert await town.serving() == ["docs@1", "base", "base"]
    general = await town.retrain(None)
    assert general.adapter == "community@1"
    assert await town.learnt_communities("community@1") == {town.guild, town.other}
    assert await town.serving() == ["docs@1", "community@1", "community@1"]


@SQLITE
async def test_it_is_compared_with_what_serves_its_communities(town: Town) -> None:
    await town.retrain("docs")
    await town.switch("base", None)
    strict = lessons.LENIENT.model_copy(update={"min_gain": 0.0})
    # the same pairs and seed: not better than what serves the guild
    again = await town.retrain("docs", gate_settings=strict)
    assert not again.verdict.promote and again.metrics.keys() == {"base", "current", "candidate"}
    assert await town.serving() == ["docs@1", "base", "base"]


@SQLITE
async def test_where_another_adapter_serves_that_it_was_not_compared_with_it_does_not_serve(
    town: Town,
) -> None:
    await town.retrain("docs")
    outcome = await town.retrain("both")
    assert outcome.verdict.promote and "current" in outcome.metrics
    assert "The base model keeps serving 1 of its communities" in str(outcome.verdict)
    assert await town.serving() == ["both@1", "base", "base"]


async def test_a_community_that_was_never_seen_is_named_and_nothing_is_trained(town: Town) -> None:
    with pytest.raises(UsageError, match="names the community 'discord:nobody', which has not been seen"):
        await town.retrain("nowhere")
    async with town.database.session(read_only=True) as session:
        (run,) = (await session.exec(select(Run))).all()
        assert (await session.exec(select(Adapter))).all() == []
    assert (run.state, run.adapter_name) == ("failed", "nowhere")


async def test_a_run_is_due_by_the_new_pairs_of_its_own(town: Town) -> None:
    assert await _due(town, "docs") and not await _due(town, "tables")
    await town.retrain("docs")
    await town.teach("new chair", 3)
    assert not await _due(town, "docs") and await _due(town, None)
    with pytest.raises(NotDue, match="Too few pairs for docs were approved since its last run"):
        await town.retrain("docs", only_if_due=True)
    await town.teach("table", 3, mode="code")
    assert await _due(town, "tables")
    town.chronicle.community_id = town.guild
    await town.teach("new lamp", 3)
    assert await _due(town, "docs")


@SQLITE
async def test_a_run_that_waits_begins_when_the_one_before_it_has_ended(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "WAIT_SECONDS", 0.01)
    under_way = asyncio.Event()
    loop = asyncio.get_running_loop()
    heard = _first_step(lambda: loop.call_soon_threadsafe(under_way.set))
    first = asyncio.create_task(town.retrain("docs", on_progress=heard))
    await asyncio.wait({first, asyncio.create_task(under_way.wait())}, return_when=asyncio.FIRST_COMPLETED)
    second = await town.retrain("both", wait=True)
    assert (await first).run < second.run
    async with town.database.session(read_only=True) as session:
        before, after = (await session.exec(select(Run).order_by(col(Run.id)))).all()
    assert before.finished_at is not None and before.finished_at <= after.started_at


def _first_step(do: Callable[[], object]) -> Callable[[Progress], None]:
    def heard(progress: Progress) -> None:
        if progress.step == "training":
            do()

    return heard


async def _due(town: Town, name: str | None) -> bool:
    settings: TrainingSettings = SETTINGS.of_adapter(name)
    async with town.database.session(read_only=True) as session:
        return await due.is_due(session, settings, "plain")
