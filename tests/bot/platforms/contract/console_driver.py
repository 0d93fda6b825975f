"""The web console of a running service, driven through a real browser."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar

from playwright.async_api import Locator, Page, expect

from bot.service import ServiceReady, serve
from bot.settings import load_settings
from tests.bot.platforms.contract.driver import Ability, Decision, Thumb
from tests.doubles.openai_server import OpenAIServer, Reply

THUMBS: Mapping[Thumb, str] = {"up": "Helpful", "down": "Not helpful"}
KEYS: Mapping[Decision, str] = {"approve": "a", "edit": "e", "reject": "r"}
NO_MESSAGE = "what is written on the page is no message that can be taken up again"


class ConsoleDriver:
    """One browser asks, and moderates too: whoever reaches the console is its operator."""

    lacks: ClassVar[Mapping[Ability, str]] = {
        "deleting a question": NO_MESSAGE,
        "editing a question": NO_MESSAGE,
        "finishing after a restart": "an answer ends with the service, and what was said is shown as stopped",
    }
    stop_notice: ClassVar[str] = "Stopped."

    def __init__(self, page: Page, model: OpenAIServer) -> None:
        self._page = page
        self._model = model
        self._url = ""
        self._serving: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Start the service, and open the chat."""
        ready: asyncio.Future[ServiceReady] = asyncio.get_running_loop().create_future()
        self._serving = asyncio.create_task(serve(load_settings(), on_ready=ready.set_result))
        either: set[asyncio.Future[Any]] = {self._serving, ready}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if self._serving.done():
            await self._serving
        self._url = (await ready).console_url
        await self._open("/")

    async def end(self) -> None:
        """Stop the service."""
        if self._serving is not None:
            self._serving.cancel()
            await asyncio.gather(self._serving, return_exceptions=True)

    def model_says(self, *pieces: str) -> None:
        self._model.script.append(Reply(words=pieces))

    def hold_model(self) -> None:
        self._model.hold()

    async def release_model(self) -> None:
        self._model.release()

    async def ask(self, text: str) -> None:
        answers = await self._answers.count()
        await self._page.get_by_role("textbox", name="Ask something").fill(text)
        await self._page.keyboard.press("Enter")
        await expect(self._answers).to_have_count(answers + 1)

    async def first_words(self) -> str:
        await expect(self._prose(self._answers.last)).not_to_be_empty()
        return (await self.shown_answers())[-1]

    async def whole_answer(self) -> str:
        await expect(self._answers.last).to_have_attribute("aria-busy", "false")
        return (await self.shown_answers())[-1]

    async def shown_answers(self) -> list[str]:
        shown = []
        for answer in await self._answers.all():
            stopped = await answer.get_by_text(self.stop_notice).is_visible()
            words = await self._prose(answer).inner_text()
            shown.append(f"{words.strip()} {self.stop_notice if stopped else ''}".strip())
        return shown

    async def press_stop(self) -> None:
        await self._page.get_by_role("button", name="Stop").click()
        await expect(self._answers.last).to_have_attribute("aria-busy", "false")

    async def edit_question(self, text: str) -> None:
        raise NotImplementedError(self.lacks["editing a question"])

    async def delete_question(self) -> None:
        raise NotImplementedError(self.lacks["deleting a question"])

    async def regenerate(self) -> None:
        answers = await self._answers.count()
        await self._answers.last.get_by_role("button", name="Regenerate").click()
        await expect(self._answers).to_have_count(answers + 1)

    async def vote(self, thumb: Thumb) -> None:
        button = self._answers.last.get_by_role("button", name=THUMBS[thumb], exact=True)
        before = await button.get_attribute("aria-pressed")
        await button.click()
        await expect(button).to_have_attribute("aria-pressed", "false" if before == "true" else "true")

    async def review(self, decision: Decision, better: str = "") -> str:
        await self._open("/review")
        card = self._page.get_by_role("article")
        await expect(card).to_be_visible()
        shown = await card.inner_text()
        await self._page.keyboard.press(KEYS[decision])
        if decision == "reject":
            await self._page.keyboard.press(KEYS[decision])  # the first press asks for a reason
        if decision == "edit":
            editor = self._page.get_by_label("The answer it should have been")
            await editor.fill(better)
            await editor.press("Control+Enter")
        await expect(self._page.get_by_text("Nothing waits for review")).to_be_visible()
        await self._open("/")
        return shown

    async def switch(self, adapter: str) -> None:
        await self._open("/adapters")
        row = self._page.get_by_role("row").filter(has_text=adapter)
        await row.get_by_role("button", name="Switch to it").click()
        await self._page.get_by_role("dialog").get_by_role("button", name="Switch to it").click()
        await expect(self._page.get_by_text(f"Answering now: {adapter}.")).to_be_visible()
        await self._open("/")

    async def restart(self) -> None:
        await self.end()
        self._model.release()
        await self.begin()

    async def _open(self, path: str) -> None:
        await self._page.goto(self._url.rstrip("/") + path)

    @property
    def _answers(self) -> Locator:
        return self._page.get_by_role("article")

    def _prose(self, answer: Locator) -> Locator:
        return answer.locator(".tl-prose")
