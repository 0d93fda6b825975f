"""The run that the demo comes with: it goes with the demo's community, and all of it is there at once."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from sqlmodel import select

from bot.demo import finished_run
from bot.demo.seed import questions_to_try, seed, seed_pairs
from bot.settings import Settings
from feedback.database import Database
from feedback.tables import Run
from tests.conftest import SQLITE
from training import files
from training.adapters import deployments, lineage, registry
from training.data.similar_texts import groups
from training.run import report

MOST_BYTES = 3_000_000


@pytest_asyncio.fixture
async def demo(database: Database, tmp_path: Path) -> AsyncIterator[tuple[Database, Settings]]:
    await seed(database, b"k" * 32)
    yield database, Settings(data=tmp_path)


@SQLITE
async def test_the_packaged_run_goes_with_the_demo_and_is_served_with_report_and_lineage(
    demo: tuple[Database, Settings],
) -> None:
    """Where this fails, the community or the recipe has changed: `make demo-adapter` makes the run anew."""
    database, settings = demo
    assert await finished_run.put_in(database, settings, finished_run.packaged()) == ""
    assert await finished_run.put_in(database, settings, finished_run.packaged()) == ""  # again: once
    async with database.session(read_only=True) as session:
        adapter = await deployments.serving(session)
        assert adapter is not None and adapter.run_id is not None
        registry.verify(settings.data, adapter)
        assert (registry.folder(settings.data, adapter) / "fingerprint.json").is_file()
        behind = await lineage.of_adapter(session, adapter)
        assert behind.pairs > 150 and behind.origins
        assert len((await session.exec(select(Run))).all()) == 1
    page = await report.ready(database, settings.data, adapter.run_id)
    assert registry.label(adapter) in page.read_text(encoding="utf-8")
    async with database.session() as session:
        await deployments.rollback(session, by="test")
        assert await deployments.serving(session) is None


def test_the_packaged_run_is_whole_and_small() -> None:
    place = finished_run.packaged()
    assert files.damage(place) is None
    assert sum(path.stat().st_size for path in place.iterdir()) < MOST_BYTES
    assert {*finished_run.FILES, finished_run.RUN} < {path.name for path in place.iterdir()}


@SQLITE
async def test_a_run_that_learnt_from_something_else_is_left_out_and_said_so(
    demo: tuple[Database, Settings], tmp_path: Path
) -> None:
    database, settings = demo
    other = tmp_path / "other"
    other.mkdir()
    for path in finished_run.packaged().iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    told = json.loads((other / finished_run.RUN).read_bytes())
    (other / finished_run.RUN).write_bytes(files.canonical_json({**told, "dataset": "0" * 64}))
    files.write_manifest(other)
    assert "make demo-adapter" in await finished_run.put_in(database, settings, other)
    (other / "adapter_model.safetensors").write_bytes(b"no")
    assert "make demo-adapter" in await finished_run.put_in(database, settings, other)
    async with database.session(read_only=True) as session:
        assert (await session.exec(select(Run))).first() is None


def test_suggested_questions_ask_what_no_pair_of_the_demo_asks() -> None:
    asked = [question for pair in seed_pairs() for question in (*pair.questions, pair.held_out) if question]
    suggested = [question for questions in questions_to_try().values() for question in questions]
    assert suggested
    found = groups([*asked, *suggested], 0.35)
    assert not set(found[: len(asked)]) & set(found[len(asked) :])


@pytest.mark.parametrize("language", ["en", "pl"])
def test_there_is_something_to_try_in_each_language(language: str) -> None:
    assert len(questions_to_try()[language]) == 4  # type: ignore[index]
