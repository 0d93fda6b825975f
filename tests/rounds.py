"""Rounds of blind rating that tests start from, and people who rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from feedback import ratings
from feedback.database import Database
from feedback.ratings import BlindQuestion, Scores
from feedback.tables import Evaluation, Run

SAID = {"base": "I do not know ({turn}).", "candidate": "In May ({turn})."}


async def examined(
    database: Database,
    turns: Sequence[int],
    answers: Mapping[str, str] = SAID,
    *,
    adapters: Mapping[str, int | None] | None = None,
) -> int:
    """The id of a run whose subjects said that to the question of each turn, and to one that nobody asked."""
    async with database.session() as session:
        run = Run(adapter_name="community", started_by="ada", state="promoted")
        session.add(run)
        await session.flush()
        for subject, answer in answers.items():
            said: list[dict[str, Any]] = [
                {"question": "?", "answer": answer.format(turn=turn), "kind": "held-out", "turn": turn}
                for turn in turns
            ]
            said.append(
                {"question": "Who is king?", "answer": "Nobody.", "kind": "unanswerable", "turn": None}
            )
            adapter = (adapters or {}).get(subject)
            session.add(Evaluation(run_id=run.id or 0, subject=subject, adapter_id=adapter, answers=said))
    return run.id or 0


async def open_round(
    database: Database,
    turns: Sequence[int],
    answers: Mapping[str, str] = SAID,
    *,
    adapters: Mapping[str, int | None] | None = None,
) -> int:
    """The number of a new round with the question of each turn, to which the subjects said that."""
    run = await examined(database, turns, answers, adapters=adapters)
    async with database.session() as session:
        return (await ratings.open_round(session, run, by="mo")).id or 0


async def next_for(database: Database, rater: str, **more: Any) -> BlindQuestion | None:
    """The question that the rater is shown next."""
    async with database.session(read_only=True) as session:
        return await ratings.next_question(session, rater, **more)


async def give(database: Database, asked: BlindQuestion, rater: str, by_answer: Mapping[str, int]) -> None:
    """Give each answer the same on every scale, by how it begins."""
    scores = []
    for answer in asked.answers:
        (score,) = [score for begins, score in by_answer.items() if answer.startswith(begins)]
        scores.append(Scores(score, score, score))
    async with database.session() as session:
        await ratings.rate(session, asked.question_id, rater, scores)


async def rate_all(database: Database, rater: str, by_answer: Mapping[str, int]) -> int:
    """Rate until nothing is left; how many questions there were."""
    count = 0
    while (asked := await next_for(database, rater)) is not None:
        await give(database, asked, rater, by_answer)
        count += 1
    return count
