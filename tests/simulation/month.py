"""A month of the demo community in fast motion: what runs by itself, when, and what becomes of it.

Run by hand: `python -m tests.simulation.month [--prometheus BINARY] [--picture FILE] [--day-seconds S]`. The
record, timetable, quiet hours, dueness, canary, rules, faults, announcements and metrics are the service's
own, on a clock that goes through March 2026 with its change of clocks in Warsaw. Training is left out: each
run's adapter has a true approval that is known beforehand, and one repeats itself. With a Prometheus it
scrapes /metrics all the while, and the picture is drawn from what it then says.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal

import httpx
import numpy as np
from fastapi import FastAPI
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from bot.chat import announcements
from bot.core import Core, ModelIdentity
from bot.demo.seed import seed_pairs
from bot.metrics import metrics_route
from bot.rollout import Rollout
from bot.settings import ScheduleSettings
from bot.timetable import trigger_of, words
from feedback import journal, review, votes
from feedback.database import Database
from feedback.journal import Answered
from feedback.plural import counted
from feedback.tables import Adapter, Community, Dataset, Deployment, Review, Run, Turn, Vote
from feedback.words import TurnId
from tests.loopback import serving
from training.adapters import deployments, registry
from training.run import due
from training.settings import RolloutSettings, TrainingSettings

BEGINS: Final = datetime(2026, 3, 1, tzinfo=UTC)
DAYS: Final = 31
SCHEDULE: Final = ScheduleSettings(retrain="30 2 * * 0,3", timezone="Europe/Warsaw", quiet_hours="17-23")
TRAINING: Final = TrainingSettings(min_new_pairs=20)
ROLLOUT: Final = RolloutSettings(share=0.5)
QUESTIONS_A_DAY: Final = 120
VOTED: Final = 0.6
APPROVED_A_DAY: Final = 12
STUCK: Final = "the answer is " * 40


@dataclass(frozen=True)
class Truth:
    """What a run's adapter truly is: its approval, what the gate says, and whether it repeats itself."""

    approval: float
    gate: str = ""
    stuck: bool = False


BASE: Final = 0.55
RUNS: Final = (
    Truth(0.75),
    Truth(0.45),
    Truth(0.5, gate="It answers 3 of 20 questions rightly, 8 before."),
    Truth(0.75, stuck=True),
    Truth(0.88),
    Truth(0.88),
    Truth(0.88),
    Truth(0.88),
)


@dataclass
class Month:
    """The community's days as they pass."""

    core: Core
    community: Community
    moment: list[datetime]
    draw: np.random.Generator
    schedule: ScheduleSettings = field(default_factory=lambda: SCHEDULE)
    truths: dict[int, Truth] = field(default_factory=dict)
    events: list[tuple[datetime, str]] = field(default_factory=list)
    marks: list[tuple[float, float]] = field(default_factory=list)
    runs: int = 0
    asked: int = 0

    @property
    def now(self) -> datetime:
        return self.moment[0]

    async def day(self) -> None:
        """Four quarters of a day: questions, votes, reviews, what is due, what the rules say."""
        trigger = trigger_of(self.schedule)
        assert trigger is not None
        for _ in range(4):
            last = self.now
            fires = trigger.get_next_fire_time(None, last + timedelta(seconds=1))
            self.moment[0] = last + timedelta(hours=6)
            await self._talk(QUESTIONS_A_DAY // 4)
            await self._review(APPROVED_A_DAY // 4)
            if fires is not None and fires <= self.now:
                await self._run(fires.astimezone(UTC))
            await Rollout(self.core).tidy()
            await self._date()
            self.marks.append((time.time(), 1 + (self.now - BEGINS) / timedelta(days=1)))
            self.moment[0] += announcements.SETTLED
            for one in await announcements.due(self.core, "discord"):
                told = one.text.splitlines()
                self.events.append((self.now, told[0] if one.key.startswith("digest") else " ".join(told)))
                await announcements.note_told(self.core, "discord", one)
            self.moment[0] -= announcements.SETTLED

    async def _talk(self, number: int) -> None:
        pairs = seed_pairs()
        async with self.core.database.session() as session:
            for _ in range(number):
                self.asked += 1
                pair = pairs[self.asked % len(pairs)]
                conversation = await journal.conversation(
                    session, self.community.id or 0, f"talk-{self.asked}"
                )
                adapter = await deployments.answering(session, self.community.id or 0, conversation.id or 0)
                truth = self.truths[adapter.id or 0] if adapter else Truth(BASE)
                label = registry.label(adapter) if adapter else registry.BASE
                asked = await journal.ask(
                    session,
                    community_id=self.community.id or 0,
                    conversation_id=conversation.id or 0,
                    member_id=(await journal.member(session, "discord", f"asker {self.asked % 90}")).id,
                    external_id=f"m{self.asked}",
                    question=pair.questions[self.asked % len(pair.questions)],
                    mode="default",
                    language=pair.language,
                    asked_at=self.now,
                )
                said = Answered(
                    STUCK if truth.stuck else pair.answer,
                    "default",
                    pair.language,
                    "m",
                    adapter_id=adapter.id if adapter else None,
                    total_s=2.0,
                )
                turn_id = asked.turn.id or 0
                await journal.record_answer(session, turn_id, said)
                self.core.metrics.answered(label, 40, 0.3, 2.0)
                if self.draw.random() < VOTED:
                    up = self.draw.random() < truth.approval
                    voter = await journal.member(session, "discord", f"voter {self.asked}")
                    await votes.vote(session, turn_id=turn_id, member_id=voter.id or 0, value=1 if up else -1)
                    self.core.metrics.votes.labels(label, "up" if up else "down").inc()

    async def _review(self, number: int) -> None:
        """Moderators decide on a few that nobody voted on: approve what is truly good, and edit the rest."""
        voted = select(Vote.turn_id)
        newest = select(Turn).where(Turn.review_state == "waiting", col(Turn.id).not_in(voted))
        async with self.core.database.session() as session:
            for turn in (await session.exec(newest.order_by(col(Turn.id).desc()).limit(number))).all():
                truth = self.truths[turn.adapter_id] if turn.adapter_id else Truth(BASE)
                good = not truth.stuck and self.draw.random() < truth.approval
                decision: Literal["approve", "edit"] = "approve" if good else "edit"
                answer = {} if good else {"answer": "What the moderator knows better."}
                await review.decide(session, TurnId(turn.id or 0), "mo", decision, **answer)

    async def _run(self, at: datetime) -> None:
        """What the schedule's job does, training left out."""
        async with self.core.database.session() as session:
            if not await due.is_due(session, TRAINING, "plain"):
                new = await due.count_new_own_pairs(session, TRAINING, "plain")
                canary = await deployments.canary_of(session, None)
                why = "a canary is open" if canary else f"only {new} new pairs"
                self.events.append((at, f"the timetable's hour; nothing begins: {why}"))
                return
            new = await due.count_new_own_pairs(session, TRAINING, "plain")
            truth = RUNS[self.runs]
            self.runs += 1
            seen = await _newest_review(session)
            dataset = Dataset(
                name="community",
                version=self.runs,
                folder="",
                content_hash="",
                manifest={"reviews": [seen]},
            )
            session.add(dataset)
            await session.flush()
            run = Run(
                adapter_name="community",
                started_by="schedule",
                state="rejected" if truth.gate else "promoted",
                verdict=truth.gate or "More questions are answered rightly than before.",
                dataset_id=dataset.id,
                started_at=at,
                finished_at=self.now,
            )
            session.add(run)
            await session.flush()
            adapter = Adapter(
                name="community",
                version=self.runs,
                state="rejected" if truth.gate else "promoted",
                folder="",
                content_hash="",
                base_model="m",
                base_revision="r",
                run_id=run.id,
                dataset_id=dataset.id,
            )
            session.add(adapter)
            await session.flush()
            self.truths[adapter.id or 0] = truth
            self.events.append((at, f"run {run.id} by the timetable: {counted(new, 'new approved pair')}"))
            if not truth.gate:
                await deployments.begin_canary(
                    session, adapter, ROLLOUT.share, by=f"run {run.id}", reason=run.verdict
                )
        await self._date()

    async def _date(self) -> None:
        """Deployments begin and end on the month's clock, not on the machine's."""
        async with self.core.database.session() as session:
            for row in (await session.exec(select(Deployment))).all():
                if row.since > self.now:
                    row.since = self.now
                if row.until is not None and row.until > self.now:
                    row.until = self.now
                session.add(row)


async def _newest_review(session: AsyncSession) -> int:
    found = await session.exec(select(Review.id).order_by(col(Review.id).desc()).limit(1))
    return int(found.one())


@asynccontextmanager
async def scraped(core: Core, binary: Path | None, folder: Path) -> AsyncIterator[str]:
    """A Prometheus that scrapes the month's metrics each second; its URL, "" without one."""
    if binary is None:
        yield ""
        return

    async def components() -> tuple[()]:
        return ()

    app = FastAPI()
    app.include_router(metrics_route(core, components, lambda request: None))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    async with serving(app) as url:
        target = url.removeprefix("http://")
        (folder / "prometheus.yml").write_text(
            "global: {scrape_interval: 1s}\n"
            f"scrape_configs:\n  - job_name: thumbloop\n    static_configs: [{{targets: ['{target}']}}]\n"
        )
        process = subprocess.Popen(
            [
                binary,
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/tsdb",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


async def series(prometheus: str, query: str, began: float, ended: float) -> dict[str, list[list[float]]]:
    """What Prometheus kept, by labels: pairs of second and value."""
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        answer = await client.get(
            f"{prometheus}/api/v1/query_range",
            params={"query": query, "start": began, "end": ended, "step": max(1, (ended - began) // 5000)},
        )
    found: dict[str, list[list[float]]] = {}
    for one in answer.json()["data"]["result"]:
        name = " ".join(one["metric"].get(label, "") for label in ("adapter", "bound", "vote")).strip()
        # a process that begins anew has another port
        found.setdefault(name, []).extend([float(at), float(value)] for at, value in one["values"])
    return {name: sorted(values) for name, values in found.items()}


async def demo_community(database: Database) -> Community:
    """The community of the month, a month old when it begins."""
    async with database.session() as session:
        community = await journal.community(session, "discord", "demo", name="Demo")
        community.training_allowed, community.log_channel, community.language = True, "log", "en"
        community.created_at = BEGINS - timedelta(days=30)
        session.add(community)
    return community


async def draw_scraped(
    prometheus: str, began: float, ended: float, marks: list[tuple[float, float]], picture: Path
) -> None:
    """`draw` what Prometheus kept between two seconds."""
    difference = await series(prometheus, "thumbloop_canary_approval_difference", began, ended)
    answers = await series(prometheus, "sum by (adapter) (thumbloop_answers_total)", began, ended)
    draw(difference, answers, marks, picture)


async def pass_by(binary: Path | None, day_s: float, picture: Path | None) -> Month:
    """The month."""
    moment = [BEGINS]
    with tempfile.TemporaryDirectory() as place:
        database = Database(f"sqlite:///{place}/record.db")
        await database.upgrade()
        core = Core(
            database,
            Path(place),
            b"k" * 32,
            ModelIdentity("m", "r"),
            clock=lambda: moment[0],
            rollout=ROLLOUT,
        )
        month = Month(core, await demo_community(database), moment, np.random.default_rng(20260301))
        async with scraped(core, binary, Path(place)) as prometheus:
            began = time.time()
            for _ in range(DAYS):
                day_began = time.monotonic()
                await month.day()
                await asyncio.sleep(max(0.0, day_s - (time.monotonic() - day_began)))
            ended = time.time()
            if prometheus and picture is not None:
                await draw_scraped(prometheus, began, ended, month.marks, picture)
        await database.close()
    return month


def draw(
    difference: dict[str, list[list[float]]],
    answers: dict[str, list[list[float]]],
    marks: list[tuple[float, float]],
    picture: Path,
) -> None:
    """The canaries' bounds and who answered, from Prometheus' series; `marks` are seconds and days."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(2, 1, figsize=(8, 5.5), sharex=True, layout="constrained")
    labels = sorted({name.split()[0] for name in difference})
    colors = {label: f"C{number % 10}" for number, label in enumerate(sorted({*answers, *labels}))}
    for label in labels:
        color = colors[label]
        bounds = {
            bound: {at: value for at, value in difference.get(f"{label} {bound}", [])}
            for bound in ("lower", "estimate", "upper")
        }
        at = np.array(sorted(set(bounds["lower"]) & set(bounds["upper"])))
        days = np.interp(at, *zip(*marks, strict=True))
        times = np.split(np.arange(len(at)), np.flatnonzero(np.diff(days) > 1) + 1)
        for number, time_of_it in enumerate(times):  # a version may be a canary more than once
            lower, estimate, upper = (
                [100 * bounds[bound][second] for second in at[time_of_it]]
                for bound in ("lower", "estimate", "upper")
            )
            above.fill_between(days[time_of_it], lower, upper, color=color, alpha=0.25, step="post")
            above.plot(days[time_of_it], estimate, color=color, label="" if number else label)
    above.axhline(0, color="black", linewidth=0.6)
    above.set_ylim(-60, 60)
    above.set_ylabel("approval of the canary,\npoints above its predecessor")
    above.legend(loc="upper left", fontsize="small", ncols=3)
    for label, points in sorted(answers.items()):
        days = np.interp([at for at, _ in points], *zip(*marks, strict=True))
        counts = np.array([value for _, value in points])
        more = np.diff(counts, prepend=0.0)  # a process that begins anew counts from 0
        below.plot(days, np.cumsum(np.where(more < 0, counts, more)), color=colors[label], label=label)
    below.set_ylabel("answers given, by adapter")
    below.set_xlabel("day, counted from 1 March 2026")
    below.legend(loc="upper left", fontsize="small", ncols=2)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=110)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--prometheus", type=Path, help="the binary, such as Debian's /usr/bin/prometheus")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--day-seconds", type=float, default=0.0)
    given = parser.parse_args(arguments)
    month = asyncio.run(pass_by(given.prometheus, given.day_seconds, given.picture))
    trigger = trigger_of(SCHEDULE)
    assert trigger is not None
    print(f"Timetable: {words(trigger)}. {month.asked:,} questions, {month.runs} runs.\n")
    print_events(month)


def print_events(month: Month) -> None:
    """What happened when, as a table."""
    print("| when (UTC) | what |\n|---|---|")
    for at, what in sorted(month.events, key=lambda one: one[0]):
        print(f"| {at:%d %b %H:%M} | {what} |")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
