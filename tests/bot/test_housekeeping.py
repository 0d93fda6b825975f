"""What a running service does by itself every half-minute."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlmodel import select

from bot import disk
from bot.housekeeping import Housekeeping
from bot.settings import load_settings
from feedback import consent, journal
from feedback.errors import DatabaseError
from feedback.tables import Run
from tests.bot.assembly import Assembly
from tests.chronicle import Chronicle
from tests.doubles.tiny_model import write_tiny_model
from training.data import dataset
from training.run import erasure, lifecycle
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


async def test_a_run_whose_process_died_is_closed_without_waiting_for_the_next_run(
    chronicle: Chronicle, assembly: Assembly
) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    async with chronicle.database.session() as session:
        session.add(Run(adapter_name="community", started_by="ada", pid=gone.pid, host=socket.gethostname()))
    await Housekeeping(assembly.core, load_settings(data=assembly.data), assembly.assistant).tidy()
    async with chronicle.database.session(read_only=True) as session:
        (run,) = (await session.exec(select(Run))).all()
    assert (run.state, run.verdict) == ("failed", lifecycle.DIED) and run.finished_at is not None


async def test_a_full_disk_is_told_although_nothing_can_be_written(
    chronicle: Chronicle, assembly: Assembly, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "TOO_LITTLE_BYTES", 2**62)
    async with chronicle.database.session() as session:
        await session.exec(text("ALTER TABLE console_session RENAME TO elsewhere"))
    with pytest.raises(DatabaseError):
        await Housekeeping(assembly.core, load_settings(data=assembly.data), assembly.assistant).tidy()
    (told,) = assembly.core.health.components
    assert (told.name, told.state) == ("disk", "down")


async def test_a_run_that_trains_is_left_alone(chronicle: Chronicle, assembly: Assembly) -> None:
    async with lifecycle.alone(chronicle.database, assembly.data):
        await lifecycle.begin(chronicle.database, adapter_name="community", started_by="ada", settings={})
        await Housekeeping(assembly.core, load_settings(data=assembly.data), assembly.assistant).tidy()
        async with chronicle.database.session(read_only=True) as session:
            (run,) = (await session.exec(select(Run))).all()
    assert run.state == "running"


async def test_each_community_keeps_texts_as_long_as_it_is_told_to(
    chronicle: Chronicle, assembly: Assembly
) -> None:
    first = chronicle.community_id
    ours = await chronicle.answered()
    async with chronicle.database.session() as session:
        others = [await journal.community(session, "telegram", f"-{number}") for number in (1, 2)]
    turns = [ours]
    for other in others:
        chronicle.community_id, chronicle.conversation_id = other.id or 0, 0
        async with chronicle.database.session() as session:
            row = await journal.conversation(session, other.id or 0, "thread")
        chronicle.conversation_id = row.id or 0
        turns.append(await chronicle.answered())
    for turn_id in turns:
        await chronicle.date(turn_id, datetime.now(UTC) - timedelta(days=50))
    record = {"retention_days": 30, "retention_days_of": {str(first): 0, "telegram:-1": 60}}
    settings = load_settings(data=assembly.data, record=record)
    await Housekeeping(assembly.core, settings, assembly.assistant).tidy()
    async with chronicle.database.session(read_only=True) as session:
        states = [(await journal.find_turn(session, turn_id)).state for turn_id in turns]
    assert states == ["answered", "answered", "erased"]
