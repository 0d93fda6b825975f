"""A run's verdict in the record: adapter, evaluations, deployment and the run's end, all or nothing."""

from __future__ import annotations

import logging
import shutil
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sqlmodel.ext.asyncio.session import AsyncSession

from feedback.tables import Adapter, Dataset, Evaluation
from feedback.words import RunState
from training.adapters import deployments, registry, verdicts
from training.errors import TakenForDead
from training.examination import reasons
from training.examination.reasons import Reason
from training.progress import Step
from training.run import lifecycle
from training.run.in_service import InService
from training.run.opening import OpenRun
from training.run.steps import Findings
from training.settings import TrainingSettings

if TYPE_CHECKING:
    from training.examination.gate import Verdict
    from training.examination.results import Examined, Subject
    from training.examination.symptoms import Symptom
    from training.fit.sft import Trained
    from training.model.base_model import BaseModel

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How a run ended. `examined` holds each subject's figures and answers; `seconds` are by step.

    `report` is the page about it, None where it could not be written.
    """

    run: int
    adapter: str
    verdict: Verdict
    examined: list[Examined]
    seconds: dict[Step, float] = field(default_factory=dict)
    report: Path | None = None

    @property
    def symptoms(self) -> list[Symptom]:
        """What a practitioner would call what the examination found."""
        return self.verdict.symptoms

    @property
    def metrics(self) -> dict[Subject, dict[str, float]]:
        """The figures of each subject, named as in `metrics.METRICS`."""
        return {one.subject: one.metrics for one in self.examined}


async def register(
    run: OpenRun,
    base: BaseModel,
    frozen: Dataset,
    trained: Trained,
    in_service: InService,
    findings: Findings,
    settings: TrainingSettings,
    share: float = 1.0,
) -> tuple[Adapter, Findings]:
    """Register the trained adapter with its verdict, and deploy it if promoted: all at once, or a `share`.

    Where something else serves by now, the verdict becomes a rejection; the findings returned say so.
    """
    continued = in_service.continued(settings)
    waited = {"waited_for_answers_s": round(run.make_way.waited_s, 1)}
    metrics = findings.metrics() | {"training": trained.metrics | waited}
    with ExitStack() as undo:
        async with run.database.session() as session:
            adapter = await registry.add(
                session,
                run.data,
                trained.folder,
                name=settings.adapter_name,
                base_model=base.name,
                base_revision=base.revision,
                dataset_id=frozen.id,
                run_id=run.id,
                continues_id=continued.id if continued else None,
                metrics=lifecycle.storable(metrics),
            )
            undo.callback(shutil.rmtree, registry.folder(run.data, adapter), ignore_errors=True)
            communities = await in_service.still_served(session, run.id)
            if findings.verdict.promote and not communities:
                findings = findings.rejected(Reason("changed meanwhile"))
            verdict = findings.verdict
            adapter.metrics = {**adapter.metrics, "reasons": reasons.stored(verdict.reasons)}
            adapter.state = "promoted" if verdict.promote else "rejected"
            session.add(adapter)
            _add_evaluations(session, run, findings.examined, adapter, in_service)
            for community in communities if verdict.promote else []:
                why = {"by": run.actor, "reason": str(verdict)}
                if share < 1:
                    await deployments.begin_canary(session, adapter, share, community_id=community, **why)
                else:
                    await deployments.switch(session, adapter, community_id=community, **why)
            await _end(session, run, verdict)
        undo.pop_all()  # the adapter is in the record, so its files stay
    return adapter, findings


async def judge_again(run: OpenRun, adapter: Adapter, in_service: InService, findings: Findings) -> None:
    """Write the verdict on an adapter that is registered already, with its figures."""
    verdict = findings.verdict
    async with run.database.session() as session:
        row = await verdicts.judge(
            session,
            adapter,
            promote=verdict.promote,
            metrics=lifecycle.storable(findings.metrics()),
            by=run.actor,
        )
        _add_evaluations(session, run, findings.examined, row, in_service)
        await _end(session, run, verdict)


async def outcome(run: OpenRun, adapter: Adapter, findings: Findings) -> Outcome:
    """How the run ended, with its report written; the verdict stands even where that cannot be written."""
    from training.run import report

    page: Path | None = None
    try:
        page = await report.write(run.database, run.data, run.id)
    except Exception:  # an edge: the run is over, and nothing that drawing a page raises may undo it
        log.exception("The report of run %s could not be written; `thumbloop report` tries again.", run.id)
    return Outcome(
        run.id,
        registry.label(adapter),
        findings.verdict,
        findings.examined,
        run.seconds,
        page,
    )


def _add_evaluations(
    session: AsyncSession,
    run: OpenRun,
    examined: list[Examined],
    candidate: Adapter,
    in_service: InService,
) -> None:
    """A row with the figures and answers of each subject."""
    from training.examination.results import stored

    adapters = {"candidate": candidate, "current": in_service.adapter}
    for one in examined:
        adapter = adapters.get(one.subject)
        session.add(
            Evaluation(
                run_id=run.id,
                subject=one.subject,
                adapter_id=adapter.id if adapter else None,
                metrics=lifecycle.storable(one.metrics),
                answers=lifecycle.storable(stored(one.every_answer)),
            )
        )


async def _end(session: AsyncSession, run: OpenRun, verdict: Verdict) -> None:
    """Close the run. Raises TakenForDead, so that nothing of this transaction stays."""
    state: RunState = "promoted" if verdict.promote else "rejected"
    if not await lifecycle.end(session, run.id, state, str(verdict), reasons.stored(verdict.reasons)):
        raise TakenForDead(run.id)
