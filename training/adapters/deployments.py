"""Which adapter serves whom, since when and by whose decision; switching, rolling back, canaries.

A deployment says who serves a community, or (community None) all without a deployment of their own; where
there is none, the base model serves. Beside it a canary may serve a share of the conversations. Deployments
are never rewritten: a rollback is one more. Functions that take a session leave the commit to it. Leaves to
others: whether a canary is liked (`rollout`).
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from feedback.errors import Conflict
from feedback.journal import audit
from feedback.tables import Adapter, Audit, Deployment, now
from feedback.text import Text
from feedback.words import CanaryOutcome
from training.adapters import registry

SWITCHED: Final = Text("{by} switched.", "{by} przełącza.")
REPLACED: Final = Text("{adapter} took its place.", "{adapter} zajmuje jego miejsce.")
ROLLED_BACK: Final = Text("{by} rolled it back.", "{by} wycofuje go.")
_ROLLED_BACK: Final = "adapter.rollback"
_RELEASED: Final = "adapter.release"


async def serving(session: AsyncSession, community_id: int | None = None) -> Adapter | None:
    """The adapter that answers in that community, canaries aside; None is the base model."""
    deployment = await _open(session, community_id)
    if deployment is None and community_id is not None:
        deployment = await _open(session, None)
    return await _adapter_of(session, deployment)


async def answering(session: AsyncSession, community_id: int, conversation_id: int) -> Adapter | None:
    """The adapter that answers in that conversation, a canary included; None is the base model."""
    either = col(Deployment.community_id).is_(None) | (col(Deployment.community_id) == community_id)
    rows = await session.exec(
        select(Deployment).where(col(Deployment.until).is_(None), either).order_by(col(Deployment.id).desc())
    )
    found = list(rows.all())
    # a community with a deployment or a canary of its own has nothing to do with everyone's
    own = [row for row in found if row.community_id is not None]
    ours = own if any(row.share == 1 for row in own) else own + [row for row in found if row not in own]
    for row in ours:
        if row.share == 1 or falls_to_canary(row, conversation_id):
            return await _adapter_of(session, row)
    return None


def falls_to_canary(canary: Deployment, conversation_id: int) -> bool:
    """Whether the canary answers in that conversation: always the same, whatever process asks."""
    draw = hashlib.blake2b(f"{canary.id}:{conversation_id}".encode(), digest_size=8).digest()
    return int.from_bytes(draw) < canary.share * 2**64


async def in_service(session: AsyncSession) -> list[Adapter]:
    """Every adapter that serves somebody now."""
    rows = await session.exec(
        select(Adapter)
        .where(col(Adapter.id).in_(select(Deployment.adapter_id).where(col(Deployment.until).is_(None))))
        .order_by(col(Adapter.id))
    )
    return list(rows.all())


async def history(session: AsyncSession, community_id: int | None = None) -> list[Deployment]:
    """The deployments of that community, or (None) of everyone, canaries aside, the newest first."""
    whole = _deployments(community_id).where(col(Deployment.share) == 1)
    rows = await session.exec(whole.order_by(col(Deployment.id).desc()))
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

    A canary there ends. Raises Conflict when the adapter has had no verdict, or is retired. A rejected one
    may serve: a person overrules the gate, and the audit says so.
    """
    await registry.lock_changes(session)
    if adapter is not None:
        await refuse_unservable(session, adapter)
    former = await _open(session, community_id)
    wanted = None if adapter is None else adapter.id
    canary = await canary_of(session, community_id)
    if canary is not None:
        outcome: CanaryOutcome = "promoted" if canary.adapter_id == wanted else "replaced"
        end_canary(session, canary, outcome, SWITCHED.filled(by=by), by=by)
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


async def canary_of(session: AsyncSession, community_id: int | None) -> Deployment | None:
    """The canary of that community, or (None) of everyone, that is open now."""
    newest = _deployments(community_id).where(col(Deployment.until).is_(None), col(Deployment.share) < 1)
    canary: Deployment | None = (
        await session.exec(newest.order_by(col(Deployment.id).desc()).limit(1))
    ).one_or_none()
    return canary


async def canary_here(session: AsyncSession, community_id: int | None) -> Deployment | None:
    """The canary that answers a share of that community's conversations, its own or everyone's."""
    own = await canary_of(session, community_id)
    if own is not None or community_id is None or await _open(session, community_id) is not None:
        return own
    return await canary_of(session, None)


async def begin_canary(
    session: AsyncSession,
    adapter: Adapter,
    share: float,
    *,
    by: str,
    reason: str = "",
    community_id: int | None = None,
) -> Deployment:
    """Let `adapter` answer a share of the conversations beside what serves; an earlier canary there ends.

    Raises Conflict as `switch`.
    """
    await registry.lock_changes(session)
    await refuse_unservable(session, adapter)
    former = await canary_of(session, community_id)
    if former is not None:
        end_canary(session, former, "replaced", REPLACED.filled(adapter=registry.label(adapter)), by=by)
    canary = Deployment(
        community_id=community_id, adapter_id=adapter.id, share=share, decided_by=by, reason=reason
    )
    session.add(canary)
    await session.flush()
    audit(
        session,
        by,
        "canary.begin",
        registry.label(adapter),
        deployment_id=canary.id,
        community_id=community_id,
        share=share,
    )
    return canary


def end_canary(
    session: AsyncSession, canary: Deployment, outcome: CanaryOutcome, reason: Text, *, by: str
) -> None:
    """End an open canary, saying how and why. The caller has the lock, and lets serve what shall."""
    canary.until = now()
    note_outcome(session, canary, outcome, reason)
    audit(session, by, "canary.end", f"deployment {canary.id}", outcome=outcome)


def note_outcome(session: AsyncSession, row: Deployment, outcome: CanaryOutcome, reason: Text) -> None:
    """Write down how a deployment ended and why, in every language."""
    row.outcome, row.outcome_reason, row.outcome_reasons = outcome, reason.en, reason._asdict()
    session.add(row)


async def rollback(session: AsyncSession, *, by: str, community_id: int | None = None) -> Deployment:
    """Let what served before serve again; repeated, one step further back each time, like undo.

    While a canary is open, it is what is undone. Before everyone's first deployment the base model served.
    Before a community's own first one it had what everyone has: its deployment ends, and the one returned is
    everyone's. Raises Conflict when nothing is left, or what served before is retired.
    """
    await registry.lock_changes(session)
    canary = await canary_of(session, community_id)
    if canary is not None:
        end_canary(session, canary, "rolled back", ROLLED_BACK.filled(by=by), by=by)
        return await _open(session, community_id) or await _open(session, None) or _base_serves(by)
    return await step_back(session, by=by, community_id=community_id)


async def step_back(session: AsyncSession, *, by: str, community_id: int | None = None) -> Deployment:
    """Let what served all before serve again, whatever canary is open. The caller has the lock.

    Returns and raises as `rollback`.
    """
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
        return await _open(session, None) or _base_serves(by)
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


def _base_serves(by: str) -> Deployment:
    return Deployment(decided_by=by, reason="the base model serves everyone")


async def _adapter_of(session: AsyncSession, deployment: Deployment | None) -> Adapter | None:
    if deployment is None or deployment.adapter_id is None:
        return None
    return (await session.exec(select(Adapter).where(Adapter.id == deployment.adapter_id))).one()


def _deployments(community_id: int | None) -> Any:
    of_it = col(Deployment.community_id)
    return select(Deployment).where(of_it.is_(None) if community_id is None else of_it == community_id)


async def _open(session: AsyncSession, community_id: int | None) -> Deployment | None:
    newest = _deployments(community_id).where(col(Deployment.until).is_(None), col(Deployment.share) == 1)
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
