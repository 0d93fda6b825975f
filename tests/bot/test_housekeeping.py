"""What a running service does by itself every half-minute."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.housekeeping import Housekeeping
from bot.settings import load_settings
from feedback import consent
from tests.bot.assembly import Assembly
from tests.chronicle import Chronicle
from tests.doubles.tiny_model import write_tiny_model
from training.data import dataset
from training.run import erasure
from training.settings import TrainingSettings


@pytest.fixture
async def assembly(chronicle: Chronicle, tmp_path: Path) -> AsyncIterator[Assembly]:
    assembly = Assembly(chronicle.database, tmp_path / "data", write_tiny_model(tmp_path / "models" / "tiny"))
    yield assembly
    await assembly.answerer.close()


async def test_a_forgotten_member_leaves_the_datasets_without_anybody_doing_anything(
    chronicle: Chronicle, assembly: Assembly
) -> None:
    for number in range(12):
        await chronicle.approved(
            f"What is item {number}?", f"Item {number} is a lamp.", conversation=f"{number}"
        )
    await chronicle.approved("Who hid the MARMALADE?", "The cook hid it.", conversation="hers", by="cleo")
    await dataset.build(
        chronicle.database,
        assembly.data,
        name="community",
        settings=TrainingSettings(min_pairs=4),
        default_persona="plain",
    )
    async with chronicle.database.session() as session:
        await consent.forget(session, await chronicle.member("cleo"))
    await Housekeeping(assembly.core, load_settings(data=assembly.data), assembly.assistant).tidy()
    kept = [path.read_text() for path in (assembly.data / "datasets").rglob("*.json*")]
    assert kept and not any("MARMALADE" in text for text in kept)
    async with chronicle.database.session(read_only=True) as session:
        (told,) = await erasure.erasures(session)
    assert told.carried_at is not None and told.datasets == ("community@1",)
