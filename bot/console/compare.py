"""The same question to any two of the adapters and the base model, side by side.

Both answers are turns like any other: kept, open to votes and review. Each question is a conversation of its
own, so that neither side sees what was said before.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from nicegui import ui

from bot.commands.adapter import EVERYWHERE, AdapterSummary
from bot.console import record, texts
from bot.console.answer import AnswerView
from bot.console.context import CONVERSATIONS, Console
from bot.console.layout import action, heading, suggestion
from bot.console.surface import PageSurface
from bot.console.visitor import Visitor
from bot.questions import Question
from bot.texts import QUESTION
from training.adapters.registry import BASE


class Comparison:
    """The section of the adapters page that compares."""

    def __init__(self, console: Console, visitor: Visitor) -> None:
        self._console = console
        self._visitor = visitor
        self._say = say = visitor.say
        self._under_way: asyncio.Future[list[BaseException | None]] | None = None
        with ui.element("section").classes("tl-section"):
            with ui.element("div").classes("tl-head tl-head-stacked"):
                heading(say(texts.COMPARE), 2)
                ui.label(say(texts.COMPARE_MORE)).classes("tl-muted")
            with ui.element("div").classes("tl-card"):
                self._empty = ui.label(say(texts.COMPARE_EMPTY)).classes("tl-muted")
                with ui.element("div").classes("tl-compare") as self._form:
                    with ui.element("div").classes("tl-compare-form"):
                        self._question = ui.input(say(QUESTION)).classes("tl-text")
                        self._question.props("outlined").on("keydown.enter", self._ask)
                        self._one, self._other = (
                            ui.select([], label=say(name))
                            .classes("tl-text tl-choice")
                            .props("outlined popup-content-class=tl-popup")
                            for name in (texts.ONE_SIDE, texts.OTHER_SIDE)
                        )
                        self._button = action(
                            say(texts.ASK_BOTH), "o_compare_arrows", self._ask, kind="primary"
                        )
                    self._suggestions = ui.element("div").classes("tl-suggestions")
                    self._sides = ui.element("div").classes("tl-sides").props("aria-live=polite")
        ui.context.client.on_delete(self._stop)

    async def offer(self, listed: list[AdapterSummary]) -> None:
        """Offer these; at first the base model stands beside the adapter in service, or the first one."""
        options = {summary.label: self._called(summary.label) for summary in listed}
        trained = [summary.label for summary in listed if summary.label != BASE]
        serving = [summary.label for summary in listed if EVERYWHERE in summary.serves]
        self._empty.set_visibility(not trained)
        self._form.set_visibility(bool(trained))
        first = next((label for label in (*serving, *trained) if label != BASE), BASE)
        for side, at_first in ((self._one, BASE), (self._other, first)):
            side.set_options(options, value=side.value if side.value in options else at_first)
        async with self._console.core.database.session(read_only=True) as session:
            community = await record.community_id(session, self._console.home_of(self._visitor))
            to_try = self._console.to_try.get(self._visitor.language, ())[:3] or (
                await record.questions_to_try(session, community, self._visitor.language, limit=3)
            )
        self._suggestions.clear()
        with self._suggestions:
            for question in to_try:
                suggestion(question, self._ask_this)

    async def _ask_this(self, question: str) -> None:
        self._question.set_value(question)
        await self._ask()

    async def _ask(self) -> None:
        text = (self._question.value or "").strip()
        if self._under_way is not None or not text:
            return
        self._button.set_enabled(False)
        self._sides.clear()
        with self._sides:
            answers = [self._side(text, label) for label in (self._one.value, self._other.value)]
        self._under_way = asyncio.gather(*answers, return_exceptions=True)
        try:
            await asyncio.wait({self._under_way})
        finally:
            self._under_way = None
            self._button.set_enabled(True)

    def _side(self, text: str, label: str) -> Coroutine[Any, Any, None]:
        """Begin one of the two answers; what shows it until it ends."""
        question = Question(
            place=replace(
                self._console.home_of(self._visitor),
                conversation=f"{CONVERSATIONS}{self._visitor.browser}/{secrets.token_hex(8)}",
            ),
            member=self._visitor.member,
            external_id=secrets.token_hex(16),
            text=text,
            adapter=label,
        )
        with ui.element("div").classes("tl-side"):
            heading(self._called(label), 3)
            view = AnswerView(self._console, self._visitor)
        surface = PageSurface()
        self._console.answers.start(question, surface, self._visitor.language)
        return surface.watch(view)

    def _called(self, label: str) -> str:
        return self._say(texts.BASE_MODEL) if label == BASE else label

    def _stop(self) -> None:
        if self._under_way is not None:
            self._under_way.cancel()
