"""The judge: asked in both orders, and never counted where it was not heard."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.openai_server import BASE, OpenAIServer, Reply
from tests.loopback import serving
from tests.training import lessons
from training.errors import TrainingError
from training.examination import evaluation, gate
from training.examination.comparisons import JUDGE
from training.examination.judge import Judge, Opinion
from training.examination.results import Answer, Examined, Subject

OURS = [Answer("What is LoRA?", "Two small matrices.", "Two matrices.", 1.0)]
PAIRS = lessons.splits(examination=5).examination
UNANSWERABLE = 10
THEIRS = [Answer("What is LoRA?", "Two small matrices.", "A radio.", 2.0)]


@pytest.fixture
def server() -> OpenAIServer:
    return OpenAIServer()


async def _compare(
    server: OpenAIServer,
    *script: Reply,
    ours: Sequence[Answer] = OURS,
    theirs: Sequence[Answer] = THEIRS,
    seconds: float = 30,
) -> list[Opinion]:
    server.script[:] = script
    async with serving(server.app) as url:
        judge = Judge(f"{url}/v1", BASE, "a key", seconds)
        return await asyncio.to_thread(judge.compare, ours, theirs)


def _says(text: str) -> Reply:
    return Reply(words=(text,))


@pytest.mark.parametrize(
    ("first", "second", "preference"),
    [("A", "B", 1.0), ("B", "A", 0.0), ("TIE", "TIE", 0.5), ("A", "TIE", 0.75), ("A", "A", 0.5)],
    ids=["ours", "theirs", "neither", "a little", "whoever stands first"],
)
async def test_a_preference_is_the_mean_of_both_orders(
    server: OpenAIServer, first: str, second: str, preference: float
) -> None:
    replies = _says(f"Both are short.\nVerdict: {first}"), _says(f"**Verdict:** {second.lower()}")
    assert await _compare(server, *replies) == [Opinion(preference)]
    said = [asked["messages"][-1]["content"] for asked in server.asked]
    assert said[0].index("Two matrices.") < said[0].index("A radio.")
    assert said[1].index("A radio.") < said[1].index("Two matrices.")


async def test_the_same_answer_on_both_sides_is_a_tie_that_nobody_is_asked_about(
    server: OpenAIServer,
) -> None:
    assert await _compare(server, ours=OURS, theirs=OURS) == [Opinion(0.5)]
    assert not server.asked


async def test_one_failure_is_tried_again(server: OpenAIServer) -> None:
    replies = Reply(status=503), _says("Verdict: A"), _says("Verdict: B")
    assert await _compare(server, *replies) == [Opinion(1.0)]


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(status=500), "answered 500"),
        (_says("Hard to tell."), "gave no verdict"),
        (Reply(then="hang"), "within 0.2 s"),
    ],
    ids=["refused", "unclear", "late"],
)
async def test_what_fails_is_no_number_and_says_why(server: OpenAIServer, reply: Reply, reason: str) -> None:
    opinion = (await _compare(server, reply, reply, seconds=0.2))[0]
    assert math.isnan(opinion.preference) and reason in opinion.reason


async def test_a_server_that_is_not_there_is_no_number() -> None:
    judge = Judge("http://127.0.0.1:9/v1", BASE, "", 5)
    opinion = (await asyncio.to_thread(judge.compare, OURS, THEIRS))[0]
    assert math.isnan(opinion.preference) and "could not be reached" in opinion.reason


async def test_each_question_gets_its_own_opinion_in_their_order(server: OpenAIServer) -> None:
    ours = [*OURS, *THEIRS, *OURS]
    opinions = await _compare(server, *[_says("Verdict: TIE")] * 4, ours=ours, theirs=[*THEIRS] * 3)
    assert opinions == [Opinion(0.5)] * 3 and len(server.asked) == 4


def _different() -> Any:
    """An answering function that says something else to each subject."""
    subjects = count()

    def answering(*_: Any, **__: Any) -> list[str]:
        return [f"Answer {next(subjects)}."] * (len(PAIRS) + UNANSWERABLE)

    return answering


async def _examined(tiny_model_folder: Path, url: str) -> list[Examined]:
    settings = lessons.settings(judge_url=url, judge_model=BASE, judge_seconds=5)
    subjects: dict[Subject, Path | None] = {"base": None, "candidate": None}
    base = lessons.load(tiny_model_folder)
    return await asyncio.to_thread(
        evaluation.examine, base, PAIRS, subjects, settings, answering=_different()
    )


async def test_an_examination_asks_the_judge_about_every_held_out_question(
    server: OpenAIServer, tiny_model_folder: Path
) -> None:
    server.script[:] = [_says("Verdict: A")] * (2 * len(PAIRS))
    async with serving(server.app) as url:
        base, candidate = await _examined(tiny_model_folder, f"{url}/v1")
    name = JUDGE.format("base")
    assert candidate.metrics[name] == 0.5 and name not in base.metrics
    assert candidate.figures.values[name] == [0.5] * len(PAIRS)
    assert len(server.asked) == 2 * len(PAIRS)


async def test_a_judge_that_was_not_heard_holds_the_candidate_and_its_reason_is_kept(
    tiny_model_folder: Path,
) -> None:
    base, candidate = await _examined(tiny_model_folder, "http://127.0.0.1:9/v1")
    name = JUDGE.format("base")
    assert math.isnan(candidate.metrics[name])
    assert "could not be reached" in candidate.answers[0].reasons[name]
    found = gate.judge({}, base, None, candidate, lessons.LENIENT)
    assert not found.promote and "The judge gave no opinion" in str(found)


def test_without_a_url_there_is_no_judge_and_with_one_its_model_must_be_named() -> None:
    assert Judge.of(lessons.settings()) is None
    with pytest.raises(TrainingError, match="which of its models judges"):
        Judge.of(lessons.settings(judge_url="http://127.0.0.1:9/v1"))
    judge = Judge.of(lessons.settings(judge_url="http://127.0.0.1:9/v1/", judge_model="m", judge_key="k"))
    assert judge == Judge("http://127.0.0.1:9/v1", "m", "k", 60.0)
