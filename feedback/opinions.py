"""What people thought of the bot's answers: their votes, and what moderators decided and wrote instead.

Read-only, in batches, of communities that allow training and of members who did not opt out. A moderator's
decision outranks the votes. What people said to one another in imported talk is no answer of the bot's. What
these opinions teach a model is `training.preferences`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, or_
from sqlalchemy.orm import aliased
from sqlmodel import col, exists, select
from sqlmodel.ext.asyncio.session import AsyncSession

from feedback import imported
from feedback.tables import CONTEXT, Community, Member, Turn, Vote

PAGE: Final = 1_000
"""Turns read at once."""


@dataclass(frozen=True)
class JudgedTurn:
    """An answered turn that somebody voted or decided on; `score` is up votes minus down votes."""

    turn: Turn
    community: Community
    score: int

    @property
    def standing(self) -> int:
        """What counts of the bot's own answer: 1 it was good, -1 it was not, 0 nobody can tell.

        A moderator who wrote another answer found the bot's lacking.
        """
        decided = {"approved": 1, "edited": -1, "rejected": -1}.get(self.turn.review_state)
        return decided if decided is not None else (self.score > 0) - (self.score < 0)

    @property
    def question_id(self) -> int:
        """The turn that asked first what this one answers; it stands for all that regenerate it."""
        asked = self.turn.regenerates_id or self.turn.id
        assert asked is not None, "a stored turn has its id"
        return asked


async def judged_turns(session: AsyncSession) -> AsyncIterator[JudgedTurn]:
    """Every answered turn with a vote or a decision, by id. Votes of members who opted out do not count."""
    voter = aliased(Member)
    score = (
        select(func.coalesce(func.sum(Vote.value), 0))
        .join(voter, col(voter.id) == Vote.member_id)
        .where(col(Vote.turn_id) == Turn.id, col(voter.opted_out).is_(False))
        .correlate(Turn)
        .scalar_subquery()
    )
    after = 0
    while True:
        batch = (
            select(Turn, Community, score)
            .join(Community, col(Community.id) == Turn.community_id)
            .outerjoin(Member, col(Member.id) == Turn.member_id)
            .where(
                col(Turn.id) > after,
                Turn.state == "answered",
                col(Turn.answer) != "",
                or_(
                    col(Turn.review_state).not_in(("waiting", CONTEXT)),
                    exists().where(col(Vote.turn_id) == Turn.id),
                ),
                col(Community.training_allowed).is_(True),
                or_(col(Turn.member_id).is_(None), col(Member.opted_out).is_(False)),
                col(Turn.id).not_in(imported.found_in_talk()),
            )
            .order_by(col(Turn.id))
            .limit(PAGE)
        )
        rows = (await session.exec(batch)).all()
        for turn, community, balance in rows:
            yield JudgedTurn(turn, community, balance)
            after = turn.id or after
        if len(rows) < PAGE:
            return


async def repeated_questions(session: AsyncSession) -> frozenset[int]:
    """The turns whose question was answered once more."""
    asked = select(Turn.regenerates_id).where(col(Turn.regenerates_id).is_not(None)).distinct()
    return frozenset(one for one in (await session.exec(asked)).all() if one is not None)
