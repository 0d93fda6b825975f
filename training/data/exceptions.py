"""Pairs that a person keeps in datasets although a hygiene rule would leave them out or change them.

Personal data is masked whoever says otherwise, and contradictions are settled by a review, so neither of the
two rules has exceptions. Functions that take a session leave the commit to it.
"""

from __future__ import annotations

from typing import Final, get_args

from sqlmodel import col, delete, select
from sqlmodel.ext.asyncio.session import AsyncSession

from feedback.errors import UsageError
from feedback.journal import audit, find_turn, insert_once
from feedback.tables import HygieneException
from training.settings import HygieneRule

WITHOUT: Final = ("personal-data", "contradictions")
"""Rules that nobody overrules."""
OVERRULABLE: Final = tuple(rule for rule in get_args(HygieneRule) if rule not in WITHOUT)


async def by_turn(session: AsyncSession) -> dict[int, frozenset[str]]:
    """The rules that do not apply, by the turn that they do not apply to."""
    found: dict[int, set[str]] = {}
    for turn, rule in await session.exec(select(HygieneException.turn_id, HygieneException.rule)):
        found.setdefault(turn, set()).add(rule)
    return {turn: frozenset(rules) for turn, rules in found.items()}


async def allow(session: AsyncSession, turn_id: int, rule: str, *, by: str) -> None:
    """Let the rule leave the turn's pair alone from the next dataset on. Raises NotFound, UsageError."""
    if rule not in OVERRULABLE:
        raise UsageError(f"The rule {rule} is not overruled.", f"These are: {', '.join(OVERRULABLE)}.")
    await find_turn(session, turn_id)
    exception = HygieneException(turn_id=turn_id, rule=rule, decided_by=by)
    _, is_new = await insert_once(session, exception, "turn_id", "rule")
    if is_new:
        audit(session, by, "hygiene.overrule", f"turn {turn_id}", rule=rule)


async def withdraw(session: AsyncSession, turn_id: int, rule: str, *, by: str) -> None:
    """Let the rule apply to the turn's pair again."""
    await session.exec(
        delete(HygieneException).where(
            col(HygieneException.turn_id) == turn_id, col(HygieneException.rule) == rule
        )
    )
    audit(session, by, "hygiene.apply", f"turn {turn_id}", rule=rule)
