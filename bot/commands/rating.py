"""Blind rating: the next question, what somebody gives its answers, and what everybody found together.

The rules are `feedback.ratings`'; here each has its transaction and its right. A moderator meets only what
was asked in their own community.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlmodel import col, exists, select

from bot.access.actor import Actor
from bot.access.rights import require
from feedback import rating_results, ratings
from feedback.database import Database
from feedback.rating_results import Results
from feedback.ratings import BlindQuestion, RoundSummary, Scores
from feedback.tables import Evaluation, RatingRound, Run

MOST_RUNS: Final = 20
"""Runs that a round may be chosen from, the newest first."""


@dataclass(frozen=True)
class RatedRun:
    """A run that was examined, and that no round has been opened of."""

    run_id: int
    adapter: str


async def unrated_runs(database: Database, actor: Actor) -> list[RatedRun]:
    """Runs whose answers may be rated and are not yet, the newest first. Raises NotAllowed."""
    require(actor, "ratings.manage", actor.community_id)
    examined = exists().where(col(Evaluation.run_id) == Run.id, col(Evaluation.subject) == ratings.CANDIDATE)
    has_round = exists().where(col(RatingRound.run_id) == Run.id)
    found = select(Run).where(examined, ~has_round).order_by(col(Run.id).desc()).limit(MOST_RUNS)
    async with database.session(read_only=True) as session:
        return [RatedRun(run.id or 0, run.adapter_name) for run in (await session.exec(found)).all()]


async def open_round(database: Database, actor: Actor, run_id: int) -> int:
    """The number of the run's round, opened if need be. Raises NotAllowed, NotFound, Conflict."""
    require(actor, "ratings.manage", actor.community_id)
    async with database.session() as session:
        return (await ratings.open_round(session, run_id, by=actor.name)).id or 0


async def close_round(database: Database, actor: Actor, round_id: int) -> None:
    """Take no more ratings for it. Raises NotAllowed, NotFound."""
    require(actor, "ratings.manage", actor.community_id)
    async with database.session() as session:
        await ratings.close_round(session, round_id, by=actor.name)


async def rounds(database: Database, actor: Actor) -> list[RoundSummary]:
    """The rounds with questions of the actor's community, the newest first. Raises NotAllowed."""
    require(actor, "answers.rate", actor.community_id)
    async with database.session(read_only=True) as session:
        return await ratings.rounds(session, community_id=actor.community_id)


async def next_question(database: Database, actor: Actor, *, after: int = 0) -> BlindQuestion | None:
    """What the actor should rate next; `after` is a question passed over for now. Raises NotAllowed."""
    require(actor, "answers.rate", actor.community_id)
    async with database.session(read_only=True) as session:
        return await ratings.next_question(session, actor.name, community_id=actor.community_id, after=after)


async def question(database: Database, actor: Actor, question_id: int) -> BlindQuestion:
    """One question as the actor sees it. Raises NotAllowed, NotFound."""
    require(actor, "answers.rate", actor.community_id)
    async with database.session(read_only=True) as session:
        return await ratings.question(session, question_id, actor.name, community_id=actor.community_id)


async def rate(database: Database, actor: Actor, question_id: int, scores: Sequence[Scores]) -> None:
    """Record the scores of a question's answers, in the order shown.

    Raises NotAllowed, NotFound, and UsageError unless every answer has its scores.
    """
    require(actor, "answers.rate", actor.community_id)
    async with database.session() as session:
        await ratings.rate(session, question_id, actor.name, scores, community_id=actor.community_id)


async def take_back(database: Database, actor: Actor, question_id: int) -> BlindQuestion:
    """Forget what the actor gave a question. Raises NotAllowed, NotFound."""
    require(actor, "answers.rate", actor.community_id)
    async with database.session() as session:
        return await ratings.take_back(session, question_id, actor.name, community_id=actor.community_id)


async def results(database: Database, actor: Actor, round_id: int) -> Results | None:
    """What was found in a round, of the actor's community; None before anything was. Raises NotAllowed."""
    require(actor, "ratings.manage", actor.community_id)
    async with database.session(read_only=True) as session:
        return await rating_results.find(session, round_id=round_id, community_id=actor.community_id)


async def export(database: Database, actor: Actor, round_id: int) -> list[dict[str, Any]]:
    """Every rating of a round, flat, of the actor's community. Raises NotAllowed, NotFound."""
    require(actor, "ratings.manage", actor.community_id)
    async with database.session(read_only=True) as session:
        return await ratings.export(session, round_id, community_id=actor.community_id)
