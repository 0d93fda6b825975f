"""One answer on a page: it fills while it comes, then says which adapter spoke and takes the visitor's vote.

A thumb counts at once and may be changed or, pressed again, taken back; a thumb down asks why.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

from nicegui import ui

from bot.chat.button_codes import Action
from bot.chat.sources import name_of, taken_over
from bot.chat.surface import Ending
from bot.commands import voting
from bot.commands.review import PEOPLE
from bot.console import texts
from bot.console.context import Console
from bot.console.layout import action, chip, icon_button, prose, showing_errors, tell
from bot.console.markdown import as_html
from bot.console.visitor import Visitor
from bot.knowledge.knowledge import Source
from bot.texts import (
    ANSWER,
    BETTER_ANSWER,
    HELPFUL,
    NOT_HELPFUL,
    REASONS,
    SOURCES,
    VOTES,
    WHAT_WAS_WRONG,
)
from feedback.words import TurnId, VoteValue
from training.adapters.registry import BASE

ICONS: Final[dict[Action, str]] = {"continue": "o_play_arrow", "again": "o_refresh"}

_UP: Final[VoteValue] = 1
_DOWN: Final[VoteValue] = -1


class AnswerView:
    """An answer on a page, created in the page's context. Updates after the page has gone are ignored.

    `act` carries out the actions other than voting; None offers none of them.
    """

    def __init__(
        self,
        console: Console,
        visitor: Visitor,
        act: Callable[[Action, TurnId], Awaitable[None]] | None = None,
    ) -> None:
        self._console = console
        self._visitor = visitor
        self._act = act
        with ui.element("article").classes("tl-answer") as self._root:
            self._root.props(f'aria-label="{visitor.say(ANSWER)}" aria-busy=true')
            self._thinking = ui.label(visitor.say(texts.THINKING)).classes("tl-thinking")
            self._prose = prose("")
            self._foot = ui.element("div").classes("tl-answer-foot")

    def show(self, text: str) -> None:
        """Show what has been said so far."""
        if self._root.is_deleted or not text:
            return
        self._thinking.set_visibility(False)
        self._prose.set_content(as_html(text, copy=self._visitor.say(texts.COPY_CODE)))

    def finish(self, ending: Ending, vote: int = 0) -> None:
        """Show how the answer ended; one that can be voted on says who answered, and shows its `vote`."""
        if self._root.is_deleted:
            return
        self._thinking.set_visibility(False)
        self._root.props("aria-busy=false")
        if ending.notice:
            kind = "tl-refusal" if ending.outcome == "failed" else "tl-muted"
            with self._root:
                ui.label(ending.notice).classes(kind).move(target_index=2)
        self._cite(ending.sources, ending.said)
        with self._foot:
            if ending.kept:
                self._say_who(ending.adapter)
            self._offer(ending)
            thumbs = self._thumbs(ending, vote)
        if thumbs is not None:
            with self._root:
                thumbs.make_form()

    def _cite(self, sources: Sequence[Source], answer: str) -> None:
        """Make a card for each source that opens its passage, the lines that the answer took over marked."""
        say = self._visitor.say
        if not sources:
            return
        with self._root, ui.element("section").classes("tl-sources") as section:
            section.props(f'aria-label="{say(SOURCES)}"').move(target_index=2)
            for number, source in enumerate(sources, 1):
                with ui.element("details").classes("tl-source"):
                    with ui.element("summary"):
                        ui.html(str(number), sanitize=False, tag="b")
                        ui.label(name_of(source, self._visitor.language))
                    with ui.element("div").classes("tl-passage"):
                        prose(source.text, taken_over(answer, source.language))
                        if source.link.startswith(("https://", "http://")):
                            ui.link(say(texts.OPEN_SOURCE), source.link, new_tab=True)

    def _offer(self, ending: Ending) -> None:
        """Make a button for each action other than voting."""
        for button in ending.buttons(self._visitor.language):
            if self._act is not None and button.code.action in ICONS:
                act = partial(showing_errors(self._act), button.code.action, TurnId(button.code.turn_id))
                action(button.label, ICONS[button.code.action], act)

    def _thumbs(self, ending: Ending, vote: int) -> _Thumbs | None:
        if not ending.kept or ending.turn_id is None:
            return None
        return _Thumbs(self._console, self._visitor, TurnId(ending.turn_id), vote)

    def _say_who(self, adapter: str) -> None:
        known = {BASE: texts.BASE_MODEL, PEOPLE: texts.WRITTEN_BY_PEOPLE}.get(adapter)
        spoke = self._visitor.say(known) if known else adapter
        chip(spoke).props(f'aria-label="{self._visitor.say(texts.ANSWERED_BY)}: {spoke}" role=note')


class _Thumbs:
    """The two thumbs of a turn, and the form that a thumb down opens."""

    def __init__(self, console: Console, visitor: Visitor, turn_id: TurnId, vote: int) -> None:
        self._console = console
        self._visitor = visitor
        self._turn_id = turn_id
        self._vote = vote
        say = visitor.say
        with ui.element("div").classes("tl-thumbs").props(f'role=group aria-label="{say(VOTES)}"'):
            self._why = action(say(WHAT_WAS_WRONG), "o_rate_review", self._open).classes("tl-why")
            self._up = icon_button(say(HELPFUL), "o_thumb_up", self._pressed(_UP))
            self._down = icon_button(say(NOT_HELPFUL), "o_thumb_down", self._pressed(_DOWN))

    def make_form(self) -> None:
        """Put the form for a thumb down here, closed."""
        say = self._visitor.say
        reasons = {reason: say(name) for reason, name in REASONS.items()}
        with ui.element("section").classes("tl-form") as self._form:
            self._form.props(f'aria-label="{say(WHAT_WAS_WRONG)}"')
            ui.label(say(WHAT_WAS_WRONG)).classes("tl-form-title")
            self._reason = ui.radio(reasons).props("inline dense").classes("tl-reasons")
            self._better = ui.textarea(say(BETTER_ANSWER)).classes("tl-text")
            self._better.props("outlined autogrow")
            with ui.element("div").classes("tl-actions"):
                action(say(texts.SEND_FEEDBACK), "o_send", showing_errors(self._send), kind="primary")
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

        return showing_errors(press)

    async def _set(self, value: VoteValue, *, reason: str = "", suggested_answer: str = "") -> None:
        voted = await voting.vote(
            self._console.core,
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
