"""Where an answer appears in the console: on every open page that shows its conversation.

The answer goes on when all of them are closed; a page that is opened later shows it from its beginning.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from bot.chat.surface import Ending


class View(Protocol):
    """A page's own view of an answer. Updates after the page has gone are ignored."""

    def show(self, text: str) -> None:
        """Show what has been said so far."""

    def finish(self, ending: Ending) -> None:
        """Show how the answer ended."""


class PageSurface:
    """One answer on any number of pages."""

    def __init__(self) -> None:
        self._text = ""
        self._ending: Ending | None = None
        self._closed = asyncio.Event()
        self._views: list[View] = []

    async def watch(self, view: View) -> None:
        """Show the answer in `view` until it ends. Cancelled, the view watches no more."""
        view.show(self._text)
        if self._ending is not None:
            view.finish(self._ending)
            return
        self._views.append(view)
        try:
            await self._closed.wait()
        finally:
            self._views.remove(view)

    async def update(self, text: str) -> None:
        """Show what has been said so far on every page."""
        self._text = text
        for view in self._views:
            view.show(text)

    async def finalise(self, ending: Ending) -> list[str]:
        """Show the ending on every page. No message is named: pages opened later read it in the record."""
        self._text, self._ending = ending.said, ending
        for view in self._views:
            view.show(ending.said)
            view.finish(ending)
        return []

    async def discard(self) -> None:
        """Nothing is left on a page that is opened again."""

    async def report_refusal(self) -> None:
        """Never called: a page may always be written to."""

    def pause(self) -> float:
        """None: a browser takes what it is sent."""
        return 0.0

    def close(self) -> None:
        """Let the pages go on."""
        self._closed.set()
