"""What a running service does about canaries and adapters that fail, without anybody asking."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from sqlmodel import select

from bot.housekeeping import Housekeeping
from bot.settings import load_settings
from feedback import journal
from feedback.tables import Adapter, Deployment
from tests.bot.assembly import Assembly
from tests.chronicle import ANSWER, Chronicle
from tests.conftest import SQLITE
from tests.doubles.tiny_model import write_tiny_model
from training.adapters import deployments, registry

SANE = "To lower the alpha of an adapter, divide it by the rank and see how far the update moves each weight."
STUCK = "the answer is " * 40
POLISH = (
    "Aby zmniejszyć wpływ adaptera, podziel współczynnik alfa przez rangę i sprawdź, jak daleko przesuwają "
    "się wagi modelu w każdej warstwie, a potem porównaj odpowiedzi na te same pytania przed zmianą i po "
    "niej, bo dopiero wtedy widać różnicę."
)


@pytest.fixture
async def assembly(chronicle: Chronicle, tmp_path: Path) -> AsyncIterator[Assembly]:
    assembly = Assembly(chronicle.database, tmp_path / "data", write_tiny_model(tmp_path / "models" / "tiny"))
    yield assembly
    await assembly.answerer.close()


pytestmark = SQLITE


@pytest.mark.parametrize(
    ("answer", "told"), [(STUCK, "repeats itself"), (POLISH, "wrong language"), ("", "empty answers")]
)
async def test_a_canary_whose_answers_are_faulty_is_taken_back_at_the_next_look(
    chronicle: Chronicle, assembly: Assembly, answer: str, told: str
) -> None:
    before, after = await assembly.add_adapter(), await assembly.add_adapter(seed=2)
    canary = await _canary(chronicle, before, after)
    for _ in range(10):
        await _answered(chronicle, before, SANE)
        await _answered(chronicle, after, answer)
    await _tidy(assembly)
    row = await _deployment(chronicle, canary)
    assert (row.outcome, told in row.outcome_reason) == ("rolled back", True)
    assert await _serving(chronicle) == before.id
    await _tidy(assembly)
    assert await _serving(chronicle) == before.id


async def test_what_its_predecessor_does_as_well_is_no_fault(
    chronicle: Chronicle, assembly: Assembly
) -> None:
    before, after = await assembly.add_adapter(), await assembly.add_adapter(seed=2)
    canary = await _canary(chronicle, before, after)
    for _ in range(10):
        await _answered(chronicle, before, STUCK)
        await _answered(chronicle, after, STUCK)
    await _tidy(assembly)
    assert (await _deployment(chronicle, canary)).outcome_reason == ""


async def test_a_faulty_predecessor_goes_by_itself_and_leaves_the_canary_open(
    chronicle: Chronicle, assembly: Assembly
) -> None:
    before, after = await assembly.add_adapter(), await assembly.add_adapter(seed=2)
    for _ in range(5):
        await chronicle.answered(answer=replace(ANSWER, answer=SANE))
    canary = await _canary(chronicle, before, after)
    for _ in range(10):
        await _answered(chronicle, before, STUCK)
    await _tidy(assembly)
    assert await _serving(chronicle) is None
    assert (await _deployment(chronicle, canary)).until is None


async def test_a_canary_that_fails_where_its_predecessor_answers_is_taken_back(
    chronicle: Chronicle, assembly: Assembly
) -> None:
    before, after = await assembly.add_adapter(), await assembly.add_adapter(seed=2)
    canary = await _canary(chronicle, before, after)
    for _ in range(6):
        await _answered(chronicle, before, SANE)
        turn_id = await chronicle.asked()
        async with chronicle.database.session() as session:
            await journal.record_failure(session, turn_id, "ab12", after.id)
    await _tidy(assembly)
    assert "fails to answer" in (await _deployment(chronicle, canary)).outcome_reason


async def test_an_adapter_in_service_that_starts_to_repeat_itself_gives_way_to_its_predecessor(
    chronicle: Chronicle, assembly: Assembly
) -> None:
    before, after = await assembly.add_adapter(), await assembly.add_adapter(seed=2)
    async with chronicle.database.session() as session:
        await deployments.switch(session, before, by="run 1")
    for _ in range(5):
        await _answered(chronicle, before, SANE)
    async with chronicle.database.session() as session:
        await deployments.switch(session, after, by="run 2")
    for _ in range(8):
        await _answered(chronicle, after, STUCK)
    await _tidy(assembly)
    assert await _serving(chronicle) == before.id
    async with chronicle.database.session(read_only=True) as session:
        row = await session.get(Adapter, after.id)
    assert row is not None and row.state == "rejected"


async def test_an_adapter_that_cannot_be_loaded_gives_way_to_one_that_can_and_moderators_read_no_path(
    chronicle: Chronicle, assembly: Assembly
) -> None:
    before, after = await assembly.add_adapter(), await assembly.add_adapter(seed=2)
    async with chronicle.database.session() as session:
        await deployments.switch(session, before, by="run 1")
        await deployments.switch(session, after, by="run 2")
    _damage(assembly, after)
    await _tidy(assembly)
    assert await _serving(chronicle) == before.id
    async with chronicle.database.session(read_only=True) as session:
        ended = (await session.exec(select(Deployment).where(Deployment.adapter_id == after.id))).one()
    assert "its files are damaged" in ended.outcome_reason
    assert str(assembly.data) not in ended.outcome_reason


async def test_where_the_predecessor_is_damaged_too_nothing_is_thrown_away(
    chronicle: Chronicle, assembly: Assembly
) -> None:
    before, after = await assembly.add_adapter(), await assembly.add_adapter(seed=2)
    async with chronicle.database.session() as session:
        await deployments.switch(session, before, by="run 1")
        await deployments.switch(session, after, by="run 2")
    _damage(assembly, before)
    _damage(assembly, after)
    await _tidy(assembly)
    assert await _serving(chronicle) == after.id


async def test_with_rollback_switched_off_a_faulty_adapter_stays(
    chronicle: Chronicle, assembly: Assembly
) -> None:
    before, after = await assembly.add_adapter(), await assembly.add_adapter(seed=2)
    canary = await _canary(chronicle, before, after)
    for _ in range(10):
        await _answered(chronicle, after, STUCK)
    settings = load_settings(data=assembly.data, rollout={"rollback": False})
    core = replace(assembly.core, rollout=settings.rollout)
    await Housekeeping(core, settings, assembly.assistant).tidy()
    assert (await _deployment(chronicle, canary)).outcome == ""


async def _tidy(assembly: Assembly) -> None:
    await Housekeeping(assembly.core, load_settings(data=assembly.data), assembly.assistant).tidy()


async def _canary(chronicle: Chronicle, before: Adapter, after: Adapter) -> Deployment:
    async with chronicle.database.session() as session:
        await deployments.switch(session, before, by="run 1")
        return await deployments.begin_canary(session, after, 0.5, by="run 2")


async def _answered(chronicle: Chronicle, adapter: Adapter, answer: str) -> None:
    await chronicle.answered(answer=replace(ANSWER, answer=answer, adapter_id=adapter.id))


async def _deployment(chronicle: Chronicle, row: Deployment) -> Deployment:
    async with chronicle.database.session(read_only=True) as session:
        found = await session.get(Deployment, row.id)
    assert found is not None
    return found


async def _serving(chronicle: Chronicle) -> int | None:
    async with chronicle.database.session(read_only=True) as session:
        adapter = await deployments.serving(session)
    return adapter.id if adapter else None


def _damage(assembly: Assembly, adapter: Adapter) -> None:
    file = registry.folder(assembly.data, adapter) / "adapter_model.safetensors"
    save_file({name: 2 * tensor for name, tensor in load_file(file).items()}, file)
