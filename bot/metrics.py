"""What Prometheus reads: answers as they are given, and how things stand whenever it asks.

`Metrics` is counted into by the assistant, each process for itself; `metrics_route` adds what the record and
the parts of the service say at that moment. Labels are adapters, outcomes and parts of the service, never
communities, members or their words. docs/operation.md lists every metric; a test holds the two together.
"""

from __future__ import annotations

import contextlib
import math
from collections import Counter as Counted
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from fastapi import APIRouter
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from bot import disk
from bot.health import Component
from feedback.errors import DatabaseError
from feedback.tables import Adapter, Deployment, Run, Turn
from training.adapters import registry, rollout

if TYPE_CHECKING:
    from bot.core import Core

FIRST_TOKEN_S: Final = (0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120)
ANSWER_S: Final = (0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300)
_STATES: Final = {"ok": 1.0, "degraded": 0.5, "down": 0.0}


class Metrics:
    """The metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.answers = Counter(
            "thumbloop_answers",
            "Answers, by the adapter that gave them and by how they ended.",
            ["adapter", "outcome"],
            registry=self.registry,
        )
        self.answer_tokens = Counter(
            "thumbloop_answer_tokens", "Tokens of answers.", ["adapter"], registry=self.registry
        )
        self.first_token = Histogram(
            "thumbloop_first_token_seconds",
            "Time from the question to the first token of its answer, the queue included.",
            ["adapter"],
            buckets=FIRST_TOKEN_S,
            registry=self.registry,
        )
        self.whole_answer = Histogram(
            "thumbloop_answer_seconds",
            "Time from the question to the end of its answer, the queue included.",
            ["adapter"],
            buckets=ANSWER_S,
            registry=self.registry,
        )
        self.votes = Counter(
            "thumbloop_votes",
            "Votes given or changed, by the adapter whose answer they are on.",
            ["adapter", "vote"],
            registry=self.registry,
        )
        self.under_way = Gauge(
            "thumbloop_answers_under_way", "Answers that are being given now.", registry=self.registry
        )
        self.component = Gauge(
            "thumbloop_component",
            "How a part of the service stands: 1 ok, 0.5 degraded, 0 down.",
            ["component"],
            registry=self.registry,
        )
        self.waiting = Gauge(
            "thumbloop_reviews_waiting", "Answers that nobody has decided on.", registry=self.registry
        )
        self.runs = Gauge(
            "thumbloop_runs",
            "Training runs in the record, by their state.",
            ["state"],
            registry=self.registry,
        )
        self.serving = Gauge(
            "thumbloop_serving",
            "Deployments of an adapter that are open now, canaries aside.",
            ["adapter"],
            registry=self.registry,
        )
        self.canary_share = Gauge(
            "thumbloop_canary_share",
            "Share of conversations that a canary answers.",
            ["adapter"],
            registry=self.registry,
        )
        self.canary_difference = Gauge(
            "thumbloop_canary_approval_difference",
            "Approval rate of a canary minus its predecessor's, and the bounds that it surely lies within.",
            ["adapter", "bound"],
            registry=self.registry,
        )
        self.canary_judged = Gauge(
            "thumbloop_canary_judged_answers",
            "Judged answers of a canary since it began.",
            ["adapter"],
            registry=self.registry,
        )
        self.disk_free = Gauge(
            "thumbloop_disk_free_bytes", "Free bytes on the disk of the data folder.", registry=self.registry
        )

    def answered(self, adapter: str, tokens: int, first_token_s: float, total_s: float) -> None:
        """Count an answer that came to its end."""
        self.answers.labels(adapter, "answered").inc()
        self.answer_tokens.labels(adapter).inc(tokens)
        self.first_token.labels(adapter).observe(first_token_s)
        self.whole_answer.labels(adapter).observe(total_s)


def metrics_route(
    core: Core,
    components: Callable[[], Awaitable[tuple[Component, ...]]],
    admit: Callable[[Request], object],
) -> APIRouter:
    """`/metrics` in Prometheus' text format: `components` are asked how they stand.

    `admit` raises for whoever may not read it.
    """
    routes = APIRouter()

    @routes.get("/metrics")
    async def metrics(request: Request) -> Response:
        admit(request)
        await _look(core, await components())
        return Response(generate_latest(core.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return routes


async def _look(core: Core, components: tuple[Component, ...]) -> None:
    """Set what is read only when somebody asks. A record that is away leaves its metrics out."""
    metrics = core.metrics
    found: list[tuple[Gauge, tuple[str, ...], float]] = [
        (metrics.component, (component.name,), _STATES[component.state]) for component in components
    ]
    waiting = math.nan
    with contextlib.suppress(DatabaseError):  # `thumbloop_component` says so
        async with core.database.session(read_only=True) as session:
            found += await _of_record(core, session)
            of_queue = select(func.count()).where(Turn.review_state == "waiting", Turn.state == "answered")
            waiting = (await session.exec(of_queue)).one()
    # from here on nothing is awaited: of two who scrape at once neither may find gauges emptied
    metrics.waiting.set(waiting)
    metrics.disk_free.set(disk.free_bytes(core.data))
    for gauge in (
        metrics.component,
        metrics.runs,
        metrics.serving,
        metrics.canary_share,
        metrics.canary_difference,
        metrics.canary_judged,
    ):
        gauge.clear()
    for gauge, labels, value in found:
        gauge.labels(*labels).set(value)


async def _of_record(core: Core, session: AsyncSession) -> list[tuple[Gauge, tuple[str, ...], float]]:
    """What the record says: of each gauge the labels and the value."""
    metrics = core.metrics
    by_state = await session.exec(select(Run.state, func.count()).group_by(Run.state))
    found: list[tuple[Gauge, tuple[str, ...], float]] = [
        (metrics.runs, (state,), number) for state, number in by_state
    ]
    open_ones = (
        select(Deployment, Adapter)
        .outerjoin(Adapter, col(Adapter.id) == Deployment.adapter_id)
        .where(col(Deployment.until).is_(None))
    )
    serving: Counted[str] = Counted()
    for row, adapter in (await session.exec(open_ones)).all():
        label = registry.BASE if adapter is None else registry.label(adapter)
        if row.share == 1:
            serving[label] += 1
            continue
        standing = await rollout.look(session, row, core.rollout, core.clock())
        found.append((metrics.canary_share, (label,), row.share))
        found.append((metrics.canary_judged, (label,), standing.judged))
        for bound in ("lower", "estimate", "upper"):
            value = getattr(standing.difference, bound)
            found.append((metrics.canary_difference, (label, bound), value))
    return [*found, *((metrics.serving, (label,), number) for label, number in serving.items())]
