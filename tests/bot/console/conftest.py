"""A real console on a free port, and a real chromium that looks at it.

Each test has a console and a record of its own, made in some hundredths of a second; the browser lives as
long as the test session. All runs in the session's event loop, so a test may read the record that the console
writes.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
import pytest_asyncio
from nicegui import Client
from playwright.async_api import Browser, Locator, Page, async_playwright, expect
from sqlmodel import col, select

from bot.answering.answerer import Sampling
from bot.assistant import Assistant, AssistantOptions
from bot.console.app import console_app
from bot.console.context import Console
from bot.knowledge.knowledge import Knowledge
from bot.questions import Place
from feedback import journal
from feedback.database import Database
from feedback.journal import Answered
from feedback.tables import Turn, Vote
from tests.bot.assembly import Assembly
from tests.bot.library import library_of
from tests.doubles.retrainer import Retrainer
from tests.doubles.tiny_model import write_tiny_model
from tests.loopback import serving

OPERATOR = "console"
HOME = Place("web", "home", "", "A community")
CHROMIUM = "/usr/bin/chromium"
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
)
_numbers = count(1)
expect.set_options(timeout=30_000)  # milliseconds; a busy machine is no fault of the console's


@dataclass
class Served:
    """A console that answers at `url`, and the parts behind it."""

    url: str
    assembly: Assembly
    assistant: Assistant
    retrainer: Retrainer

    @property
    def database(self) -> Database:
        """The record that the console reads and writes."""
        return self.assembly.database

    async def turns(self) -> list[Turn]:
        """Every turn, oldest first."""
        async with self.database.session(read_only=True) as session:
            return list((await session.exec(select(Turn).order_by(col(Turn.id)))).all())

    async def turn(self, turn_id: int) -> Turn:
        """The turn as the record has it now."""
        async with self.database.session(read_only=True) as session:
            return await journal.find_turn(session, turn_id)

    async def votes(self, turn_id: int) -> list[Vote]:
        """The votes on a turn."""
        async with self.database.session(read_only=True) as session:
            return list((await session.exec(select(Vote).where(Vote.turn_id == turn_id))).all())

    async def waiting(self, *answers: str, question: str = "") -> list[int]:
        """The ids of new turns with these answers that wait for review.

        They answer one `question`, or each another where none is given.
        """
        async with self.database.session() as session:
            community = await journal.community(session, HOME.platform, HOME.community, name="A community")
            community.training_allowed = True
            session.add(community)
            conversation = await journal.conversation(session, community.id or 0, "elsewhere")
            ids: list[int] = []
            for number, answer in enumerate(answers):
                asked = await journal.ask(
                    session,
                    community_id=community.id or 0,
                    conversation_id=conversation.id or 0,
                    member_id=None,
                    external_id=f"seeded-{next(_numbers)}",
                    question=question or f"Question {number}?",
                    mode="default",
                    language="en",
                )
                ids.append(asked.turn.id or 0)
                await journal.record_answer(
                    session,
                    ids[-1],
                    Answered(answer=answer, mode="default", language="en", base_model="tiny"),
                )
        return ids


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model on disk."""
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def longest_answer() -> int:
    """In tokens."""
    return 60


@pytest_asyncio.fixture(loop_scope="session")
async def served(
    model_folder: Path, longest_answer: int, sqlite_template: Path, tmp_path: Path
) -> AsyncIterator[Served]:
    """A console over a tiny model and an empty record."""
    record = shutil.copy(sqlite_template, tmp_path / "record.db")
    assembly = Assembly(Database(f"sqlite:///{record}"), tmp_path, model_folder)
    knowledge = Knowledge(assembly.database, None)
    assistant = Assistant(
        assembly.core,
        assembly.answerer,
        AssistantOptions(
            persona="Be brief.",
            mode="default",
            # drawn with a seed: its likeliest tokens are line breaks only
            sampling=Sampling(temperature=1.0, seed=7, max_new_tokens=longest_answer),
            history_turns=2,
            max_question_characters=400,
        ),
        knowledge,
    )
    served = Served("", assembly, assistant, Retrainer(busy=True))
    async with library_of(assembly.database, knowledge) as library:
        app = console_app(
            Console(
                core=assembly.core,
                assistant=assistant,
                community=HOME,
                retraining=served.retrainer,
                library=library,
            )
        )
        async with serving(app, lifespan="on") as url:
            served.url = url
            yield served
            for left in list(Client.instances.values()):
                left.delete()  # or it would go on reading a record that is gone
    await assembly.answerer.close()
    await assembly.database.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Debian's chromium, headless, kept from calling home."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser, served: Served) -> AsyncIterator[Page]:
    """A visitor's page of a browser without history. Any fault of a script fails the test."""
    context = await browser.new_context(base_url=served.url, locale="en-GB")
    page = await context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    yield page
    await context.close()
    assert not faults, faults


async def ask(page: Page, question: str) -> Locator:
    """Ask in the open chat; the answer's element, once it is whole or refused."""
    await page.get_by_role("textbox", name="Ask something").fill(question)
    await page.keyboard.press("Enter")
    answer = page.get_by_role("article").last
    await expect(page.get_by_text(question, exact=True).last).to_be_visible()
    await expect(answer).to_have_attribute("aria-busy", "false")
    return answer
