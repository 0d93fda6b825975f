"""The page of blind rating: a question with unnamed answers, each scored on three scales, by mouse or key.

A digit scores what the frame stands on and moves it on; the arrows move it, Enter saves and shows the next.
Below, for those who may, stand the rounds and what they came to (`rating_rounds`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from nicegui import ui
from nicegui.events import KeyEventArguments

from bot.chat.rating import LETTERS
from bot.commands import rating
from bot.console import texts
from bot.console.context import Console
from bot.console.layout import action, chip, empty_state, enable, frame, heading, prose, showing_errors, tell
from bot.console.rating_rounds import RatingRounds
from bot.console.visitor import Visitor
from bot.texts import ANSWER_LETTER, QUESTION, RATED, SCALES, SKIP, UNDO
from feedback.ratings import HIGHEST, LOWEST, BlindQuestion, Scores
from feedback.words import RATING_SCALES

Cell = tuple[int, int]
"""An answer and a scale, by their places from 0."""
_ARROWS = {"arrowup": (0, -1), "arrowdown": (0, 1), "arrowleft": (-1, 0), "arrowright": (1, 0)}


async def rate_page(console: Console, visitor: Visitor) -> None:
    """Build the page for one visitor."""
    with frame(visitor, "/rate", texts.RATE_BLIND):
        page = _Rate(console, visitor)
        await page.show_next()
        if visitor.may("ratings.manage"):
            rounds = RatingRounds(console, visitor, page.show_next)
            page.on_rated = rounds.show
            await rounds.show()


class _Rate:
    """One rater's open page."""

    def __init__(self, console: Console, visitor: Visitor) -> None:
        self._database = console.core.database
        self._actor = visitor.actor
        self._say = visitor.say
        self._asked: BlindQuestion | None = None
        self._given: dict[Cell, int] = {}
        self._digits: dict[Cell, list[ui.element]] = {}
        self._rows: dict[Cell, ui.element] = {}
        self._cursor: Cell = (0, 0)
        self._done: list[int] = []
        self._typed = asyncio.Lock()  # keys are heard in their order, however fast they come
        self.on_rated: Callable[[], Awaitable[None]] | None = None
        with ui.element("div").classes("tl-head"):
            heading(self._say(texts.RATE_BLIND), 1)
            self._progress = chip("").props("role=status")
            self._undo = action(self._say(UNDO), "o_undo", self._on_undo, hint="U").classes("tl-push")
        ui.label(self._say(texts.RATE_BLIND_MORE)).classes("tl-muted")
        self._card = ui.element("div").classes("tl-review")
        ui.keyboard(self._on_key, repeating=False, ignore=["input", "select", "textarea"])

    async def show_next(self, *, after: int = 0) -> None:
        """Show what this rater should rate next; `after` is a question passed over for now."""
        self._show(await rating.next_question(self._database, self._actor, after=after))

    def _show(self, asked: BlindQuestion | None) -> None:
        say = self._say
        self._asked, self._given, self._cursor = asked, {}, (0, 0)
        self._digits, self._rows = {}, {}
        enable(self._undo, bool(self._done), say(texts.NOTHING_TO_UNDO))
        self._progress.set_text(say(texts.RATED_OF, rated=asked.rated, of=asked.of) if asked else "")
        self._card.clear()
        with self._card:
            if asked is None:
                empty_state("o_balance", say(texts.NOTHING_TO_RATE), say(texts.NOTHING_TO_RATE_MORE))
                return
            with ui.element("article").classes("tl-card"):
                heading(say(QUESTION), 2).classes(replace="tl-overline")
                ui.label("\n\n".join(filter(None, (asked.input, asked.question)))).classes("tl-asked")
                with ui.element("div").classes("tl-blind"):
                    for number, answer in enumerate(asked.answers):
                        self._make_answer(number, answer)
            with ui.element("div").classes("tl-actions tl-decide"):
                self._save = action(
                    say(texts.SAVE_RATING), "o_check", self._on_save, kind="primary", hint="Enter"
                )
                action(say(SKIP), "o_skip_next", self._on_pass, hint="S")
        self._show_state()

    def _make_answer(self, number: int, answer: str) -> None:
        """Make one answer with its scales."""
        say = self._say
        name = say(ANSWER_LETTER, letter=LETTERS[number])
        with ui.element("section").classes("tl-blind-answer").props(f'aria-label="{name}"'):
            heading(name, 3)
            prose(answer).props("tabindex=0")  # a long one scrolls, so that its scales stay in sight
            for index, scale in enumerate(RATING_SCALES):
                cell = (number, index)
                with ui.element("div").classes("tl-scale") as row:
                    ui.label(say(SCALES[scale])).props('aria-hidden="true"')
                    label = f"{LETTERS[number]}: {say(SCALES[scale])}"
                    with (
                        ui.element("div").classes("tl-digits").props(f'role=radiogroup aria-label="{label}"')
                    ):
                        self._digits[cell] = [
                            self._make_digit(cell, score) for score in range(LOWEST, HIGHEST + 1)
                        ]
                self._rows[cell] = row

    def _make_digit(self, cell: Cell, score: int) -> ui.element:
        with ui.element("button").classes("tl-digit").props("type=button role=radio") as digit:
            ui.html(str(score), sanitize=False, tag="span")
        return digit.on("click", partial(self._set, cell, score))

    def _set(self, cell: Cell, score: int) -> None:
        """Give one score, and move on to the next that is missing."""
        self._given[cell] = score
        cells = list(self._rows)
        behind = cells[cells.index(cell) + 1 :] + cells
        self._cursor = next((one for one in behind if one not in self._given), cell)
        self._show_state()

    def _show_state(self) -> None:
        """Mark what was given and what a digit would rate, and say why saving has to wait."""
        for cell, digits in self._digits.items():
            for score, digit in enumerate(digits, start=LOWEST):
                digit.props(f"aria-checked={str(self._given.get(cell) == score).lower()}")
            here = cell == self._cursor
            self._rows[cell].classes(add="tl-here" if here else "", remove="" if here else "tl-here")
        left = len(self._rows) - len(self._given)
        enable(self._save, not left, self._say(texts.SCORES_LEFT, count=left))

    async def _on_key(self, event: KeyEventArguments) -> None:
        held = event.modifiers
        if event.action.keydown and not (held.ctrl or held.meta or held.alt):
            async with self._typed:
                await self._heard(event.key.name.lower())

    async def _heard(self, key: str) -> None:
        if key == "u":
            await self._on_undo()
        elif self._asked is None:
            return
        elif key.isdecimal() and LOWEST <= int(key) <= HIGHEST:
            self._set(self._cursor, int(key))
        elif key in _ARROWS:
            self._move(*_ARROWS[key])
        elif key == "enter":
            await self._on_save()
        elif key == "s":
            await self._on_pass()

    def _move(self, answers: int, scales: int) -> None:
        assert self._asked is not None, "keys are heard only while a question is shown"
        number, scale = self._cursor
        self._cursor = (
            (number + answers) % len(self._asked.answers),
            (scale + scales) % len(RATING_SCALES),
        )
        self._show_state()

    async def _on_save(self) -> None:
        asked = self._asked
        if asked is None or len(self._given) < len(self._rows):
            return
        scores = [
            Scores(*(self._given[number, index] for index in range(len(RATING_SCALES))))
            for number in range(len(asked.answers))
        ]
        self._asked = None  # a key pressed twice in a hurry rates once

        async def save() -> None:
            await rating.rate(self._database, self._actor, asked.question_id, scores)
            self._done.append(asked.question_id)
            await self.show_next()
            tell(self._say(RATED))
            if self.on_rated is not None:
                await self.on_rated()

        with self._card:
            await showing_errors(save)()

    async def _on_pass(self) -> None:
        if self._asked is not None:
            await self.show_next(after=self._asked.question_id)

    async def _on_undo(self) -> None:
        if not self._done:
            return

        async def back() -> None:
            self._show(await rating.take_back(self._database, self._actor, self._done.pop()))
            if self.on_rated is not None:
                await self.on_rated()

        with self._card:
            await showing_errors(back)()
