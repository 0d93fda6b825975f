"""The steps that a retraining and an examination have in common: dataset, evaluation, verdict.

Each takes the open run and what it needs, and returns what the next one needs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from feedback.rating_results import Results
from feedback.tables import Dataset
from training.data import dataset
from training.data.dataset import DatasetFilter, Splits
from training.data.retrieval import Embed, Lookup, notes
from training.examination import reasons
from training.examination.reasons import Reason
from training.progress import Progress
from training.run import lifecycle
from training.run.in_service import InService
from training.run.opening import OpenRun
from training.settings import GateSettings, TrainingSettings

if TYPE_CHECKING:
    from training.examination.gate import Verdict
    from training.examination.results import Examined, Subject
    from training.fit.sft import Trained
    from training.model.base_model import BaseModel

MOST_REPEATED: Final = 3
"""Repeated sentences that a verdict names; the dataset's manifest has all."""


@dataclass(frozen=True)
class Findings:
    """The result of an examination: each subject's figures and answers, and the verdict."""

    examined: list[Examined]
    verdict: Verdict
    gate_settings: GateSettings

    def rejected(self, reason: Reason) -> Findings:
        """The same with the verdict against the candidate, first of all for that reason."""
        verdict = replace(self.verdict, promote=False, reasons=[reason, *self.verdict.reasons])
        return replace(self, verdict=verdict)

    def metrics(self) -> dict[str, Any]:
        """What an adapter's row keeps of its examination."""
        return {one.subject: one.metrics for one in self.examined} | {
            "symptoms": [asdict(symptom) for symptom in self.verdict.symptoms],
            "comparisons": [asdict(comparison) for comparison in self.verdict.comparisons],
            "gate": self.gate_settings.model_dump(),
            "reasons": reasons.stored(self.verdict.reasons),
            "counts": asdict(self.verdict.counts) if self.verdict.counts else {},
        }


async def freeze_dataset(
    run: OpenRun, settings: TrainingSettings, default_persona: str, lookup: Lookup | None
) -> tuple[Dataset, Splits]:
    """The dataset of this run's adapter, frozen and noted in the run's row, with its pairs."""
    frozen = await dataset.build(
        run.database,
        run.data,
        name=settings.adapter_name,
        settings=settings,
        default_persona=default_persona,
        only=DatasetFilter.of(settings.own),
        lookup=lookup,
    )
    await lifecycle.note_dataset(run.database, run.id, frozen)
    return frozen, await asyncio.to_thread(dataset.load, run.data, frozen)


async def examine_subjects(
    run: OpenRun,
    base: BaseModel,
    splits: Splits,
    trained: Trained,
    in_service: InService,
    settings: TrainingSettings,
    repetition_penalty: float,
    embed: Embed | None,
) -> list[Examined]:
    """Base model, adapter in service and candidate on the same questions."""
    from training.examination import evaluation, generation

    subjects: dict[Subject, Path | None] = {"base": None}
    if in_service.folder is not None:
        subjects["current"] = in_service.folder
    subjects["candidate"] = trained.folder
    run.live.examining(len(subjects), questions_of(splits, settings))

    def examine(report: Callable[[Progress], None]) -> list[Examined]:
        return evaluation.examine(
            base,
            splits.examination,
            subjects,
            settings,
            trained_on=splits.train,
            answering=partial(generation.answers, repetition_penalty=repetition_penalty),
            embed=embed,
            on_progress=report,
        )

    return await run.in_thread(examine)


def questions_of(splits: Splits, settings: TrainingSettings) -> int:
    """How many questions an examination has each subject answer: held out, again without notes, packaged."""
    from training.examination import evaluation

    held_out = min(len(splits.examination), settings.examination_questions)
    if not held_out:
        return 0
    noted = sum(bool(notes(pair)) for pair in splits.examination) if settings.examine_without_notes else 0
    again = round(held_out * noted / len(splits.examination))
    return held_out + again + evaluation.count_unanswerable()


def judge(
    examined: list[Examined],
    trained: Trained,
    in_service: InService,
    frozen: Dataset,
    gate_settings: GateSettings,
    against: Mapping[str, Mapping[str, Any]],
    rated: Results | None = None,
) -> Findings:
    """The gate's verdict, with notes on what it could not see.

    What the record's witnesses say `against` the dataset holds the candidate; `rated` is what blind raters
    found, if any.
    """
    from training.examination import gate

    by_subject = {one.subject: one for one in examined}
    verdict = gate.judge(
        trained.metrics,
        by_subject["base"],
        by_subject.get("current"),
        by_subject["candidate"],
        gate_settings,
        rated,
    )
    verdict = replace(verdict, reasons=[*verdict.reasons, *in_service.notes, *_dataset_notes(frozen)])
    findings = Findings(examined, verdict, gate_settings)
    for name, found in against.items():
        findings = findings.rejected(Reason(f"{name} against", found))
    return findings


def _dataset_notes(frozen: Dataset) -> list[Reason]:
    """What a person should know of the pairs: approvals in quarantine, and sentences that repeat."""
    quarantined = [
        Reason("quarantined", {"approvals": count, "reviewer": reviewer})
        for reviewer, count in dataset.quarantined_approvals(frozen).items()
    ]
    repeated = [
        Reason("repeated sentence", {"pairs": count, "sentence": sentence})
        for sentence, count in dataset.repeated_sentences(frozen).items()
    ]
    return [*quarantined, *repeated[:MOST_REPEATED]]
