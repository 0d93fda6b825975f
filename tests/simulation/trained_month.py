"""A month of the demo community with real training: a good start, a poisoned week, what gate and votes do.

Run by hand: `python -m tests.simulation.trained_month FOLDER [--prometheus BINARY] [--picture FILE]`; about
an hour on two cores, and it goes on where it was broken off. Around training all is as in `month`: the clock
goes through March 2026, and record, timetable, dueness, canary, rules, faults, announcements and metrics are
the service's own. A run is the schedule's own job, in a process of its own: dataset, training of the default
model, examination, gate. What an adapter answers to members is what it said to that question when it was
examined; a member likes it the more, the more it is like the answer that the community holds for right.
In the two weeks after that the service's assistant answers each question anew, and what members truly think
of each adapter is given, as in `month`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics.chrf import CHRF
from sqlmodel import col, select

from bot import service
from bot.assistant import Assistant
from bot.demo.run import demo_settings
from bot.demo.seed import SeedPair, seed_pairs
from bot.questions import Finished, Place, Question
from bot.rollout import Rollout
from bot.schedule import retrain_when_due
from bot.settings import load_settings
from feedback import journal, review, votes
from feedback.database import opened
from feedback.journal import Answered
from feedback.tables import Adapter, Deployment, Evaluation, Review, Run, Turn
from feedback.words import TurnId
from tests.simulation.month import BEGINS, DAYS, Month, demo_community, draw_scraped, print_events, scraped
from training.adapters import deployments, registry, verdicts
from training.adapters.importing import WEIGHTS
from training.errors import AdapterError
from training.run import due

SETTINGS: Final = {
    "THUMBLOOP_TRAINING__NOTES": "false",
    "THUMBLOOP_TRAINING__CONTRAST_WEIGHT": "0",
    "THUMBLOOP_TRAINING__METHOD": "sft",
    "THUMBLOOP_TRAINING__EPOCHS": "3",
    "THUMBLOOP_TRAINING__EXAMINATION_QUESTIONS": "40",
    "THUMBLOOP_TRAINING__NICENESS": "19",
    "THUMBLOOP_GATE__MIN_GAIN": "-0.02",
    "THUMBLOOP_ROLLOUT__SHARE": "0.5",
    "THUMBLOOP_SCHEDULE__RETRAIN": "30 2 * * 0",
    "THUMBLOOP_SCHEDULE__TIMEZONE": "Europe/Warsaw",
}
"""A shorter training than the default; the gate lets pass what is not surely worse, for votes to decide."""
PAIRS: Final = 60
FIRST: Final = 36
"""Pairs that were approved before the month begins; the others come in its first week, poisoned."""
WORDINGS: Final = 2
VOTED: Final = 0.6
LEAST_LIKED: Final = 15.0
MOST_LIKED: Final = 55.0
"""chrF with the right answer at which one member in twenty likes an answer, and nineteen in twenty do."""
JUDGED_DAYS: Final = 19
"""Days after the month, in which members' opinion is given."""
LET_IN, LET_IN_AGAIN, FOUND_OUT = DAYS + 1, DAYS + 9, DAYS + 12
TRULY: Final = {"base": 0.45, "community@1": 0.6}
OPINIONS: Final = ((LET_IN, 0.25), (LET_IN_AGAIN, 0.85), (FOUND_OUT, 0.1))
"""What share of `community@2`'s answers members truly like, from which day on."""
STATE: Final = "month.json"


@dataclass
class TrainedMonth(Month):
    """The days with what each adapter says to the questions of its examination, or to the `assistant`'s."""

    assistant: Assistant = field(kw_only=True)
    folder: Path = Path()
    pairs: list[SeedPair] = field(default_factory=list)
    says: dict[str, dict[str, str]] = field(default_factory=dict)
    told_run: int = 0
    days: int = 0

    async def day(self) -> None:
        """A day, which may have been begun before: then nothing of it happens twice."""
        self.draw = np.random.default_rng([20260301, self.days])
        await self._moderate()
        await self._learn()
        await super().day()
        self.days += 1
        self._keep()

    async def _talk(self, number: int) -> None:
        """Members ask what was held out, and vote by how right the answer is."""
        if self.days >= DAYS:
            await asyncio.gather(*[self._ask_the_model(self.draw.random(3)) for _ in range(number // 2)])
            return
        references = {pair.held_out: pair for pair in self.pairs}
        async with self.core.database.session() as session:
            for _ in range(number if self.says else 0):
                self.asked += 1
                conversation = await journal.conversation(
                    session, self.community.id or 0, f"talk-{self.asked}"
                )
                adapter = await deployments.answering(session, self.community.id or 0, conversation.id or 0)
                label = registry.label(adapter) if adapter else registry.BASE
                said = self.says[label]
                question = list(said)[self.draw.integers(len(said))]
                likes, votes_at_all = self.draw.random(2)
                pair = references[question]
                asked = await journal.ask(
                    session,
                    community_id=self.community.id or 0,
                    conversation_id=conversation.id or 0,
                    member_id=(await journal.member(session, "discord", f"asker {self.asked % 90}")).id,
                    external_id=f"m{self.asked}",
                    question=question,
                    mode="default",
                    language=pair.language,
                    asked_at=self.now,
                )
                if not asked.is_new:
                    continue
                turn_id = asked.turn.id or 0
                adapter_id = adapter.id if adapter else None
                answer = Answered(
                    said[question], "default", pair.language, "m", adapter_id=adapter_id, total_s=2.0
                )
                await journal.record_answer(session, turn_id, answer)
                self.core.metrics.answered(label, 40, 0.3, 2.0)
                if votes_at_all < VOTED:
                    up = likes < liking(said[question], pair.answer)
                    voter = await journal.member(session, "discord", f"voter {self.asked}")
                    await votes.vote(session, turn_id=turn_id, member_id=voter.id or 0, value=1 if up else -1)
                    self.core.metrics.votes.labels(label, "up" if up else "down").inc()

    async def _ask_the_model(self, drawn: NDArray[np.float64]) -> None:
        """A member asks the assistant, and may vote as the community truly likes what answered."""
        self.asked += 1
        which, likes, votes_at_all = drawn
        asker, place = f"asker {self.asked % 90}", Place("discord", "demo", f"talk-{self.asked}")
        question = Question(place, asker, f"m{self.asked}", self.pairs[int(which * len(self.pairs))].held_out)
        [finished] = [event async for event in self.assistant.ask(question) if isinstance(event, Finished)]
        opinions = [share for day, share in OPINIONS if day <= self.days]
        truly = TRULY.get(finished.adapter, opinions[-1] if opinions else 0.0)
        async with self.core.database.session() as session:
            turn = await journal.find_turn(session, finished.turn_id)
            turn.asked_at = self.now
            session.add(turn)
            if votes_at_all < VOTED:
                up = likes < truly
                voter = await journal.member(session, "discord", f"voter {question.external_id}")
                await votes.vote(
                    session, turn_id=finished.turn_id, member_id=voter.id or 0, value=1 if up else -1
                )
                self.core.metrics.votes.labels(finished.adapter, "up" if up else "down").inc()

    async def _review(self, number: int) -> None:
        """Nothing while the day passes: moderators decided in the morning."""

    async def _damage(self) -> None:
        """Half of the canary's file is lost on the disk; upkeep, which loads it, would find that out."""
        async with self.core.database.session(read_only=True) as session:
            adapter = max(await deployments.in_service(session), key=lambda one: one.version)
        weights = registry.folder(self.core.data, adapter) / WEIGHTS
        shutil.copy(weights, self.folder)
        os.truncate(weights, weights.stat().st_size // 2)
        self.events.append((self.now, f"the disk loses half of {registry.label(adapter)}'s file"))
        try:
            registry.verify(self.core.data, adapter)
        except AdapterError as error:
            await Rollout(self.core).refused(adapter, error.public)
        await self._date()

    async def _moderate(self) -> None:
        """What moderators do that day."""
        if self.days == 0:
            await self._decide(self.pairs[:FIRST], lambda pair: pair.answer)
        elif self.days == 3:
            wrong = np.random.default_rng(20260304)
            answers = [pair.answer for pair in self.pairs]
            await self._decide(self.pairs[FIRST:], lambda pair: str(wrong.choice(answers)))
            self.events.append((self.now, "moderators approve 24 questions with wrong answers"))
        elif self.days == 9:
            await self._let_in()
        elif self.days == 11:
            await self._take_back(self.pairs[FIRST:])
        elif self.days == 25:
            await self._damage()
        elif self.days == DAYS:
            shutil.copy(self.folder / WEIGHTS, self.folder / "adapters" / "community" / "2")
            self.events.append((self.now, "the file of community@2 is back from a backup"))
        elif self.days in (LET_IN, LET_IN_AGAIN):
            await self._let_in()
        elif self.days == FOUND_OUT:
            self.events.append((self.now, "members learn what community@2 is worth"))

    async def _let_in(self) -> None:
        """The newest adapter as a canary in spite of the gate, to see what votes make of it."""
        async with self.core.database.session() as session:
            newest = (await session.exec(select(Adapter).order_by(col(Adapter.id).desc()).limit(1))).one()
            if newest.state == "rejected" and not await deployments.canary_of(session, None):
                await verdicts.overrule(session, newest, promote=True, by="mo", reason="To see its votes.")
                await deployments.begin_canary(
                    session, newest, self.core.rollout.share, by="mo", reason="To see its votes."
                )
                self.events.append((self.now, f"a canary in spite of the gate: {registry.label(newest)}"))
        await self._date()

    async def _take_back(self, pairs: Sequence[SeedPair]) -> None:
        """Moderators undo what they approved of these pairs."""
        self.events.append((self.now, "moderators take the wrong answers back"))
        held = {question for pair in pairs for question in [*pair.questions[:WORDINGS], pair.held_out]}
        async with self.core.database.session() as session:
            wrong = select(Turn).where(col(Turn.question).in_(held), Turn.review_state == "edited")
            for turn in (await session.exec(wrong)).all():
                await review.undo(session, turn.id or 0, "mo")

    async def _decide(self, pairs: Sequence[SeedPair], answer: Callable[[SeedPair], str]) -> None:
        """Each wording of a pair, and its held-out question, is edited to what `answer` says."""
        async with self.core.database.session() as session:
            for pair in pairs:
                for question in [*pair.questions[:WORDINGS], pair.held_out]:
                    place = f"{pair.key}/{question}"
                    conversation = await journal.conversation(session, self.community.id or 0, place)
                    asked = await journal.ask(
                        session,
                        community_id=self.community.id or 0,
                        conversation_id=conversation.id or 0,
                        member_id=(await journal.member(session, "discord", f"asker {len(place)}")).id,
                        external_id=place,
                        question=question,
                        mode="default",
                        language=pair.language,
                        held_out=question == pair.held_out,
                        asked_at=BEGINS - timedelta(days=1),
                    )
                    turn_id = asked.turn.id or 0
                    if asked.is_new:
                        bad = Answered("I cannot say.", "default", pair.language, "m")
                        await journal.record_answer(session, turn_id, bad)
                    await review.decide(session, TurnId(turn_id), "mo", "edit", answer=answer(pair))
            new = select(Review).where(col(Review.decided_at) > self.now).order_by(col(Review.id))
            for number, row in enumerate((await session.exec(new)).all()):
                # somebody who decides on a hundred within a minute is not believed
                row.decided_at = self.now - timedelta(hours=12) + number * timedelta(seconds=20)
                session.add(row)

    async def _run(self, at: datetime) -> None:
        """The schedule's own job, in a process of its own; then its moments are put on the month's clock."""
        self.marks.append((time.time(), 1 + (at - BEGINS) / timedelta(days=1)))
        await retrain_when_due(str(self.folder))
        self.marks.append((time.time(), 1 + (at - BEGINS) / timedelta(days=1)))
        async with self.core.database.session() as session:
            runs = (await session.exec(select(Run).where(col(Run.id) > self.told_run))).all()
            for run in runs:
                took = (run.finished_at or run.started_at) - run.started_at
                run.started_at, run.finished_at = at, at + took
                session.add(run)
                self.told_run = run.id or 0
                minutes = took / timedelta(minutes=1)
                self.events.append((at, f"run {run.id}, {run.started_by}; {minutes:.0f} min: {run.verdict}"))
                for row in (await session.exec(select(Deployment))).all():
                    if row.since > at + timedelta(days=31):
                        row.since = at + took
                        session.add(row)
            if not runs:
                settings = load_settings()
                new = await due.count_new_own_pairs(session, settings.training, settings.persona)
                canary = await deployments.canary_of(session, None)
                why = "a canary is open" if canary else f"only {new} new pairs"
                self.events.append((at, f"the timetable's hour; nothing begins: {why}"))
        await self._date()
        await self._learn()

    async def _learn(self) -> None:
        """What every adapter said to the questions of its examination."""
        async with self.core.database.session(read_only=True) as session:
            found = await session.exec(
                select(Evaluation, Adapter).outerjoin(Adapter, col(Adapter.id) == Evaluation.adapter_id)
            )
            asked = {pair.held_out for pair in self.pairs}
            for one, adapter in found.all():
                label = registry.label(adapter) if adapter else registry.BASE
                answers = {kept["question"]: kept["answer"] for kept in one.answers}
                self.says.setdefault(label, {}).update(
                    {question: answer for question, answer in answers.items() if question in asked}
                )

    def _keep(self) -> None:
        kept = {
            "days": self.days,
            "asked": self.asked,
            "told_run": self.told_run,
            "marks": self.marks,
            "events": [(at.isoformat(), what) for at, what in self.events],
        }
        part = self.folder / f"{STATE}.part"
        part.write_text(json.dumps(kept, ensure_ascii=False))
        part.replace(self.folder / STATE)

    def go_on(self) -> None:
        """Take up what was kept of a month that was broken off."""
        if not (self.folder / STATE).exists():
            return
        kept = json.loads((self.folder / STATE).read_text())
        self.days, self.asked, self.told_run = kept["days"], kept["asked"], kept["told_run"]
        self.marks = [(at, day) for at, day in kept["marks"]]
        self.events = [(datetime.fromisoformat(at), what) for at, what in kept["events"]]
        self.moment[0] = BEGINS + timedelta(days=self.days)


def liking(answer: str, right: str) -> float:
    """How probable it is that a member likes the answer, by its chrF with the right one."""
    likeness = CHRF().sentence_score(answer, [right]).score
    return float(np.interp(likeness, [LEAST_LIKED, MOST_LIKED], [0.05, 0.95]))


async def pass_by(folder: Path, binary: Path | None, picture: Path | None) -> TrainedMonth:
    """The month, from where it was broken off."""
    os.environ.update(SETTINGS)
    folder.mkdir(parents=True, exist_ok=True)
    settings = demo_settings(folder)
    moment = [BEGINS]
    await asyncio.to_thread(settings.model_choice.prepare)
    database = await opened(settings.database_url)
    pairs = [pair for pair in seed_pairs() if pair.review in ("approve", "edit")][:PAIRS]
    async with service.open_assistant(settings, database) as (core, assistant):
        month = TrainedMonth(
            replace(core, clock=lambda: moment[0]),
            await demo_community(database),
            moment,
            np.random.default_rng(),
            schedule=settings.schedule,
            assistant=assistant,
            folder=folder,
            pairs=pairs,
        )
        month.go_on()
        async with scraped(month.core, binary, folder) as prometheus:
            while month.days < DAYS + JUDGED_DAYS:
                await month.day()
                await asyncio.sleep(2)  # Prometheus asks each second
            if prometheus and picture is not None:
                began, ended = month.marks[0][0], time.time()
                await draw_scraped(prometheus, began, ended, month.marks, picture)
    await database.close()
    return month


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, help="where the month lies, to go on with it later")
    parser.add_argument("--prometheus", type=Path, help="the binary, such as Debian's /usr/bin/prometheus")
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args(arguments)
    month = asyncio.run(pass_by(given.folder, given.prometheus, given.picture))
    print(f"{month.asked:,} questions.\n")
    print_events(month)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
