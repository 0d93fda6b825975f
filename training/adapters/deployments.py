"""Which adapter serves whom, since when and by whose decision; switching and rolling back.

A deployment says who serves a community, or (community None) all without a deployment of their own; where
there is none, the base model serves. Deployments are never rewritten: a rollback is one more. Functions that
take a session leave the commit to it.
"""

from __future__ import annotations

from typing import Any, Final

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from feedback.errors import Conflict
from feedback.journal import audit
from feedback.tables import Adapter, Audit, Deployment, now
from training.adapters import registry

_ROLLED_BACK: Final = "adapter.rollback"
_RELEASED: Final = "adapter.release"


async def serving(session: AsyncSession, community_id: int | None = None) -> Adapter | None:
    """The adapter that answers in that community; None is the base model."""
    deployment = await _open(session, community_id)
    if deployment is None and community_id is not None:
        deployment = await _open(session, None)
    if deployment is None or deployment.adapter_id is None:
        return None
    return (await session.exec(select(Adapter).where(Adapter.id == deployment.adapter_id))).one()


async def in_service(session: AsyncSession) -> list[Adapter]:
    """Every adapter that serves somebody now."""
    rows = await session.exec(
        select(Adapter)
        .where(col(Adapter.id).in_(select(Deployment.adapter_id).where(col(Deployment.until).is_(None))))
        .order_by(col(Adapter.id))
    )
    return list(rows.all())


async def history(session: AsyncSession, community_id: int | None = None) -> list[Deployment]:
    """The deployments of that community, or (None) of everyone, the newest first."""
    rows = await session.exec(_deployments(community_id).order_by(col(Deployment.id).desc()))
    return list(rows.all())


async def switch(
    session: AsyncSession,
    adapter: Adapter | None,
    *,
    by: str,
    reason: str = "",
    community_id: int | None = None,
) -> Deployment:
    """Let `adapter` (None is the base model) serve from now on; what serves already is left as it is.

    Raises Conflict when the adapter has had no verdict, or is retired. A rejected one may serve: a person
    overrules the gate, and the audit says so.
    """
    await registry.lock_changes(session)
    if adapter is not None:
        await refuse_unservable(session, adapter)
    former = await _open(session, community_id)
    wanted = None if adapter is None else adapter.id
    if former is not None and former.adapter_id == wanted:
        return former
    deployment = await _succeed(session, former, wanted, by, reason, community_id)
    audit(
        session,
        by,
        "adapter.switch",
        registry.BASE if adapter is None else registry.label(adapter),
        deployment_id=deployment.id,
        community_id=community_id,
        overruled_the_gate=adapter is not None and adapter.state == "rejected",
    )
    return deployment


async def rollback(session: AsyncSession, *, by: str, community_id: int | None = None) -> Deployment:
    """Let what served before serve again; repeated, one step further back each time, like undo.

    Before everyone's first deployment the base model served. Before a community's own first one it had what
    everyone has: its deployment ends, and the one returned is everyone's. Raises Conflict when nothing is
    left, or what served before is retired.
    """
    await registry.lock_changes(session)
    stack = await standing(session, community_id)
    if not stack:
        whom = "everyone" if community_id is None else "this community"
        problem = f"Nothing served {whom} before what serves now, so there is nothing to roll back to."
        raise Conflict(
            problem,
            "Choose an adapter with `thumbloop adapter switch`; `thumbloop adapter list` shows them.",
            public=f"{problem} `/adapter` shows which there are, and switches.",
        )
    undone = stack.pop()
    current = await _open(session, community_id)
    if current is not None and not stack and community_id is not None:
        current.until = now()
        session.add(current)
        audit(session, by, _RELEASED, f"deployment {current.id}", community_id=community_id)
        await session.flush()
        return await _open(session, None) or Deployment(
            decided_by=by, reason="the base model serves everyone"
        )
    wanted = stack[-1].adapter_id if stack else None
    if wanted is not None:
        former = (await session.exec(select(Adapter).where(Adapter.id == wanted))).one()
        await refuse_unservable(session, former)
    reason = f"rollback of deployment {undone.id}"
    deployment = await _succeed(session, current, wanted, by, reason, community_id)
    audit(
        session, by, _ROLLED_BACK, f"deployment {deployment.id}", undone=undone.id, community_id=community_id
    )
    return deployment


async def refuse_unservable(session: AsyncSession, adapter: Adapter) -> None:
    """Raise Conflict when the adapter may not serve, by what the record says now. The caller has the lock."""
    state = (await session.exec(select(Adapter.state).where(Adapter.id == adapter.id))).one()
    if state == "candidate":
        raise Conflict(
            f"The adapter {registry.label(adapter)} has had no verdict yet, so it may not serve.",
            f"`thumbloop adapter examine {registry.label(adapter)}` examines it.",
        )
    if state == "retired":
        raise Conflict(
            f"The adapter {registry.label(adapter)} was retired and its files are gone, so it cannot serve.",
            registry.SEE_LIST,
        )


def _deployments(community_id: int | None) -> Any:
    of_it = col(Deployment.community_id)
    return select(Deployment).where(of_it.is_(None) if community_id is None else of_it == community_id)


async def _open(session: AsyncSession, community_id: int | None) -> Deployment | None:
    newest = _deployments(community_id).where(col(Deployment.until).is_(None))
    deployment: Deployment | None = (
        await session.exec(newest.order_by(col(Deployment.id).desc()).limit(1))
    ).one_or_none()
    return deployment


async def _succeed(
    session: AsyncSession,
    former: Deployment | None,
    adapter_id: int | None,
    by: str,
    reason: str,
    community_id: int | None,
) -> Deployment:
    """Close the former deployment and open the next one at the same moment."""
    moment = now()
    if former is not None:
        former.until = moment
        session.add(former)
    deployment = Deployment(
        community_id=community_id, adapter_id=adapter_id, decided_by=by, reason=reason, since=moment
    )
    session.add(deployment)
    await session.flush()
    return deployment


async def standing(session: AsyncSession, community_id: int | None) -> list[Deployment]:
    """The deployments that no rollback has undone, oldest first; the last one is what serves.

    Deployments are never rewritten, so the audit tells which of them were steps back.
    """
    noted = col(Audit.action).in_((_ROLLED_BACK, _RELEASED))
    steps_back = {
        (entry.action, entry.subject) for entry in (await session.exec(select(Audit).where(noted))).all()
    }
    stack: list[Deployment] = []
    for deployment in reversed(await history(session, community_id)):
        subject = f"deployment {deployment.id}"
        if (_RELEASED, subject) in steps_back:  # also when it was a rollback that is released
            stack.clear()
        elif (_ROLLED_BACK, subject) in steps_back:
            stack.pop()
        else:
            stack.append(deployment)
    return stack
