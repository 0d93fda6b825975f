"""`thumbloop demo --check`: the loop run through once, by the product's own parts, with figures.

Each station does what a person would do and looks at what came of it. The loop is closed only when every
station did its work and the training lowered the held-out loss. What the gate says of so small a model is
shown; where it rejects, the check overrules it as an operator may, because the whole loop is to be seen.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bot import service
from bot.access.actor import Actor
from bot.answering.own_thread import temporary_default_executor
from bot.assistant import Assistant
from bot.commands import adapter as adapters
from bot.commands import review as reviews
from bot.commands import voting
from bot.core import Core
from bot.demo import seed
from bot.demo.run import HOME, demo_settings
from bot.pseudonym_key import pseudonym_key
from bot.questions import Finished, Question
from bot.settings import Settings
from feedback.database import opened
from feedback.errors import ThumbloopError
from feedback.plural import counted
from training.adapters.registry import BASE
from training.data import dataset
from training.examination.comparisons import LOSS
from training.progress import Progress

if TYPE_CHECKING:
    from training.run.conclusion import Outcome

ASKED: Final = "why-repeats"
"""The key of the seeded pair whose held-out question is asked before and after."""
MEMBER: Final = "demo-visitor"
OPERATOR: Final = Actor("demo", "check", "operator")
OVERRULED: Final = "The demo shows the loop, whatever it taught."
SHOWN: Final = 3
MOST_QUESTIONS: Final = 20
"""How many held-out questions the check examines at most, so that it ends within six minutes; nor does it
train by contrast, which on a CPU takes as long again."""
EPOCHS: Final = 1.0
"""One pass over the pairs teaches the adapter to answer from its notes; a second takes as long again."""


@dataclass
class Station:
    """One stop of the loop: what happened there, in how many seconds, and whether it is as it should be."""

    name: str
    seconds: float = 0.0
    detail: str = ""
    ok: bool = True


@dataclass
class CheckResult:
    """The stations, the metrics by subject, and held-out questions with the base's and adapter's answers."""

    ok: bool = False
    stations: list[Station] = field(default_factory=list)
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    answers: list[tuple[str, str, str]] = field(default_factory=list)


class _Failed(Exception):
    """A station did not do its work; the text says what was seen instead."""


async def run_check(
    *,
    keep: Path | None,
    report: Callable[[Station], None],
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> CheckResult:
    """Run the loop in a temporary folder, or in `keep`. `report` hears of each station when it is done."""
    result = CheckResult()
    with ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="thumbloop-demo-")))
        settings = demo_settings(folder)
        questions = min(settings.training.examination_questions, MOST_QUESTIONS)
        shorter = {
            "examination_questions": questions,
            "examine_without_notes": False,
            "contrast_weight": 0.0,
            "epochs": settings.training.epochs or EPOCHS,
        }
        settings.training = settings.training.model_copy(update=shorter)
        try:
            await _Loop(settings, result, report, on_progress).run()
        except (_Failed, ThumbloopError):
            return result  # the station that failed says why
    result.ok = all(station.ok for station in result.stations)
    return result


class _Loop:
    def __init__(
        self,
        settings: Settings,
        result: CheckResult,
        report: Callable[[Station], None],
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._settings = settings
        self._result = result
        self._report = report
        self._on_progress = on_progress
        pair = next(pair for pair in seed.seed_pairs() if pair.key == ASKED)
        self._question = pair.held_out
        self._asked = 0

    async def run(self) -> None:
        """All stations in order. Raises what stopped it; the last station says so, too."""
        settings = self._settings
        with self._station("prepare the record") as here:
            database = await opened(settings.database_url)
            counts = await seed.seed(database, pseudonym_key(settings))
            seeded = counted(counts.turns, "turn")
            here.detail = f"{seeded} seeded, {counts.approved} approved, {counts.waiting} waiting"
        try:
            with self._station("load the model") as here:
                opening = service.open_assistant(settings, database)
                core, assistant = await opening.__aenter__()
                here.detail = f"{core.model.base_model} {core.model.base_revision[:8]}"
            try:
                await self._round(core, assistant)
            finally:
                await opening.__aexit__(None, None, None)
        finally:
            await database.close()

    async def _round(self, core: Core, assistant: Assistant) -> None:
        database, settings = core.database, self._settings
        if assistant.knowledge is not None:
            with self._station("index what is approved") as here:
                indexed = await assistant.knowledge.index()
                here.detail = counted(indexed, "passage")
        with self._station("approve") as here:
            waiting = (await reviews.queue(database, OPERATOR, limit=50)).entries
            liked = next(entry for entry in waiting if entry.votes_up)
            decided = await reviews.approve(database, liked.turn_id, OPERATOR)
            here.detail = liked.question
            _must(decided.trains, f"the approved turn does not train: {decided.why_not}")
        # only now: what was approved may be looked up, and nothing else may tell these answers apart
        with self._station("ask a held-out question") as here:
            first = await self._ask(assistant)
            here.detail = _said(first)
            _must(first.adapter == BASE, f"{first.adapter} answered instead of the base model")
        with self._station("vote") as here:
            voted = await voting.vote(
                core, HOME, MEMBER, first.turn_id, -1, reason="wrong facts", suggested_answer=""
            )
            here.detail = "thumbs down: wrong facts"
            _must(voted.after == -1, "the vote was not kept")
        with self._station("build the dataset") as here:
            built = await dataset.build(
                database,
                settings.data,
                name=settings.training.adapter_name,
                settings=settings.training,
                default_persona=settings.persona,
                lookup=service.open_lookup(settings, database),
            )
            here.detail = f"{dataset.label(built)}: " + ", ".join(
                f"{number} {split}" for split, number in built.manifest["pairs"].items()
            )
        adapter = await self._retrain(core)
        with self._station("ask again") as here:
            second = await self._ask(assistant)
            here.detail = _said(second)
            _must(second.adapter == adapter, f"{second.adapter} answered instead of {adapter}")
            _must(second.answer != first.answer, "the adapter says what the base model says")
            self._result.answers.insert(0, (self._question, first.answer, second.answer))
        with self._station("roll back") as here:
            switched = await adapters.rollback(
                database,
                self._settings.data,
                model=core.model,
                by=OPERATOR,
            )
            here.detail = f"{switched.before} → {switched.now}"
            _must(switched.now == BASE, f"{switched.now} serves after the rollback")
        with self._station("ask again") as here:
            third = await self._ask(assistant)
            here.detail = _said(third)
            _must(third.adapter == BASE, f"{third.adapter} answered instead of the base model")
            _must(third.answer == first.answer, "the base model's answer is not the one from before")

    async def _retrain(self, core: Core) -> str:
        from training.run import retrain

        lookup = service.open_lookup(self._settings, core.database)
        with self._station("train, evaluate, promote") as here:
            async with temporary_default_executor():
                outcome = await retrain.retrain(
                    core.database,
                    data=self._settings.data,
                    model=self._settings.model_choice,
                    settings=self._settings.training,
                    lookup=lookup,
                    embed=lookup.embed if lookup else None,
                    gate_settings=self._settings.gate,
                    default_persona=self._settings.persona,
                    started_by=OPERATOR.name,
                    on_progress=self._on_progress,
                )
            here.detail = f"{outcome.adapter} · {outcome.verdict}"
            self._result.metrics = {str(name): figures for name, figures in outcome.metrics.items()}
            self._result.answers = _side_by_side(outcome)
            losses = outcome.metrics["candidate"][LOSS], outcome.metrics["base"][LOSS]
            _must(losses[0] < losses[1], f"the loss rose from {losses[1]:.3f} to {losses[0]:.3f}")
        # one call, several stations: the run says how long each of its steps took
        del self._result.stations[-1]
        told = {
            "dataset": "the dataset is the one just built",
            "training": f"{outcome.adapter} is trained",
            "evaluation": f"held-out loss {losses[1]:.3f} → {losses[0]:.3f} nats per token",
            "verdict": str(outcome.verdict),
            "deployment": f"{outcome.adapter} answers from now on"
            if outcome.verdict.promote
            else "the base model goes on answering",
        }
        self._result.stations += [
            Station(step, seconds, told[step]) for step, seconds in outcome.seconds.items()
        ]
        if not outcome.verdict.promote:
            await self._overrule(core, outcome.adapter)
        return outcome.adapter

    async def _overrule(self, core: Core, adapter: str) -> None:
        with self._station("overrule the verdict") as here:
            await adapters.overrule(core.database, adapter, promote=True, by=OPERATOR, reason=OVERRULED)
            switched = await adapters.switch(
                core.database,
                self._settings.data,
                adapter,
                model=core.model,
                by=OPERATOR,
                reason=OVERRULED,
            )
            here.detail = f"{switched.before} → {switched.now}"

    async def _ask(self, assistant: Assistant) -> Finished:
        """Ask the held-out question in a conversation of its own, so that nothing said before helps."""
        self._asked += 1
        number = f"check-{self._asked}"
        question = Question(replace(HOME, conversation=number), MEMBER, number, self._question)
        async for event in assistant.ask(question):
            if isinstance(event, Finished):
                return event
        raise _Failed("no answer came")

    @contextmanager
    def _station(self, name: str) -> Iterator[Station]:
        here = Station(name)
        self._result.stations.append(here)
        started = time.monotonic()
        try:
            yield here
        except Exception as error:
            here.ok, here.detail = False, str(error)
            raise
        finally:
            here.seconds = time.monotonic() - started
            self._report(here)


def _side_by_side(outcome: Outcome) -> list[tuple[str, str, str]]:
    """The first held-out questions, with what base model and candidate said to them."""
    said = {one.subject: one.answers for one in outcome.examined}
    both = zip(said["base"], said["candidate"], strict=True)
    return [(base.question, base.answer, candidate.answer) for base, candidate in both][:SHOWN]


def _must(true: bool, otherwise: str) -> None:
    if not true:
        raise _Failed(otherwise)


def _said(finished: Finished) -> str:
    return f"{finished.adapter}: {finished.answer}"
