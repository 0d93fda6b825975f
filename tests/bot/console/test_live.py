"""An answer under way in the console, without a browser."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from bot.answering.answerer import Sampling
from bot.chat.surface import Ending
from bot.console.context import Console
from bot.console.surface import PageSurface
from bot.questions import Place, Question
from feedback import journal
from feedback.database import Database
from tests.bot.assembly import Assembly
from tests.conftest import SQLITE
from tests.doubles.discord_model import SteeredAnswerer
from tests.doubles.retrainer import Retrainer

PLACE = Place("web", "web", "ada/talk")
# drawn with a seed: the tiny model's likeliest tokens are line breaks only
SAMPLING = Sampling(temperature=1.5, seed=3, max_new_tokens=24)
QUESTION = Question(PLACE, "ada", "1", "What is LoRA?", sampling=SAMPLING)


class Page:
    """A page that only keeps what it was shown."""

    def __init__(self) -> None:
        self.text = ""
        self.ending: Ending | None = None

    def show(self, text: str) -> None:
        self.text = text

    def finish(self, ending: Ending) -> None:
        self.ending = ending


@pytest.fixture
def assembly(database: Database, model_folder: Path, tmp_path: Path) -> Assembly:
    return Assembly(database, tmp_path, model_folder)


@pytest.fixture
def console(assembly: Assembly) -> Console:
    return console_of(assembly)


def console_of(assembly: Assembly) -> Console:
    """The console of the assembly's service."""
    return Console(
        core=assembly.core,
        assistant=assembly.assistant,
        community=PLACE,
        retraining=Retrainer(),
    )


@SQLITE
async def test_stop_pressed_again_and_again_is_no_fault(
    console: Console, assembly: Assembly, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    moments, through = 1, False
    while not through:  # before it is stopped
        moments += 1 + moments // 5
        console.answers.start(Question(PLACE, "ada", f"{moments}", "What is LoRA?"), PageSurface(), "en")
        for _ in range(moments):
            await asyncio.sleep(0)
        through = not len(console.answers)
        while live := console.answers.find(PLACE.community, f"{moments}"):
            live.interrupt("stopped")
            await asyncio.sleep(0)
    await assembly.answerer.close()
    await database.close()
    gc.collect()
    assert not [entry for entry in caplog.records if entry.levelname == "ERROR"]


@SQLITE
async def test_an_answer_goes_on_when_the_only_page_that_shows_it_is_closed(
    console: Console, assembly: Assembly, database: Database
) -> None:
    surface, page = PageSurface(), Page()
    console.answers.start(QUESTION, surface, "en")
    watching = asyncio.create_task(surface.watch(page))
    while not page.text:
        await asyncio.sleep(0)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)

    later = Page()
    await surface.watch(later)
    async with database.session(read_only=True) as session:
        turn = await journal.find_turn(session, 1)
    assert (turn.state, later.text, later.ending) == (
        "answered",
        turn.answer,
        Ending("answered", turn.answer, turn_id=1, adapter="base"),
    )
    await assembly.answerer.close()


@SQLITE
async def test_an_answer_that_outlasts_its_time_is_kept_and_can_be_voted_on_and_continued(
    assembly: Assembly, database: Database, model_folder: Path
) -> None:
    steered = SteeredAnswerer(
        AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32),
        AutoTokenizer.from_pretrained(model_folder),
        name="tiny",
        revision="r1",
        max_running=1,
        max_waiting=1,
    )
    steered.scripts, steered.hold_after = [["It ", "adapts ", "ranks."]], 2
    assembly.answerer = steered
    assembly.assistant.options = replace(assembly.assistant.options, answer_seconds=1.5)
    console, surface, page = console_of(assembly), PageSurface(), Page()
    console.answers.start(QUESTION, surface, "en")
    await surface.watch(page)
    async with database.session(read_only=True) as session:
        turn = await journal.find_turn(session, 1)
    assert (turn.state, turn.answer) == ("answered", "It adapts")
    assert page.ending is not None and page.ending.said.strip() == "It adapts"
    offered = [one.code.action for one in page.ending.buttons("en")]
    assert offered == ["up", "down", "continue", "again"]
    await steered.close()


@SQLITE
async def test_a_page_opened_meanwhile_finds_the_answer_of_its_conversation_only(
    console: Console, assembly: Assembly
) -> None:
    surface = PageSurface()
    console.answers.start(QUESTION, surface, "en")
    await asyncio.sleep(0)
    found = console.answers.in_conversation(PLACE)
    assert found is not None and found.surface is surface
    assert console.answers.in_conversation(Place("web", "web", "ben/talk")) is None
    await surface.watch(Page())
    assert console.answers.in_conversation(PLACE) is None
    await assembly.answerer.close()
