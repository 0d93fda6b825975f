"""Visitors of the console, each in a page of a real browser.

What a visitor sees of a question: its answer, a reason, or that the connection was lost, which the page says
itself. A page that lost its connection is opened again, and must show what the record has of the question.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from playwright.async_api import Browser, Error, Page, async_playwright

from tests.soak.askers import Asker
from tests.soak.ledger import Asked, Ledger, Shown
from tests.soak.service import Service

CHROMIUM: Final = Path("/usr/bin/chromium")
FIELD_MS: Final = 15_000
ANSWER_MS: Final = 40_000
LOOKS: Final = 8
"""How often a visitor opens the page again for an answer: as long as the service lets it take."""

LOST: Final = "the connection was lost before the question had left"

# the article that follows the question of that marker, and whether it is whole, refused or under way
_SEEN: Final = """(marker) => {
  const asked = [...document.querySelectorAll('.tl-question')].filter(one => one.innerText.includes(marker));
  return asked.map(one => {
    const answer = one.nextElementSibling;
    if (!answer || answer.getAttribute('aria-busy') !== 'false') return ['unfinished', ''];
    const kind = answer.querySelector('.tl-thumbs') ? 'answer' : 'reason';
    return [kind, answer.innerText];
  });
}"""


class ConsoleVisitors(Asker):
    """Two people at the console."""

    edge = "console"
    crowd = 2

    def __init__(self, browser: Browser, service: Service, ledger: Ledger, choices: random.Random) -> None:
        super().__init__(ledger, choices)
        self._browser, self._service = browser, service
        self._pages: list[Page] = []

    async def ask(self, one: Asked, number: int) -> None:
        page = self._pages.pop() if self._pages else await self._open()
        try:
            field = page.get_by_role("textbox", name="Ask something")
            await field.fill(f"What is LoRA? {one.marker}", timeout=FIELD_MS)
            await page.keyboard.press("Enter")
        except Error:  # the service was ended meanwhile: what does a new page say?
            await self._come_back(page)
        for _ in range(LOOKS):
            if await self._ended(page, one.marker):
                break
            await self._come_back(page)
            if not await self._see(page, one.marker):
                break
        one.shown = await self._see(page, one.marker) or [Shown("cut off", LOST)]
        self._pages.append(page)

    @staticmethod
    async def _ended(page: Page, marker: str) -> bool:
        """Whether what was said came to its end within a while."""
        ended = f"(marker) => {{ const s = ({_SEEN})(marker); return s.length && s[0][0] != 'unfinished' }}"
        try:
            await page.wait_for_function(ended, arg=marker, timeout=ANSWER_MS)
        except Error:
            return False
        return True

    def look(self) -> None:
        """All is noted already."""

    async def _open(self) -> Page:
        page = await (await self._browser.new_context(locale="en-GB")).new_page()
        await self._come_back(page)
        return page

    async def _come_back(self, page: Page) -> None:
        await self._service.answers()
        while True:
            try:
                await page.goto(self._service.console_url, timeout=ANSWER_MS)
                await page.get_by_role("textbox", name="Ask something").wait_for(timeout=ANSWER_MS)
                return
            except Error:  # it was ended once more
                await self._service.answers()

    @staticmethod
    async def _see(page: Page, marker: str) -> list[Shown]:
        return [Shown(kind, text) for kind, text in await page.evaluate(_SEEN, marker)]


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """Debian's chromium, headless."""
    async with async_playwright() as playwright:
        opened = await playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu", "--no-first-run"]
        )
        yield opened
        await opened.close()
