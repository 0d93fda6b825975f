"""A person's verdict instead of the gate's: either way, with a reason, and only after an examination."""

from __future__ import annotations

import pytest
from sqlmodel import col, select

from feedback.database import Database
from feedback.errors import Conflict, UsageError
from feedback.tables import Adapter, Audit
from tests.training import finished
from training.adapters import deployments, registry, verdicts


async def _overrule(database: Database, *, promote: bool, reason: str = "Read them all.") -> str:
    async with database.session() as session:
        adapter = await registry.find(session, "community")
        assert adapter is not None
        await verdicts.overrule(session, adapter, promote=promote, by="terminal:ada", reason=reason)
        return adapter.state


@pytest.mark.parametrize(
    ("state", "promote", "then"), [("rejected", True, "promoted"), ("promoted", False, "rejected")]
)
async def test_a_verdict_is_overruled_either_way_and_the_audit_says_who_and_why(
    database: Database, state: str, promote: bool, then: str
) -> None:
    await finished.run(database, state=state)
    assert await _overrule(database, promote=promote) == then
    async with database.session(read_only=True) as session:
        (adapter,) = (await session.exec(select(Adapter))).all()
        entry = (await session.exec(select(Audit).order_by(col(Audit.id).desc()))).first()
    assert adapter.state == then and entry is not None
    assert (entry.actor, entry.action, entry.subject) == (
        "terminal:ada",
        "adapter.overrule",
        registry.label(adapter),
    )
    assert entry.detail == {"verdict": then, "instead_of": state, "reason": "Read them all."}


async def test_a_promoted_one_serves_only_when_it_is_switched_to(database: Database) -> None:
    await finished.run(database, state="rejected")
    await _overrule(database, promote=True)
    async with database.session(read_only=True) as session:
        assert await deployments.serving(session) is None


@pytest.mark.parametrize("reason", ["", "  \n"])
async def test_without_a_reason_the_gate_s_verdict_stands(database: Database, reason: str) -> None:
    await finished.run(database, state="rejected")
    with pytest.raises(UsageError, match="needs a reason"):
        await _overrule(database, promote=True, reason=reason)


async def test_what_has_no_verdict_cannot_be_overruled(database: Database) -> None:
    await finished.run(database, state="rejected")
    async with database.session() as session:
        adapter = (await session.exec(select(Adapter))).one()
        adapter.state = "candidate"
        session.add(adapter)
    with pytest.raises(Conflict, match="has had no verdict yet"):
        await _overrule(database, promote=True)


async def test_the_same_verdict_again_is_refused(database: Database) -> None:
    await finished.run(database, state="rejected")
    with pytest.raises(Conflict, match="is rejected already"):
        await _overrule(database, promote=False)


async def test_what_serves_cannot_be_rejected_before_another_serves(database: Database) -> None:
    await finished.run(database)
    async with database.session() as session:
        adapter = await registry.find(session, "community")
        await deployments.switch(session, adapter, by="ada")
    with pytest.raises(Conflict, match="serves now"):
        await _overrule(database, promote=False)
    async with database.session() as session:
        await deployments.switch(session, None, by="ada")
    assert await _overrule(database, promote=False) == "rejected"
