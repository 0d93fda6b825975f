"""Rounds of blind rating that tests start from."""

from __future__ import annotations

from feedback import ratings
from feedback.database import Database
from feedback.tables import Evaluation, Run


async def open_round(database: Database, turn_id: int | list[int], answers: dict[str, str]) -> int:
    """The number of a new round with the question of each turn, to which the subjects said that."""
    turns = [turn_id] if isinstance(turn_id, int) else turn_id
    async with database.session() as session:
        run = Run(adapter_name="community", started_by="ada", state="promoted")
        session.add(run)
        await session.flush()
        for subject, answer in answers.items():
            said = [
                {"question": "?", "answer": answer.format(turn=turn), "kind": "held-out", "turn": turn}
                for turn in turns
            ]
            session.add(Evaluation(run_id=run.id or 0, subject=subject, answers=said))
        await session.flush()
        return (await ratings.open_round(session, run.id or 0, by="mo")).id or 0
