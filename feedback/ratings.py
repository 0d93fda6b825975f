"""Blind rating: people give the answers of a run's examination 1 to 5, without knowing whose they are.

A round has the questions of one run that members really asked, each with what base model, adapter in service
and candidate answered. Every rater meets the answers of a question in an order of their own, the same each
time; the same text from two subjects is shown once and counts for both. What the ratings come to is
`rating_results`' business.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, and_
from sqlmodel import col, delete, exists, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from feedback.errors import Conflict, NotFound, UsageError
from feedback.journal import audit
from feedback.tables import Evaluation, Rating, RatingQuestion, RatingRound, Run, Turn, now
from feedback.words import RATING_SCALES, RatingScale

MOST_QUESTIONS: Final = 100
"""Questions of a round: what three people rate in an evening or two."""
LOWEST: Final = 1
HIGHEST: Final = 5
CANDIDATE: Final = "candidate"
_HELD_OUT: Final = "held-out"


@dataclass(frozen=True)
class Scores:
    """What a rater gives one answer, each from `LOWEST` to `HIGHEST`."""

    accuracy: int
    style: int
    safety: int

    def of(self, scale: RatingScale) -> int:
        """The score on one scale."""
        return int(getattr(self, scale))


@dataclass(frozen=True)
class BlindQuestion:
    """A question as its rater sees it: the different answers in this rater's order, without names.

    `given` are the scores that this rater has given them, in the same order, empty before that. `place`
    counts from 1 among the `of` questions that this rater may see, of which they have rated `rated`.
    """

    question_id: int
    round_id: int
    question: str
    input: str
    answers: tuple[str, ...]
    given: tuple[Scores, ...]
    place: int
    of: int
    rated: int


@dataclass(frozen=True)
class RoundSummary:
    """A round, how many questions it has, how many answers were rated and by how many people."""

    round_id: int
    run_id: int
    opened_by: str
    closed: bool
    questions: int
    ratings: int
    raters: int


async def open_round(session: AsyncSession, run_id: int, *, by: str) -> RatingRound:
    """The round of a run, opened if there is none yet; a closed one is opened again.

    Raises NotFound for a run that was not examined, and Conflict when it asked no question of a member's.
    """
    found = await _round_of(session, run_id)
    if found is not None:
        if found.closed_at is not None:
            found.closed_at = None
            session.add(found)
            audit(session, by, "ratings.open", f"round {found.id}")
        return found
    rows = (await session.exec(select(Evaluation).where(Evaluation.run_id == run_id))).all()
    if not any(row.subject == CANDIDATE for row in rows):
        raise NotFound("examination of run", run_id, "Only answers of an examination can be rated.")
    asked = await _real_questions(session, rows)
    if not asked:
        raise Conflict(
            f"Run {run_id} asked no question that a member had asked, so there is nothing to rate.",
            "Approve answers in Review: the next run puts some of them aside for its examination.",
        )
    made = RatingRound(run_id=run_id, opened_by=by)
    session.add(made)
    await session.flush()
    session.add_all(
        RatingQuestion(round_id=made.id or 0, turn_id=turn_id, place=place, answers=answers)
        for place, (turn_id, answers) in enumerate(asked, start=1)
    )
    audit(session, by, "ratings.open", f"round {made.id}", run=run_id, questions=len(asked))
    await session.flush()
    return made


async def close_round(session: AsyncSession, round_id: int, *, by: str) -> None:
    """Take no more ratings for a round. Raises NotFound."""
    found = await _round(session, round_id)
    if found.closed_at is None:
        found.closed_at = now()
        session.add(found)
        audit(session, by, "ratings.close", f"round {round_id}")
        await session.flush()


async def rounds(session: AsyncSession, *, community_id: int | None = None) -> list[RoundSummary]:
    """Every round with a question of that community, or of any; the newest first."""
    summaries = (
        select(
            RatingRound,
            func.count(func.distinct(RatingQuestion.id)),
            func.count(func.distinct(Rating.id)),
            func.count(func.distinct(Rating.rater)),
        )
        .join(RatingQuestion, col(RatingQuestion.round_id) == RatingRound.id)
        .join(Turn, col(Turn.id) == RatingQuestion.turn_id)
        .outerjoin(Rating, col(Rating.question_id) == RatingQuestion.id)
        .where(*_in_community(community_id))
        .group_by(*RatingRound.__table__.columns)  # type: ignore[attr-defined]
        .order_by(col(RatingRound.id).desc())
    )
    return [
        RoundSummary(
            one.id or 0, one.run_id, one.opened_by, one.closed_at is not None, questions, ratings, raters
        )
        for one, questions, ratings, raters in (await session.exec(summaries)).all()
    ]


async def next_question(
    session: AsyncSession,
    rater: str,
    *,
    community_id: int | None = None,
    after: int = 0,
) -> BlindQuestion | None:
    """The question that this rater should rate next, in the oldest open round that has any.

    `after` is the id of a question that they pass over for now: what comes behind it in the round is offered
    first. None when they have rated everything that they may.
    """
    rated = exists().where(col(Rating.question_id) == RatingQuestion.id, col(Rating.rater) == rater)
    left = (
        select(RatingQuestion)
        .join(RatingRound, col(RatingRound.id) == RatingQuestion.round_id)
        .join(Turn, col(Turn.id) == RatingQuestion.turn_id)
        .where(*_askable(community_id), ~rated)
    )
    passed = await session.get(RatingQuestion, after) if after else None
    if passed is not None:
        behind = (col(RatingQuestion.round_id) == passed.round_id) & (
            col(RatingQuestion.place) <= passed.place
        )
        left = left.order_by(behind)
    left = left.order_by(col(RatingQuestion.round_id), col(RatingQuestion.place)).limit(1)
    found = (await session.exec(left)).one_or_none()
    return await _blind(session, found, rater, community_id) if found is not None else None


async def question(
    session: AsyncSession, question_id: int, rater: str, *, community_id: int | None = None
) -> BlindQuestion:
    """One question as this rater sees it, to rate it again. Raises NotFound for one they may not see."""
    return await _blind(session, await _found(session, question_id, community_id), rater, community_id)


async def rate(
    session: AsyncSession,
    question_id: int,
    rater: str,
    scores: Sequence[Scores],
    *,
    community_id: int | None = None,
) -> None:
    """Record what a rater gives the answers of a question, in the order in which they saw them.

    What they gave before is replaced. Raises NotFound, and UsageError unless every answer has its scores.
    """
    row = await _found(session, question_id, community_id)
    texts = _order(row, rater)
    if len(scores) != len(texts) or not all(
        LOWEST <= one.of(scale) <= HIGHEST for one in scores for scale in RATING_SCALES
    ):
        raise UsageError(
            f"Question {question_id} has {len(texts)} answers, and each needs {LOWEST} to {HIGHEST} for "
            f"{', '.join(RATING_SCALES)}.",
            "Rate every answer.",
        )
    await _forget_own(session, question_id, rater)
    by_text = dict(zip(texts, scores, strict=True))
    session.add_all(
        Rating(
            question_id=question_id,
            rater=rater,
            subject=subject,
            accuracy=by_text[answer].accuracy,
            style=by_text[answer].style,
            safety=by_text[answer].safety,
        )
        for subject, answer in row.answers.items()
    )
    await session.flush()


async def take_back(
    session: AsyncSession, question_id: int, rater: str, *, community_id: int | None = None
) -> BlindQuestion:
    """Forget what a rater gave a question, and show it again. Raises NotFound."""
    row = await _found(session, question_id, community_id)
    await _forget_own(session, question_id, rater)
    await session.flush()
    return await _blind(session, row, rater, community_id)


async def export(
    session: AsyncSession, round_id: int, *, community_id: int | None = None
) -> list[dict[str, Any]]:
    """Every rating of a round with its question and answer, flat; raters have numbers, not names.

    Words of members who were forgotten since are empty. Raises NotFound.
    """
    of = await _round(session, round_id)
    rows = await session.exec(
        select(Rating, RatingQuestion, Turn)
        .join(RatingQuestion, col(RatingQuestion.id) == Rating.question_id)
        .join(Turn, col(Turn.id) == RatingQuestion.turn_id)
        .where(RatingQuestion.round_id == of.id, *_in_community(community_id))
        .order_by(col(RatingQuestion.place), col(Rating.rater), col(Rating.subject))
    )
    numbers: dict[str, int] = {}
    return [
        {
            "round": of.id,
            "run": of.run_id,
            "question_number": asked.place,
            "question": turn.question,
            "subject": rating.subject,
            "answer": asked.answers.get(rating.subject, ""),
            "rater": numbers.setdefault(rating.rater, len(numbers) + 1),
            "accuracy": rating.accuracy,
            "style": rating.style,
            "safety": rating.safety,
            "rated_at": rating.rated_at.isoformat(),
        }
        for rating, asked, turn in rows.all()
    ]


async def _real_questions(
    session: AsyncSession, rows: Sequence[Evaluation]
) -> list[tuple[int, dict[str, str]]]:
    """The questions of an examination that members had asked, with everybody's answers; spread over all."""
    said: dict[int, dict[str, str]] = defaultdict(dict)
    for row in rows:
        for one in row.answers:
            if one.get("kind", _HELD_OUT) == _HELD_OUT and one.get("turn") is not None:
                said[int(one["turn"])][row.subject] = str(one["answer"]).strip()
    subjects = {row.subject for row in rows}
    whole = [turn for turn, answers in said.items() if answers.keys() == subjects and all(answers.values())]
    there = select(Turn.id).where(col(Turn.id).in_(whole), Turn.state != "erased").order_by(col(Turn.id))
    turns = [turn or 0 for turn in (await session.exec(there)).all()]
    step = max(1.0, len(turns) / MOST_QUESTIONS)
    chosen = [turns[int(index * step)] for index in range(min(len(turns), MOST_QUESTIONS))]
    # people tire: what stands last must not always be what was asked last
    chosen.sort(key=lambda turn: hashlib.sha256(f"{rows[0].run_id}/{turn}".encode()).digest())
    return [(turn, said[turn]) for turn in chosen]


def _order(row: RatingQuestion, rater: str) -> list[str]:
    """The different answers of a question in the order in which this rater meets them."""
    return sorted(
        dict.fromkeys(row.answers.values()),
        key=lambda answer: hashlib.sha256(f"{row.id}/{rater}/{answer}".encode()).digest(),
    )


async def _blind(
    session: AsyncSession, row: RatingQuestion, rater: str, community_id: int | None
) -> BlindQuestion:
    turn = (await session.exec(select(Turn).where(Turn.id == row.turn_id))).one()
    own = (
        await session.exec(select(Rating).where(Rating.question_id == row.id, Rating.rater == rater))
    ).all()
    scores = {row.answers[one.subject]: Scores(one.accuracy, one.style, one.safety) for one in own}
    answers = _order(row, rater)
    visible = (
        select(RatingQuestion.id)
        .join(RatingRound, col(RatingRound.id) == RatingQuestion.round_id)
        .join(Turn, col(Turn.id) == RatingQuestion.turn_id)
        .where(RatingQuestion.round_id == row.round_id, *_askable(community_id))
        .order_by(col(RatingQuestion.place))
    )
    ids = list((await session.exec(visible)).all())
    rated = (
        select(func.count(func.distinct(Rating.question_id)))
        .join(RatingQuestion, col(RatingQuestion.id) == Rating.question_id)
        .where(RatingQuestion.round_id == row.round_id, Rating.rater == rater)
    )
    return BlindQuestion(
        question_id=row.id or 0,
        round_id=row.round_id,
        question=turn.question,
        input=turn.input,
        answers=tuple(answers),
        given=tuple(scores[answer] for answer in answers) if scores else (),
        place=ids.index(row.id) + 1 if row.id in ids else len(ids),
        of=len(ids),
        rated=(await session.exec(rated)).one(),
    )


async def _found(session: AsyncSession, question_id: int, community_id: int | None) -> RatingQuestion:
    asked = (
        select(RatingQuestion)
        .join(RatingRound, col(RatingRound.id) == RatingQuestion.round_id)
        .join(Turn, col(Turn.id) == RatingQuestion.turn_id)
        .where(RatingQuestion.id == question_id, *_askable(community_id))
    )
    found = (await session.exec(asked)).one_or_none()
    if found is None:
        raise NotFound(
            "question to rate", question_id, "Its round was closed, or its member asked to be forgotten."
        )
    return found


async def _forget_own(session: AsyncSession, question_id: int, rater: str) -> None:
    await session.exec(
        delete(Rating).where(col(Rating.question_id) == question_id, col(Rating.rater) == rater)
    )


async def _round(session: AsyncSession, round_id: int) -> RatingRound:
    found = (await session.exec(select(RatingRound).where(RatingRound.id == round_id))).one_or_none()
    if found is None:
        raise NotFound("round of ratings", round_id)
    return found


async def _round_of(session: AsyncSession, run_id: int) -> RatingRound | None:
    run = (await session.exec(select(Run).where(Run.id == run_id).with_for_update())).one_or_none()
    if run is None:
        raise NotFound("run", run_id)
    return (await session.exec(select(RatingRound).where(RatingRound.run_id == run_id))).one_or_none()


def _in_community(community_id: int | None) -> list[ColumnElement[bool]]:
    return [] if community_id is None else [col(Turn.community_id) == community_id]


def _askable(community_id: int | None) -> list[ColumnElement[bool]]:
    return [
        and_(col(RatingRound.closed_at).is_(None), col(Turn.state) != "erased"),
        *_in_community(community_id),
    ]
