"""One answer on a page: it fills while it comes, then says which adapter spoke and takes the visitor's vote.

A thumb counts at once and may be changed or, pressed again, taken back; a thumb down asks why.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final, Protocol

from nicegui import ui

from bot.assistant import Finished, Question, TextPiece
from bot.console import texts
from bot.console.context import Console
from bot.console.layout import action, chip, icon_button, prose, tell, told, unexpected
from bot.console.markdown import as_html
from bot.console.visitor import Visitor
from bot.texts import ANSWER, BETTER_ANSWER, HELPFUL, NOT_HELPFUL, REASONS, STOPPED, VOTES
from feedback.errors import ThumbloopError
from feedback.words import TurnId, VoteValue
from training.adapters.registry import BASE

_UP: Final[VoteValue] = 1
_DOWN: Final[VoteValue] = -1


class AnswerView:
    """An answer, made where the page's context is. What comes after its page has gone is ignored."""

    def __init__(self, console: Console, visitor: Visitor) -> None:
        self._console = console
        self._visitor = visitor
        self._text = ""
        with ui.element("article").classes("tl-answer") as self._root:
            self._root.props(f'aria-label="{visitor.say(ANSWER)}" aria-busy=true')
            self._thinking = ui.label(visitor.say(texts.THINKING)).classes("tl-thinking")
            self._prose = prose("")
            self._foot = ui.element("div").classes("tl-answer-foot")

    def add(self, text: str) -> None:
        """Show the next piece."""
        if self._root.is_deleted or not text:
            return
        self._thinking.set_visibility(False)
        self._text += text
        self._prose.set_content(as_html(self._text))

    def start_over(self) -> None:
        """Take back what was shown until now."""
        self._text = ""

    def finish(self, turn_id: TurnId, adapter: str, *, vote: int = 0) -> None:
        """The answer is whole: say who answered (a label, or `base`), and take votes on the turn."""
        if self._settle(""):
            return
        if not self._text.strip():
            self._note(self._visitor.say(texts.EMPTY_ANSWER))
        with self._foot:
            spoke = self._visitor.say(texts.BASE_MODEL) if adapter == BASE else adapter
            chip(spoke).props(f'aria-label="{self._visitor.say(texts.ANSWERED_BY)}: {spoke}" role=note')
            thumbs = _Thumbs(self._console, self._visitor, turn_id, vote)
        with self._root:
            thumbs.make_form()

    def stopped(self) -> None:
        """Somebody stopped the answer; what was said stays."""
        self._settle(self._visitor.say(STOPPED))

    def refused(self, sentence: str) -> None:
        """No answer came; the sentence says why."""
        self._settle(sentence, kind="tl-refusal")

    def _settle(self, note: str, kind: str = "tl-muted") -> bool:
        """End the waiting; True when there is no page left to show anything on."""
        if self._root.is_deleted:
            return True
        self._thinking.set_visibility(False)
        self._root.props("aria-busy=false")
        if note:
            self._note(note, kind)
        return False

    def _note(self, sentence: str, kind: str = "tl-muted") -> None:
        with self._root:
            ui.label(sentence).classes(kind).move(target_index=2)


class Shows(Protocol):
    """What an answer is told to while it comes: a view, or what passes it on to several."""

    def add(self, text: str) -> None:
        """Show the next piece."""

    def start_over(self) -> None:
        """Take back what was shown until now."""

    def finish(self, turn_id: TurnId, adapter: str) -> None:
        """The answer is whole."""

    def stopped(self) -> None:
        """The answer was stopped."""

    def refused(self, sentence: str) -> None:
        """No answer came."""


async def show_answer(console: Console, visitor: Visitor, question: Question, view: Shows) -> None:
    """Ask, and show in `view` whatever comes of it. Cancelled, it shows that the answer was stopped."""
    try:
        async with contextlib.aclosing(console.assistant.ask(question)) as events:
            async for event in events:
                match event:
                    case TextPiece():
                        if event.starts_over:
                            view.start_over()
                        view.add(event.text)
                    case Finished():
                        view.finish(event.turn_id, event.adapter)
    except asyncio.CancelledError:
        view.stopped()
        raise
    except ThumbloopError as error:
        view.refused(str(error))
    except Exception as error:  # the outermost edge: the person gets a sentence in the answer's place
        view.refused(unexpected(visitor, error))


class _Thumbs:
    """The two thumbs of a turn, and the form that a thumb down opens."""

    def __init__(self, console: Console, visitor: Visitor, turn_id: TurnId, vote: int) -> None:
        self._console = console
        self._visitor = visitor
        self._turn_id = turn_id
        self._vote = vote
        say = visitor.say
        with ui.element("div").classes("tl-thumbs").props(f'role=group aria-label="{say(VOTES)}"'):
            self._why = action(say(texts.WHAT_WAS_WRONG), "o_rate_review", self._open).classes("tl-why")
            self._up = icon_button(say(HELPFUL), "o_thumb_up", self._pressed(_UP))
            self._down = icon_button(say(NOT_HELPFUL), "o_thumb_down", self._pressed(_DOWN))

    def make_form(self) -> None:
        """Put the form for a thumb down here, closed."""
        say = self._visitor.say
        reasons = {reason: say(name) for reason, name in REASONS.items()}
        with ui.element("section").classes("tl-form") as self._form:
            self._form.props(f'aria-label="{say(texts.WHAT_WAS_WRONG)}"')
            ui.label(say(texts.WHAT_WAS_WRONG)).classes("tl-form-title")
            self._reason = ui.radio(reasons).props("inline dense").classes("tl-reasons")
            self._better = ui.textarea(say(BETTER_ANSWER)).classes("tl-text")
            self._better.props("outlined autogrow")
            with ui.element("div").classes("tl-actions"):
                action(say(texts.SEND_FEEDBACK), "o_send", told(self._send), kind="primary")
                action(say(texts.CLOSE), "o_close", self._close)
        self._close()
        self._show()

    def _pressed(self, value: VoteValue) -> Callable[[], object]:
        async def press() -> None:
            await self._set(0 if self._vote == value else value)
            if self._vote == _DOWN:
                self._open()
            else:
                self._close()

        return told(press)

    async def _set(self, value: VoteValue, *, reason: str = "", suggested_answer: str = "") -> None:
        voted = await self._console.assistant.vote(
            self._console.place_of(self._visitor),
            self._visitor.member,
            self._turn_id,
            value,
            reason=reason,
            suggested_answer=suggested_answer,
        )
        self._vote = voted.after
        self._show()

    async def _send(self) -> None:
        reason, better = self._reason.value or "", (self._better.value or "").strip()
        if reason or better:
            await self._set(_DOWN, reason=reason, suggested_answer=better)
            tell(self._visitor.say(texts.THANKS))
        self._close()

    def _open(self) -> None:
        self._form.set_visibility(True)
        self._why.set_visibility(False)

    def _close(self) -> None:
        self._form.set_visibility(False)
        self._why.set_visibility(self._vote == _DOWN)

    def _show(self) -> None:
        for button, value, icon in ((self._up, _UP, "thumb_up"), (self._down, _DOWN, "thumb_down")):
            chosen = self._vote == value
            button.props(f"icon={icon if chosen else f'o_{icon}'} aria-pressed={str(chosen).lower()}")
