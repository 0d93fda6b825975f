"""Runs that came to a verdict, in the record: what reports, consoles and forgetting start from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from feedback.database import Database
from feedback.tables import Adapter, Evaluation, Run, now
from training.examination.comparisons import JUDGE, RIGHTLY
from training.examination.metrics import METRICS
from training.examination.results import ABSTAINS, Answer, Examined, Subject, stored
from training.run import lifecycle

QUESTIONS = 6


def examined(
    subject: Subject,
    loss: float,
    questions: Sequence[str],
    *,
    first_turn: int = 1,
    lost: str = "",
    noted: int = 0,
) -> Examined:
    """A subject that answered these questions, the first one's turn being `first_turn`.

    The base answers `lost` rightly, and nobody else does. So many of the first ones as `noted` were also
    asked without their notes.
    """
    answers = [
        Answer(
            question,
            reference=f"The approved answer {number}.",
            answer=f"What {subject} said {number}.",
            loss=loss + number / 10,
            tokens=10,
            turn=first_turn + number,
            community=1,
            values={
                "chrf": 40.0,
                "repetition": 0.0,
                "memorisation": 0.0,
                "language_match": 1.0,
                ABSTAINS: 0.0,
                RIGHTLY: float(subject == "base" and question == lost),
            },
        )
        for number, question in enumerate(questions)
    ]
    packaged = [
        Answer("Who am I?", "", "I do not know.", float("nan"), kind="unanswerable", values={ABSTAINS: 1.0}),
        Answer("Two and two?", "Four.", "", 2.0, tokens=2, kind="general"),
    ]
    metrics = dict.fromkeys(METRICS, 0.5) | {"loss": loss, "bleu": float("nan")}
    without_notes = [
        replace(answer, kind="without notes", answer=f"What {subject} made up.") for answer in answers[:noted]
    ]
    return Examined(subject, metrics, answers, packaged, without_notes)


async def run(
    database: Database,
    *,
    state: str = "promoted",
    questions: Sequence[str] = tuple(f"Question {number}?" for number in range(QUESTIONS)),
    first_turn: int = 1,
    dataset_id: int | None = None,
    metrics: dict[str, Any] | None = None,
    lost: str = "",
    noted: int = 0,
    judged: float | None = None,
    settings: dict[str, Any] | None = None,
) -> int:
    """The number of a new run with that verdict, its adapter, and what base and candidate said.

    `judged` is how far a judge prefers the candidate.
    """
    async with database.session() as session:
        made = Run(adapter_name="community", started_by="ada", state=state, dataset_id=dataset_id)
        made.settings = settings or {}
        made.verdict, made.finished_at = f"{state.capitalize()}: its figures say so.", now()
        session.add(made)
        await session.flush()
        adapter = Adapter(
            name="community",
            version=made.id or 0,
            state=state,
            folder=f"adapters/community/{made.id}",
            content_hash="0" * 64,
            base_model="tiny",
            base_revision="r1",
            run_id=made.id,
            dataset_id=dataset_id,
            metrics=metrics or {},
        )
        session.add(adapter)
        await session.flush()
        subjects: tuple[tuple[Subject, float], ...] = (("base", 4.0), ("candidate", 1.5))
        for subject, loss in subjects:
            one = examined(subject, loss, questions, first_turn=first_turn, lost=lost, noted=noted)
            if subject == "candidate" and judged is not None:
                one.metrics[JUDGE.format("base")] = judged
            row = Evaluation(
                run_id=made.id or 0,
                subject=subject,
                adapter_id=adapter.id if subject == "candidate" else None,
                metrics=lifecycle.storable(one.metrics),
                answers=lifecycle.storable(stored(one.every_answer)),
            )
            session.add(row)
        assert made.id is not None, "a stored run has its id"
        return made.id
