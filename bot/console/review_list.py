"""The list of turns to review: searched, filtered, many decided at once; and answers nobody asked for."""

from __future__ import annotations

from functools import partial

from nicegui import ui
from nicegui.events import GenericEventArguments

from bot.commands import review_list
from bot.commands.review_list import BulkDecision, Filter, Listed, ListPage
from bot.console import texts
from bot.console.context import Console
from bot.console.layout import (
    UNDO_EVENT,
    action,
    chip,
    empty_state,
    enable,
    frame,
    heading,
    showing_errors,
    tell,
    tell_undoable,
)
from bot.console.visitor import Visitor
from bot.texts import ANSWER, APPROVE, QUESTION, REJECT, UNDO
from feedback.review import QueuePosition
from feedback.words import Language, ReviewState, TurnId

STATES: tuple[ReviewState, ...] = ("waiting", "approved", "edited", "rejected")


async def review_list_page(console: Console, visitor: Visitor) -> None:
    """Build the page for one visitor."""
    with frame(visitor, "/review", texts.REVIEW_LIST_TITLE):
        with ui.element("div").classes("tl-head"):
            heading(visitor.say(texts.REVIEW_LIST_TITLE), 1)
            ui.link(visitor.say(texts.ONE_BY_ONE), "/review").classes("tl-link-button tl-push")
        _AddAnswer(console, visitor)
        await _List(console, visitor).show()


class _List:
    """One moderator's open list."""

    def __init__(self, console: Console, visitor: Visitor) -> None:
        self._console = console
        self._database = console.core.database
        self._actor = visitor.actor
        self._say = say = visitor.say
        self._boxes: dict[TurnId, ui.checkbox] = {}
        self._decided: list[list[TurnId]] = []
        show = showing_errors(self.show)
        with ui.element("div").classes("tl-labels"):
            self._search = ui.input(say(texts.SEARCH_TURNS)).classes("tl-text tl-kind")
            self._search.props("outlined dense type=search").on("keydown.enter", show)
            states: dict[str, str] = {state: say(texts.REVIEW_STATES[state]) for state in STATES}
            self._state = self._choice(states, say(texts.STATE))
            filters = {name: say(text) for name, text in texts.REVIEW_FILTERS.items()}
            self._only = self._choice(filters, say(texts.FILTER))
            action(say(texts.SEARCH), "o_search", show)
        for field in (self._state, self._only):
            field.on_value_change(show)
        self._place = ui.element("div")
        ui.on(UNDO_EVENT, showing_errors(self._take_back))

    async def show(self, after: QueuePosition | None = None) -> None:
        """Read a page and show it in place of the one before."""
        state: ReviewState = self._state.value
        only: Filter = self._only.value
        found = await review_list.listed(
            self._database, self._actor, state=state, search=self._search.value or "", only=only, after=after
        )
        self._boxes = {}
        self._place.clear()
        with self._place:
            self._make(found, state)

    def _make(self, found: ListPage, state: ReviewState) -> None:
        say = self._say
        if not found.turns:
            empty_state("o_filter_list_off", say(texts.NO_TURNS), say(texts.NO_TURNS_MORE))
            return
        with ui.element("div").classes("tl-actions"):
            all_of_them = ui.checkbox(say(texts.CHOOSE_ALL))
            all_of_them.on_value_change(lambda event: self._choose_all(bool(event.value)))
            self._buttons = (
                [self._bulk("approve", "o_check"), self._bulk("reject", "o_block")]
                if state == "waiting"
                else [self._bulk("undo", "o_undo")]
            )
        with ui.element("div").classes("tl-documents"):
            for turn in found.turns:
                self._row(turn)
        if found.behind is not None:
            with ui.element("div").classes("tl-actions"):
                action(say(texts.MORE), "o_expand_more", showing_errors(partial(self.show, found.behind)))
        self._show_chosen()

    def _row(self, turn: Listed) -> None:
        with ui.element("article").classes("tl-card tl-listed"):
            box = ui.checkbox(on_change=self._show_chosen).props(
                f'aria-label="{self._say(texts.CHOOSE_TURN, turn=turn.turn_id)}"'
            )
            self._boxes[turn.turn_id] = box
            with ui.element("div"):
                with ui.element("div").classes("tl-meta"):
                    ui.label(f"#{turn.turn_id}").classes("tl-muted")
                    chip(self._say(texts.REVIEW_STATES[turn.state]), turn.state)
                    chip(self._say(texts.LANGUAGES[turn.language]))
                ui.label(turn.question).classes("tl-strong")
                ui.label(turn.answer).classes("tl-clamp")

    def _bulk(self, decision: BulkDecision, icon: str) -> ui.button:
        label = {"approve": APPROVE, "reject": REJECT, "undo": UNDO}[decision]
        return action(self._say(label), icon, showing_errors(partial(self._decide, decision)))

    def _choose_all(self, chosen: bool) -> None:
        for box in self._boxes.values():
            box.set_value(chosen)

    def _chosen(self) -> list[TurnId]:
        return [turn for turn, box in self._boxes.items() if box.value]

    def _show_chosen(self) -> None:
        for button in self._buttons:
            enable(button, bool(self._chosen()), self._say(texts.CHOOSE_FIRST))

    async def _decide(self, decision: BulkDecision) -> None:
        chosen = self._chosen()
        burst = self._console.retraining.settings.held_burst
        done = await review_list.decide_many(self._database, self._actor, decision, chosen, held_burst=burst)
        said = self._say(texts.DECIDED_MANY[decision], count=len(done), of=len(chosen))
        if decision == "undo" or not done:
            tell(said)
        else:
            self._decided.append(done)
            tell_undoable(said, self._say(UNDO), len(self._decided) - 1)
        await self.show()

    async def _take_back(self, event: GenericEventArguments) -> None:
        """The button of a note: take back what that very note told of, as far as it stands."""
        turns, self._decided[event.args] = self._decided[event.args], []
        done = await review_list.decide_many(self._database, self._actor, "undo", turns)
        tell(self._say(texts.DECIDED_MANY["undo"], count=len(done), of=len(turns)))
        await self.show()

    def _choice(self, options: dict[str, str], label: str) -> ui.select:
        made = ui.select(options, value=next(iter(options)), label=label)
        return made.classes("tl-text tl-choice tl-kind").props("outlined dense popup-content-class=tl-popup")


class _AddAnswer:
    """A form, folded away, that writes down a question with its right answer."""

    def __init__(self, console: Console, visitor: Visitor) -> None:
        self._console = console
        self._visitor = visitor
        say = visitor.say
        with ui.element("details").classes("tl-source tl-add"):
            with ui.element("summary"):
                ui.label(say(texts.ADD_ANSWER)).classes("tl-strong")
            with ui.element("div").classes("tl-passage tl-settings"):
                ui.label(say(texts.ADD_ANSWER_MORE)).classes("tl-muted")
                self._question = ui.textarea(say(QUESTION)).classes("tl-text")
                self._answer = ui.textarea(say(ANSWER)).classes("tl-text")
                for field in (self._question, self._answer):
                    field.props("outlined autogrow")
                languages = {code: say(name) for code, name in texts.LANGUAGES.items()}
                self._language = ui.select(languages, value=visitor.language, label=say(texts.LANGUAGE))
                self._language.classes("tl-text tl-choice tl-kind")
                self._language.props("outlined dense popup-content-class=tl-popup")
                with ui.element("div").classes("tl-actions"):
                    action(say(texts.ADD_AND_APPROVE), "o_check", showing_errors(self._add), kind="primary")

    async def _add(self) -> None:
        question, language = self._question.value or "", self._language.value
        spoken: Language = "pl" if language == "pl" else "en"
        await review_list.add_answer(
            self._console.core.database,
            self._visitor.actor,
            self._console.home_of(self._visitor),
            question,
            self._answer.value or "",
            spoken,
        )
        self._question.set_value("")
        self._answer.set_value("")
        tell(self._visitor.say(texts.ANSWER_ADDED, question=question.strip()[:60]))
