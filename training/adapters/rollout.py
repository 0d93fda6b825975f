"""What becomes of a canary, and of an adapter in service, by rule: from how their answers were received.

People who rated blind (`feedback.rating_results`) outrank votes.

`rule` is pure; `look` reads the record; `carry_out` writes. A version that was rolled back is rejected, and
no rule lets a rejected one serve, so nothing flaps: it takes a person or a new run. Functions that take a
session leave the commit to it. Leaves to others: faults that show before anybody votes (`faults`), and when
to look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from feedback import rating_results, signals
from feedback.journal import audit
from feedback.signals import Audience
from feedback.tables import Adapter, Deployment
from feedback.text import Text
from feedback.words import LANGUAGES, RatingScale
from training.adapters import deployments, registry, sequential
from training.adapters.sequential import Difference
from training.settings import RolloutSettings

RULE: Final = "rule:rollout"
"""Who decided, in the record, where a rule did."""
Decision = Literal["promote", "roll back", "go on", "undecided"]


@dataclass(frozen=True)
class Standing:
    """How an adapter stands against its predecessor: judged answers of both, their difference, the decision.

    `adapter` and `predecessor` are labels. `reason` says the decision in sentences for moderators.
    """

    deployment_id: int
    adapter: str
    predecessor: str
    judged: int
    judged_predecessor: int
    difference: Difference
    decision: Decision
    reason: Text


_TOLD: Final = Text(
    "{judged:judged answer|judged answers} of {adapter} and {rivals} of {rival}: its approval rate lies "
    "between {lower:+z.0f} and {upper:+z.0f} points of {rival}'s, at {confidence:.0%} on either side",
    "{judged:oceniona odpowiedź|ocenione odpowiedzi|ocenionych odpowiedzi} {adapter}, {rivals} {rival}: jego "
    "odsetek pochwał jest od {lower:+z.0f} do {upper:+z.0f} punktów od tego, który ma {rival}, z pewnością "
    "{confidence:.0%} z każdej strony",
)
_TOLD_CHANGING: Final = Text(
    "{judged:judged answer|judged answers} of {adapter} and {rivals} of {rival}: in all its approval rate is "
    "{estimate:+z.0f} points of {rival}'s, and it changed too much meanwhile for an interval",
    "{judged:oceniona odpowiedź|ocenione odpowiedzi|ocenionych odpowiedzi} {adapter}, {rivals} {rival}: jego "
    "odsetek pochwał różni się łącznie o {estimate:+z.0f} punktów od tego, który ma {rival}, a w tym czasie "
    "zmieniał się zbyt mocno, by podać przedział",
)
_SAID: Final[dict[Decision, Text]] = {
    "promote": Text(
        "Promoted by votes. {told}; it may be {margin:.0f} points worse at most.",
        "Przyjęty głosami. {told}; może być gorszy najwyżej o {margin:.0f} punktów.",
    ),
    "roll back": Text(
        "Rolled back by votes. {told}; it is surely liked less.",
        "Wycofany głosami. {told}; na pewno podoba się mniej.",
    ),
    "go on": Text("Votes have not decided yet. {told}.", "Głosy jeszcze nie rozstrzygnęły. {told}."),
    "undecided": Text(
        "Votes did not decide within {days} days. {told}. A moderator decides: `/adapter switch` lets "
        "{adapter} serve.",
        "Głosy nie rozstrzygnęły przez {days} dni. {told}. Rozstrzyga moderator: po `/adapter switch` "
        "odpowiada {adapter}.",
    ),
}
_RATED_WORSE: Final = Text(
    "Rolled back by blind rating. {adapter} beside {rival}: {found}.",
    "Wycofany oceną w ciemno. {adapter} obok {rival}: {found}.",
)
_RATED_BETTER: Final = Text(
    "Promoted by blind rating, since votes did not decide. {adapter} beside {rival}: {found}.",
    "Przyjęty oceną w ciemno, bo głosy nie rozstrzygnęły. {adapter} obok {rival}: {found}.",
)


def rule(found: Difference, age: timedelta, settings: RolloutSettings) -> Decision:
    """What becomes of a canary that has served for so long."""
    if found.upper <= 0:
        return "roll back"
    if found.lower >= -settings.max_worse_approval:
        return "promote"
    return "undecided" if age >= timedelta(days=settings.canary_days) else "go on"


async def look(
    session: AsyncSession, canary: Deployment, settings: RolloutSettings, moment: datetime
) -> Standing:
    """How an open canary stands. Cheap enough for every minute: it reads what was judged since it began."""
    rival = await deployments.serving(session, canary.community_id)
    audience = Audience(canary.community_id)
    ours = await signals.approval(session, canary.adapter_id, audience, since=canary.since)
    theirs = await signals.approval(session, rival.id if rival else None, audience, since=canary.since)
    found = sequential.difference(sequential.blocks(ours, theirs, canary.share), 1 - settings.confidence)
    decision = rule(found, moment - canary.since, settings)
    adapter = await _adapter(session, canary)
    reason = _reason(
        decision, found, len(ours), len(theirs), registry.label(adapter), _label(rival), settings
    )
    decision, reason = await _heard_raters(session, adapter, rival, decision, reason)
    return Standing(
        canary.id or 0,
        registry.label(adapter),
        _label(rival),
        len(ours),
        len(theirs),
        found,
        decision,
        reason,
    )


async def look_back(
    session: AsyncSession, deployment: Deployment, settings: RolloutSettings, moment: datetime
) -> Standing | None:
    """How an adapter that serves all stands against what served before it, by the votes of either's time.

    None where there is nothing to compare with, a person put it there, or it has served for longer than a
    canary may. Times differ, so it must be worse by more than a canary may be before it is rolled back.
    """
    lately = timedelta(days=settings.canary_days)
    if moment - deployment.since > lately:
        return None
    stack = await deployments.standing(session, deployment.community_id)
    if len(stack) < 2 or stack[-1].id != deployment.id or not _by_rule(deployment):
        return None
    before, audience = stack[-2], Audience(deployment.community_id)
    ours = await signals.approval(session, deployment.adapter_id, audience, since=deployment.since)
    theirs = await signals.approval(
        session, before.adapter_id, audience, since=deployment.since - lately, until=deployment.since
    )
    # the newest of its predecessor's, as many as there are of its own at most: times are as near as can be
    theirs = theirs[-len(ours) :] if ours else []
    found = sequential.difference(sequential.blocks(ours, theirs, 0.5), 1 - settings.confidence)
    decision: Decision = "roll back" if found.upper <= -settings.max_worse_approval else "go on"
    adapter, rival = await _adapter(session, deployment), await _adapter_or_base(session, before)
    names = registry.label(adapter), _label(rival)
    reason = _reason(decision, found, len(ours), len(theirs), *names, settings)
    decision, reason = await _heard_raters(session, adapter, rival, decision, reason)
    return Standing(deployment.id or 0, *names, len(ours), len(theirs), found, decision, reason)


async def carry_out(session: AsyncSession, standing: Standing) -> bool:
    """Do what a standing decided, once; whether it was still to be done. Raises Conflict."""
    await registry.lock_changes(session)
    row = (
        await session.exec(
            select(Deployment)
            .where(Deployment.id == standing.deployment_id, col(Deployment.until).is_(None))
            .execution_options(populate_existing=True)
        )
    ).one_or_none()
    if row is None or standing.decision == "go on":
        return False
    adapter = await _adapter(session, row)
    if standing.decision == "roll back":
        await withdraw(session, row, adapter, standing.reason)
    elif standing.decision == "promote":
        deployments.end_canary(session, row, "promoted", standing.reason, by=RULE)
        await session.flush()
        await deployments.switch(
            session, adapter, by=RULE, reason=standing.reason.en, community_id=row.community_id
        )
    else:
        deployments.end_canary(session, row, "undecided", standing.reason, by=RULE)
    return True


async def withdraw(session: AsyncSession, row: Deployment, adapter: Adapter, reason: Text) -> None:
    """Take an adapter out of service, and reject it, so that only a person or a new version brings it back.

    What served before serves again. The caller has the lock. Raises Conflict.
    """
    if row.share < 1:
        deployments.end_canary(session, row, "rolled back", reason, by=RULE)
    else:
        await deployments.step_back(session, by=RULE, community_id=row.community_id)
        deployments.note_outcome(session, row, "rolled back", reason)
    if adapter.state == "promoted":
        adapter.state = "rejected"
        adapter.metrics = {**adapter.metrics, "withdrawn": reason.en}
        session.add(adapter)
    audit(session, RULE, "adapter.withdraw", registry.label(adapter), deployment_id=row.id)


async def _heard_raters(
    session: AsyncSession, adapter: Adapter, rival: Adapter | None, decision: Decision, reason: Text
) -> tuple[Decision, Text]:
    """The decision once people who rated both blind are heard; as it was where nobody has.

    What they find surely less accurate or safe than what served before goes, whatever the votes say, for who
    votes does not see both answers. Where votes decide nothing in time, what they find surely more accurate,
    and on no scale worse, takes over.
    """
    found = await rating_results.find(session, adapter_id=adapter.id)
    subject = "base" if rival is None else "current"
    if found is None or found.adapters.get(subject) != (rival.id if rival else None):
        return decision, reason
    worse = [scale for scale in found.surely("worse", subject) if scale in rating_results.HOLDING]
    names = {"adapter": registry.label(adapter), "rival": _label(rival)}

    def said(scales: Sequence[RatingScale]) -> Text:
        return Text(*("; ".join(found.sentence(one, subject, of) for one in scales) for of in LANGUAGES))

    if worse:
        return "roll back", _RATED_WORSE.filled(**names, found=said(worse))
    better = found.surely("better", subject)
    if decision == "undecided" and "accuracy" in better and not found.surely("worse", subject):
        return "promote", _RATED_BETTER.filled(**names, found=said(better))
    return decision, reason


def _by_rule(deployment: Deployment) -> bool:
    """Whether a run or a rule put it there, and not a person, nor a way back."""
    return deployment.decided_by.startswith(("run ", "rule:")) and not deployment.reason.startswith(
        "rollback"
    )


def _reason(
    decision: Decision,
    found: Difference,
    ours: int,
    theirs: int,
    adapter: str,
    rival: str,
    settings: RolloutSettings,
) -> Text:
    # a confidence sequence supposes that opinion stays as it is, and where it does not says what cannot be
    steady = found.lower <= found.estimate <= found.upper
    told = (_TOLD if steady else _TOLD_CHANGING).filled(
        judged=ours,
        rivals=theirs,
        adapter=adapter,
        rival=rival,
        estimate=100 * found.estimate,
        lower=100 * found.lower,
        upper=100 * found.upper,
        confidence=settings.confidence,
    )
    return _SAID[decision].filled(
        told=told, adapter=adapter, margin=100 * settings.max_worse_approval, days=settings.canary_days
    )


async def _adapter(session: AsyncSession, deployment: Deployment) -> Adapter:
    return (await session.exec(select(Adapter).where(Adapter.id == deployment.adapter_id))).one()


async def _adapter_or_base(session: AsyncSession, deployment: Deployment) -> Adapter | None:
    return None if deployment.adapter_id is None else await _adapter(session, deployment)


def _label(adapter: Adapter | None) -> str:
    return registry.BASE if adapter is None else registry.label(adapter)
