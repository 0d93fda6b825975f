"""Answers under way, apart from the pages that show them.

A page that is opened again goes on watching; an answer that nobody watches any more is stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from bot.assistant import Question
from bot.console.answer import AnswerView, show_answer
from bot.console.context import Console
from bot.console.visitor import Visitor
from feedback.words import TurnId


class LiveAnswer:
    """One answer on any number of pages, each told from the beginning whenever it joins."""

    def __init__(self, console: Console, visitor: Visitor, question: Question) -> None:
        self.question = question
        self._said = ""
        self._end: Callable[[AnswerView], None] | None = None
        self._views: list[AnswerView] = []
        self.task = asyncio.create_task(show_answer(console, visitor, question, self))

    async def watch(self, view: AnswerView) -> None:
        """Show the answer in `view` until it ends. Cancelled, the view watches no more."""
        view.add(self._said)
        if self._end is not None:
            self._end(view)
            return
        self._views.append(view)
        try:
            await asyncio.wait({self.task})
        finally:
            self._views.remove(view)
            if not self._views:
                self.stop()

    def stop(self) -> None:
        """Stop the answer; what was said is kept."""
        if not self.task.cancelling():  # a second time would tear apart its tidying up
            self.task.cancel()

    def add(self, text: str) -> None:
        """The next piece."""
        self._said += text
        for view in self._views:
            view.add(text)

    def start_over(self) -> None:
        """What was said until now is taken back."""
        self._said = ""
        for view in self._views:
            view.start_over()

    def finish(self, turn_id: TurnId, adapter: str) -> None:
        """The answer is whole."""
        self._end_with(lambda view: view.finish(turn_id, adapter))

    def stopped(self) -> None:
        """The answer was stopped."""
        self._end_with(lambda view: view.stopped())

    def refused(self, sentence: str) -> None:
        """No answer came."""
        self._end_with(lambda view: view.refused(sentence))

    def _end_with(self, end: Callable[[AnswerView], None]) -> None:
        self._end = end
        for view in self._views:
            end(view)


class LiveAnswers:
    """The newest answer of each conversation while it is under way."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._under_way: dict[str, LiveAnswer] = {}

    def start(self, visitor: Visitor, question: Question) -> LiveAnswer:
        """Begin to answer."""
        live = LiveAnswer(self._console, visitor, question)
        place = visitor.place
        self._under_way[place] = live

        def forget(_: object) -> None:
            if self._under_way.get(place) is live:
                del self._under_way[place]

        live.task.add_done_callback(forget)
        return live

    def of(self, visitor: Visitor) -> LiveAnswer | None:
        """The answer under way in the visitor's conversation."""
        return self._under_way.get(visitor.place)
