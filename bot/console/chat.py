"""The chat page: ask, watch the answer come, stop it, vote on it.

One browser is one member with a conversation of its own, shown again when the page is opened again. An answer
goes on when the page is closed; opened again, the page shows it under way or whole.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Final, get_args

from nicegui import ui
from nicegui.events import GenericEventArguments
from sqlmodel.ext.asyncio.session import AsyncSession

from bot.chat.button_codes import Action
from bot.chat.surface import Ending
from bot.chat.turns import turn_at
from bot.console import record, texts
from bot.console.answer import AnswerView
from bot.console.context import Console
from bot.console.conversations import Conversations
from bot.console.layout import action, frame, heading, icon_button, showing_errors, suggestion
from bot.console.stations import show_stations
from bot.console.surface import PageSurface
from bot.console.visitor import Visitor
from bot.questions import Question
from bot.texts import EMPTY_ANSWER, GO_ON, MODES, OUT_OF_TIME, STOP, STOPPED
from feedback import journal
from feedback.words import Language, Mode, TurnId
from training.adapters import registry
from training.model.names import DEFAULT_MODEL

# Enter sends unless it ends a composed character (Japanese, Chinese …); Shift+Enter is a new line
_SEND_ON_ENTER: Final = """(event) => {
  if (event.shiftKey || event.isComposing) return;
  event.preventDefault();
  emit(event.target.value);
}"""
# the page follows a growing answer unless its reader has scrolled up
_FOLLOW: Final = """
const page = document.scrollingElement;
let before = page.scrollHeight;
new ResizeObserver(() => {
  if (before - page.scrollTop - page.clientHeight < 160) page.scrollTop = page.scrollHeight;
  before = page.scrollHeight;
}).observe(document.querySelector('.tl-talk'));
"""
_TO_THE_END: Final = "document.scrollingElement.scrollTop = document.scrollingElement.scrollHeight"


async def chat_page(console: Console, visitor: Visitor) -> None:
    """Build the page for one visitor."""
    with frame(visitor, "/", texts.CHAT):
        chat = _Chat(console, visitor)
        await chat.show_conversation()
        if chat.greeting is not None:
            with chat.greeting:
                await show_stations(console, visitor)
                if console.core.model.base_model == DEFAULT_MODEL:
                    ui.label(visitor.say(texts.SMALL_MODEL)).classes("tl-small-print")
    visitor.remember_conversation()
    ui.context.client.on_delete(chat.leave)


class _Chat:
    """One visitor's open chat."""

    def __init__(self, console: Console, visitor: Visitor) -> None:
        self._console = console
        self._visitor = visitor
        self._asked: Question | None = None
        self._watching: asyncio.Task[None] | None = None
        self.greeting: ui.element | None = None
        self._to_try: list[str] = []
        say = visitor.say
        self._talk = ui.element("div").classes("tl-talk")
        self._talk.props(f'role=log aria-label="{say(texts.CONVERSATION)}"')
        with ui.element("div").classes("tl-dock"), ui.element("div").classes("tl-composer"):
            self._field = ui.textarea(placeholder=say(texts.ASK_PLACEHOLDER))
            self._field.props(
                f'borderless dense autogrow autofocus aria-label="{say(texts.ASK_PLACEHOLDER)}"'
            ).classes("tl-field")
            self._field.on("keydown.enter", self._on_enter, js_handler=_SEND_ON_ENTER)
            with ui.element("div").classes("tl-composer-row"):
                modes: dict[Mode, str] = {mode: say(name) for mode, name in MODES.items()}
                self._mode = ui.select(modes, value=get_args(Mode)[0])
                self._mode.props(
                    f'dense borderless popup-content-class=tl-popup aria-label="{say(texts.MODE)}"'
                ).classes("tl-mode")
                self._adapter: ui.select | None = None
                if visitor.may("adapter.try"):
                    self._adapter = ui.select({}, label=None)
                    self._adapter.props(
                        f'dense borderless popup-content-class=tl-popup aria-label="{say(texts.ADAPTER)}"'
                    ).classes("tl-mode")
                self._new = action(say(texts.NEW_CONVERSATION), "o_add", self._start_anew)
                earlier = Conversations(console, visitor)
                icon_button(say(texts.CONVERSATIONS), "o_history", showing_errors(earlier.open))
                ui.label(say(texts.ASK_HINT)).classes("tl-hint")
                self._send = icon_button(say(texts.SEND), "arrow_upward", self._on_send).classes("tl-send")
                self._stop = icon_button(say(STOP), "stop", self.stop).classes("tl-send")
        self._show_under_way(False)

    async def show_conversation(self) -> None:
        """Show what was said before, or a welcome."""
        place = self._console.place_of(self._visitor)
        live = self._console.answers.in_conversation(place)
        async with self._console.core.database.session(read_only=True) as session:
            said = await record.conversation(session, place)
            community = await record.community_id(session, place)
            self._to_try = list(self._console.to_try.get(self._visitor.language, ())) or (
                await record.questions_to_try(session, community, self._visitor.language)
            )
            if self._adapter is not None:
                await self._offer_adapters(session)
        if live is not None:
            # its turn may not be recorded yet, or be finished meanwhile: the live answer is right either way
            said = [past for past in said if past.turn.external_id != live.question.external_id]
        if not said and live is None:
            self._welcome()
        with self._talk:
            for past in said:
                self._question(past.turn.question)
                self._past_answer(past)
        if live is not None and isinstance(live.surface, PageSurface):
            self._watch(live.question, live.surface)
        ui.run_javascript(_FOLLOW + (_TO_THE_END if said or live else ""))

    async def _offer_adapters(self, session: AsyncSession) -> None:
        """Let one's own question be answered by an adapter of one's choice; at first by what serves."""
        assert self._adapter is not None, "it was made for those who may"
        say = self._visitor.say
        labels = [registry.label(one) for one in await registry.list_adapters(session)]
        options = {"": say(texts.WHAT_SERVES), registry.BASE: say(texts.BASE_MODEL)}
        self._adapter.set_options(options | {label: label for label in labels}, value="")

    def stop(self) -> None:
        """Stop the answer under way, if there is one."""
        if self._asked is not None:
            place = self._asked.place
            live = self._console.answers.find(place.community, self._asked.external_id)
            if live is not None:
                live.interrupt("stopped")

    def leave(self) -> None:
        """Watch no more; the page has gone."""
        if self._watching is not None:
            self._watching.cancel()

    def _past_answer(self, past: record.PastTurn) -> None:
        view = AnswerView(self._console, self._visitor, self._act)
        view.show(past.turn.answer)
        view.finish(past_ending(past, self._visitor.language), past.vote)

    def _question(self, text: str) -> None:
        with (
            ui.element("div")
            .classes("tl-question")
            .props(f'role=note aria-label="{self._visitor.say(texts.YOU)}"')
        ):
            ui.label(text)

    def _welcome(self) -> None:
        say = self._visitor.say
        with self._talk, ui.element("div").classes("tl-welcome") as self.greeting:
            heading(say(texts.WELCOME), 1)
            ui.label(say(texts.WELCOME_MORE)).classes("tl-muted")
            if self._to_try:
                ui.label(say(texts.TRY_ASKING)).classes("tl-overline")
                with ui.element("div").classes("tl-suggestions"):
                    for question in self._to_try:
                        suggestion(question, self._ask)

    def _start_anew(self) -> None:
        self.stop()
        self._visitor.start_conversation()
        self._talk.clear()
        self._welcome()
        self._field.run_method("focus")

    async def _on_enter(self, event: GenericEventArguments) -> None:
        await self._ask(str(event.args))

    async def _on_send(self) -> None:
        await self._ask(self._field.value or "")

    async def _ask(self, text: str) -> None:
        """Ask, unless an answer is under way or there is nothing to ask."""
        if self._asked is not None or not text.strip():
            return
        self._field.set_value("")
        if self.greeting is not None:
            self.greeting.delete()
            self.greeting = None
        question = Question(
            place=self._console.place_of(self._visitor),
            member=self._visitor.member,
            external_id=secrets.token_hex(16),
            text=text,
            mode=self._mode.value,
            adapter=(self._adapter.value or None) if self._adapter is not None else None,
        )
        self._start(question)

    async def _act(self, action: Action, turn_id: TurnId) -> None:
        """Regenerate or continue an answer, unless another one is under way."""
        if self._asked is not None:
            return
        place, assistant = self._console.place_of(self._visitor), self._console.assistant
        await turn_at(self._console.core.database, place, turn_id)
        if action == "continue":
            text = self._visitor.say(GO_ON)
            self._start(await assistant.go_on(place, self._visitor.member, turn_id, text))
        else:
            self._start(await assistant.once_more(place, self._visitor.member, turn_id))

    def _start(self, question: Question) -> None:
        surface = PageSurface()
        self._console.answers.start(question, surface, self._visitor.language)
        self._watch(question, surface)
        with self._talk:
            ui.run_javascript(_TO_THE_END)

    def _watch(self, question: Question, surface: PageSurface) -> None:
        """Show a question with its answer as it comes, without waiting for it."""
        with self._talk:
            self._question(question.text)
            view = AnswerView(self._console, self._visitor, self._act)
        self._asked = question
        self._show_under_way(True)
        self._watching = asyncio.create_task(surface.watch(view))
        self._watching.add_done_callback(self._on_end)

    def _on_end(self, watching: asyncio.Task[None]) -> None:
        self._asked = self._watching = None
        self._show_under_way(False)

    def _show_under_way(self, under_way: bool) -> None:
        if not self._send.is_deleted:
            self._send.set_visibility(not under_way)
            self._stop.set_visibility(under_way)


def past_ending(past: record.PastTurn, language: Language) -> Ending:
    """How the answer of a turn in the record ended."""
    turn = past.turn
    if journal.is_cut_off(turn):
        return Ending("cut off", turn.answer, OUT_OF_TIME.say(language), turn.id, past.adapter)
    if turn.state == "answered":
        notice = "" if turn.answer else EMPTY_ANSWER.say(language)
        return Ending("answered", turn.answer, notice, turn.id, past.adapter, past.sources)
    if turn.state == "cancelled":
        return Ending("stopped", turn.answer, STOPPED.say(language))
    return Ending("failed", turn.answer, texts.NO_ANSWER.say(language), turn.id)
