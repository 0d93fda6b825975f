"""The verdict on a registered adapter: the gate's after an examination, or a person's instead of it."""

from __future__ import annotations

from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from feedback.errors import Conflict, UsageError
from feedback.journal import audit
from feedback.tables import Adapter
from feedback.words import AdapterState
from training.adapters import deployments, registry


async def judge(
    session: AsyncSession, adapter: Adapter, *, promote: bool, metrics: dict[str, Any], by: str
) -> Adapter:
    """Write the verdict of an examination on a registered adapter; its row. What serves does not change.

    `metrics` replace what earlier examinations found. Raises Conflict when it was retired meanwhile.
    """
    await registry.lock_changes(session)
    row = await registry.present_row(session, adapter)
    if row.state == "retired":
        raise Conflict(
            f"The adapter {registry.label(row)} was retired while it was examined.", registry.SEE_LIST
        )
    former, row.state = row.state, "promoted" if promote else "rejected"
    row.metrics = {**row.metrics, **metrics}
    session.add(row)
    audit(session, by, "adapter.examine", registry.label(row), verdict=row.state, instead_of=former)
    return row


async def overrule(session: AsyncSession, adapter: Adapter, *, promote: bool, by: str, reason: str) -> None:
    """Let a person's verdict on the adapter stand instead of the gate's; what serves is not changed by it.

    Raises UsageError without a reason; Conflict when there is no verdict to overrule, when it is that one
    already, or when it would reject an adapter that serves.
    """
    if not reason.strip():
        raise UsageError(
            "An overruled verdict needs a reason; the record keeps it.", 'Say why, as in --reason "…".'
        )
    await registry.lock_changes(session)
    await deployments.refuse_unservable(session, adapter)
    await session.refresh(adapter)
    state: AdapterState = "promoted" if promote else "rejected"
    if adapter.state == state:
        raise Conflict(
            f"The adapter {registry.label(adapter)} is {state} already.",
            "`thumbloop adapter list` shows the states.",
        )
    if not promote and adapter.id in [serves.id for serves in await deployments.in_service(session)]:
        raise Conflict(
            f"The adapter {registry.label(adapter)} serves now, so it cannot be rejected.",
            "Let another one serve first, with `thumbloop adapter switch` or `thumbloop adapter rollback`.",
        )
    former, adapter.state = adapter.state, state
    session.add(adapter)
    audit(
        session,
        by,
        "adapter.overrule",
        registry.label(adapter),
        verdict=state,
        instead_of=former,
        reason=reason,
    )
