"""The review page: the next answer that waits, and what to do with it, by mouse or by key.

A turn on the page is claimed, so that two moderators, or two browsers of one, never decide on the same one.
Undo goes back through what was decided since the page was opened; the note that tells of a decision carries
its own. What stands round the answer (`review_surroundings`) comes a moment after it, so that nobody waits.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Final, cast

from nicegui import ui
from nicegui.events import GenericEventArguments, KeyEventArguments

from bot.chat import review
from bot.chat.button_codes import Action
from bot.commands.review import (
    PEOPLE,
    Evidence,
    QueueEntry,
    claim_next,
    label_language,
    label_task_type,
    look_on,
)
from bot.commands.surroundings import decide_alike
from bot.console import difference, record, texts
from bot.console.context import Console
from bot.console.layout import (
    UNDO_EVENT,
    action,
    as_count,
    chip,
    close_undoable,
    empty_state,
    enable,
    frame,
    heading,
    prose,
    sentence_of,
    showing_errors,
    tell,
    tell_undoable,
)
from bot.console.markdown import as_html
from bot.console.review_surroundings import ReviewSurroundings
from bot.console.visitor import Visitor
from bot.texts import (
    ALSO_ASKED_AS,
    ANSWER,
    APPROVE,
    CANCEL,
    DECIDED,
    EDIT,
    EMPTY_ANSWER,
    FROM_TALK,
    GAP,
    HELPFUL,
    NOT_HELPFUL,
    NOTHING_WAITS,
    OTHER_ANSWERS,
    QUESTION,
    REASONS,
    REJECT,
    SKIP,
    UNDO,
    VOTES,
    WHY_PROPOSED,
    Text,
    describe_error,
)
from feedback.errors import AlreadyDecided, Conflict, ThumbloopError
from feedback.words import Language, TaskType, TurnId
from training.adapters.registry import BASE

BY_RULES: Final = ""
"""The choice that says no kind of answer: the rules recognise it."""

MOST_NAMED: Final = 60
"""Characters of a question by which a note names it."""

# the editor's own keys: Ctrl+Enter (Cmd+Enter on a Mac) saves what it holds, Escape leaves it as it was
_SAVE_KEY: Final = """(event) => {
  if (!event.ctrlKey && !event.metaKey) return;
  event.preventDefault();
  emit(event.target.value);
}"""


async def review_page(console: Console, visitor: Visitor) -> None:
    """Build the page for one visitor."""
    with frame(visitor, "/review", texts.REVIEW):
        await _Review(console, visitor).show_next()


class _Review:
    """One moderator's open review page."""

    def __init__(self, console: Console, visitor: Visitor) -> None:
        self._console = console
        self._visitor = visitor
        self._database = console.core.database
        self._actor = visitor.actor
        self._say = visitor.say
        self._entry: QueueEntry | None = None
        self._editor: ui.textarea | None = None
        self._kind: ui.select | None = None
        self._answers: list[tuple[ui.element, str]] = []
        self._chosen = 0
        self._is_drafting = False
        self._language: ui.select | None = None
        self._reasons: ui.element | None = None
        self._decided: list[tuple[TurnId, ...]] = []
        self._looked_at: list[TurnId] = []
        self._seen_as_repeats: set[TurnId] = set()
        self._around: ReviewSurroundings | None = None
        self._busy = False
        with ui.element("div").classes("tl-head"):
            heading(self._say(texts.REVIEW), 1)
            self._count = chip("").props("role=status")
            ui.link(self._say(texts.REVIEW_LIST), "/review/list").classes("tl-link-button tl-push")
            self._undo = action(self._say(UNDO), "o_undo", self._on_undo, hint="U")
            action(self._say(texts.KEYS), "o_keyboard", self._on_help, hint="?")
        self._card = ui.element("div").classes("tl-review")
        self._help = self._make_help()
        ui.on(UNDO_EVENT, self._on_undo_one)
        # a held key must not run through the queue
        ui.keyboard(self._on_key, repeating=False, ignore=["input", "select", "textarea"])

    async def show_next(self) -> None:
        """Show what waits next."""
        await self._show(
            await claim_next(
                self._database,
                self._actor,
                claim_for=self._console.core.claim_for,
                window=self._visitor.window,
            )
        )

    async def _show(self, entry: QueueEntry | None) -> None:
        """Show that turn, or why there is none to decide on."""
        async with self._database.session(read_only=True) as session:
            waiting = await record.waiting(session, self._actor.community_id)
        self._entry = entry
        self._count.set_text(self._say(texts.WAITING_COUNT, count=as_count(waiting)))
        enable(self._undo, bool(self._decided), self._say(texts.NOTHING_TO_UNDO))
        self._editor = self._kind = self._language = self._reasons = self._around = None
        self._answers, self._chosen, self._is_drafting = [], 0, False
        self._card.clear()
        with self._card:
            if entry is not None:
                self._make_card(entry)
                self._around = ReviewSurroundings(self._console, self._visitor, entry, self._edit)
            elif waiting:
                empty_state("o_redo", self._say(texts.ONLY_SKIPPED), self._say(texts.ONLY_SKIPPED_MORE))
            else:
                empty_state("o_done_all", self._say(NOTHING_WAITS), self._say(texts.NOTHING_WAITS_MORE))

    def _make_card(self, entry: QueueEntry) -> None:
        """Make the question, its answer, what members said of it, and the buttons that decide."""
        say = self._say
        with ui.element("article").classes("tl-card"):
            with ui.element("div").classes("tl-meta"):
                ui.label(f"#{entry.turn_id} · {entry.community}").classes("tl-muted")
                if entry.evidence is not None:
                    chip(say(FROM_TALK))
                elif entry.answer_kind == "gap":
                    chip(say(GAP))
                else:
                    told = {BASE: texts.BASE_MODEL, PEOPLE: texts.WRITTEN_BY_PEOPLE}.get(entry.adapter)
                    chip(say(told) if told else entry.adapter)
                chip(say(texts.LANGUAGES[entry.language]))
                if entry.language_unsure:
                    chip(say(texts.LANGUAGE_UNSURE), "warn")
                chip(say(texts.TASK_TYPES[cast(TaskType, entry.task_type)]))
                if entry.mode != "default":
                    chip(entry.mode)
            self._overline(QUESTION)
            ui.label("\n\n".join(filter(None, (entry.question, entry.input)))).classes("tl-asked")
            self._overline(ANSWER)
            self._answer = ui.element("div").classes("tl-answer-box")
            self._answers.append((self._answer, entry.answer))
            with self._answer:
                if entry.answer.strip():
                    prose(entry.answer)
                else:
                    ui.label(say(EMPTY_ANSWER)).classes("tl-muted")
            if entry.evidence is not None:
                self._make_evidence(entry, entry.evidence)
            else:
                self._make_votes(entry)
            for suggested in entry.suggested_answers:
                self._overline(texts.SUGGESTED_ANSWER)
                self._make_suggestion(suggested)
            self._drafts = ui.element("div").classes("tl-drafts")
        self._buttons = ui.element("div").classes("tl-actions tl-decide")
        with self._buttons:
            action(say(APPROVE), "o_check", self._on_approve, kind="primary", hint="A")
            action(say(EDIT), "o_edit", self._on_edit, hint="E")
            action(say(REJECT), "o_block", self._on_reject, kind="danger", hint="R")
            action(say(SKIP), "o_skip_next", self._on_skip, hint="S")
            action(say(texts.DRAFT), "o_auto_awesome", self._on_draft, hint="D")

    def _make_suggestion(self, answer: str) -> None:
        """Make an answer that may be taken instead, by its button or by its number."""
        with ui.element("div").classes("tl-suggested") as place:
            prose(answer)
            self._offer(place, answer)

    def _offer(self, place: ui.element, answer: str) -> None:
        number = len(self._answers)
        self._answers.append((place, answer))
        action(self._say(texts.USE_SUGGESTION), "o_edit_note", partial(self._edit, answer), hint=f"{number}")

    async def _on_draft(self) -> None:
        """Let the model write another answer below the others, one at a time."""
        if self._entry is None or self._is_drafting:
            return
        self._is_drafting = True
        with self._drafts:
            self._overline(texts.DRAFT)
            place = ui.element("div").classes("tl-suggested").props("aria-busy=true aria-live=polite")
        with place:
            thinking = ui.label(self._say(texts.THINKING)).classes("tl-thinking")
            written = prose("")
        ui.run_javascript(f"getHtmlElement({place.id}).scrollIntoView({{block: 'nearest'}})")
        draft = self._console.assistant.draft(self._entry.turn_id)
        said = ""
        try:
            async with aclosing(draft):
                async for said in draft:
                    if place.is_deleted:  # decided meanwhile, or the page has gone
                        return
                    written.set_content(as_html(said))
                    thinking.set_visibility(not said)
        except ThumbloopError as error:
            tell(sentence_of(error, self._visitor), kind="negative")
        if place.is_deleted:
            return
        self._is_drafting = False
        thinking.set_visibility(False)
        place.props("aria-busy=false")
        with place:
            if said:
                self._offer(place, said)
            else:
                ui.label(self._say(EMPTY_ANSWER)).classes("tl-muted")

    def _make_help(self) -> ui.dialog:
        """Make the list of keys, closed."""
        with ui.dialog() as dialog, ui.element("div").classes("tl-card tl-dialog"):
            heading(self._say(texts.KEYS), 2)
            with ui.element("table").classes("tl-keys"), ui.element("tbody"):
                for keys, meaning in texts.REVIEW_KEYS:
                    with ui.element("tr"):
                        with ui.element("th").props("scope=row"):
                            ui.html(keys, sanitize=False, tag="kbd")
                        with ui.element("td"):
                            ui.label(self._say(meaning))
            with ui.element("div").classes("tl-actions"):
                action(self._say(texts.CLOSE), "o_close", dialog.close)
        return dialog

    def _make_evidence(self, entry: QueueEntry, evidence: Evidence) -> None:
        """Make why a candidate from talk is proposed, how else it was asked, and what else was answered."""
        self._overline(WHY_PROPOSED)
        with ui.element("div").classes("tl-votes"):
            for reason in review.reasons_of(entry, self._visitor.language):
                chip(reason)
        if evidence.phrasings:
            self._overline(ALSO_ASKED_AS)
            for phrasing in evidence.phrasings:
                ui.label(phrasing).classes("tl-muted")
        for answer in evidence.answers:
            self._overline(OTHER_ANSWERS)
            self._make_suggestion(answer)

    def _make_votes(self, entry: QueueEntry) -> None:
        """Make the tally of the thumbs, and the reasons that were given."""
        self._overline(VOTES)
        with ui.element("div").classes("tl-votes"):
            if not entry.votes_up and not entry.votes_down:
                ui.label(self._say(texts.NO_VOTES)).classes("tl-muted")
                return
            for count, icon, name in (
                (entry.votes_up, "o_thumb_up", HELPFUL),
                (entry.votes_down, "o_thumb_down", NOT_HELPFUL),
            ):
                with (
                    ui.element("span")
                    .classes("tl-tally")
                    .props(f'role=img aria-label="{self._say(name)}: {count}"')
                ):
                    ui.icon(icon)
                    ui.label(str(count))
            for reason in entry.reasons:
                known = REASONS.get(reason)  # type: ignore[call-overload]
                chip(self._say(known) if known else reason, "warn")

    def _overline(self, name: Text) -> None:
        heading(self._say(name), 2).classes(replace="tl-overline")

    def _edit(self, answer: str) -> None:
        """Open the editor on that answer, in the place of the one shown."""
        say, entry = self._say, self._entry
        if entry is None:
            return
        self._answer.clear()
        self._buttons.set_visibility(False)
        with self._answer:
            self._editor = ui.textarea(say(texts.EDITED_ANSWER), value=answer).classes("tl-text")
            self._editor.props("outlined autogrow autofocus debounce=200")
            self._editor.on("keydown.enter", self._on_save_key, js_handler=_SAVE_KEY)
            self._editor.on("keydown.esc", self._on_leave_editor)
            with ui.element("div").classes("tl-labels"):
                self._kind = self._make_kinds(entry)
                languages = {code: say(name) for code, name in texts.LANGUAGES.items()}
                self._language = ui.select(languages, value=entry.language, label=say(texts.LANGUAGE))
                self._language.classes("tl-text tl-choice tl-kind")
                self._language.props("outlined dense popup-content-class=tl-popup")
            with ui.element("div").classes("tl-actions"):
                action(say(texts.SAVE_EDIT), "o_check", self._on_save, kind="primary", hint="Ctrl+Enter")
                action(say(CANCEL), "o_close", self._on_leave_editor, hint="Esc")
            # below the buttons: it grows when the editor is left, which is when a button is being pressed
            self._overline(texts.DIFFERENCE)
            changed = ui.html(difference.as_html(entry.answer, answer), sanitize=False).classes("tl-diff")
            self._editor.on_value_change(
                lambda event: changed.set_content(difference.as_html(entry.answer, event.value or ""))
            )

    def _make_kinds(self, entry: QueueEntry) -> ui.select:
        """What kind of answer it is; the first choice leaves that to the rules, which see the edit."""
        say = self._say
        kinds: dict[str, str] = {kind: say(name) for kind, name in texts.TASK_TYPES.items()}
        chosen = entry.task_type
        if not entry.task_type_is_said:
            chosen, kinds = BY_RULES, {BY_RULES: say(texts.BY_RULES, kind=kinds[chosen]), **kinds}
        select = ui.select(kinds, value=chosen, label=say(texts.TASK_TYPE)).classes(
            "tl-text tl-choice tl-kind"
        )
        return select.props("outlined dense popup-content-class=tl-popup")

    async def _on_key(self, event: KeyEventArguments) -> None:
        """Decide by a key; while the editor is open, only Escape means something."""
        held = event.modifiers
        if not event.action.keydown or held.ctrl or held.meta or held.alt:
            return
        if self._editor is not None:
            if event.key.escape:
                await self._on_leave_editor()
            return
        key = event.key.name.lower()
        if self._reasons is not None and await self._took_reason(key):
            return
        deciding: dict[str, Callable[[], Awaitable[None]]] = {
            "a": self._on_approve,
            "e": self._on_edit,
            "r": self._on_reject,
            "s": self._on_skip,
            "d": self._on_draft,
            "arrowright": self._on_look_on,
            "arrowleft": self._on_look_back,
            "arrowdown": self._on_next_answer,
            "arrowup": self._on_answer_before,
        }
        if key == "u":
            await self._on_undo()
        elif key == "?":
            self._on_help()
        elif key.isdecimal() and self._entry is not None:
            if 0 < int(key) < len(self._answers):
                self._edit(self._answers[int(key)][1])
        elif key in deciding and self._entry is not None:
            await deciding[key]()

    def _choose(self, step: int) -> None:
        """Go on to the next answer of several, or back: it is what is approved, or edited."""
        if len(self._answers) < 2:
            return
        before, _ = self._answers[self._chosen]
        self._chosen = (self._chosen + step) % len(self._answers)
        now, _ = self._answers[self._chosen]
        before.classes(remove="tl-chosen").props(remove="aria-current")
        now.classes("tl-chosen").props("aria-current=true")
        ui.run_javascript(f"getHtmlElement({now.id}).scrollIntoView({{block: 'nearest'}})")

    async def _on_next_answer(self) -> None:
        self._choose(1)

    async def _on_answer_before(self) -> None:
        self._choose(-1)

    async def _on_approve(self) -> None:
        if self._chosen:
            await self._decide("edit", answer=self._answers[self._chosen][1])
        else:
            await self._decide("approve")

    async def _on_edit(self) -> None:
        if self._answers:
            self._edit(self._answers[self._chosen][1])

    async def _on_reject(self) -> None:
        """Ask why, unless that is asked already: then it is for no reason that is said."""
        if self._reasons is not None:
            await self._decide("reject")
            return
        self._buttons.set_visibility(False)
        with self._card, ui.element("div").classes("tl-actions tl-decide") as self._reasons:
            self._reasons.props(f'role=group aria-label="{self._say(texts.WHY_REJECT)}"')
            ui.label(self._say(texts.WHY_REJECT)).classes("tl-strong")
            for number, reason in enumerate(texts.REJECT_REASONS, start=1):
                action(self._say(reason), "o_block", partial(self._reject_for, reason.en), hint=str(number))
            action(self._say(texts.NO_REASON), "o_block", self._on_reject, kind="danger", hint="R")
            action(self._say(CANCEL), "o_close", self._on_keep, hint="Esc")

    async def _took_reason(self, key: str) -> bool:
        """Whether the key answered why it is rejected."""
        if key.isdecimal() and 0 < int(key) <= len(texts.REJECT_REASONS):
            await self._reject_for(texts.REJECT_REASONS[int(key) - 1].en)
        elif key in ("r", "enter"):
            await self._on_reject()
        elif key == "escape":
            self._on_keep()
        return key not in ("u", "?")

    async def _reject_for(self, reason: str) -> None:
        await self._decide("reject", note=reason)

    def _on_keep(self) -> None:
        """Reject nothing after all."""
        if self._reasons is not None:
            self._reasons.delete()
            self._reasons = None
        self._buttons.set_visibility(True)

    def _on_help(self) -> None:
        self._help.open()

    async def _on_look_on(self) -> None:
        """Look at what stands behind this one, and decide nothing."""
        entry = self._entry
        if entry is None:
            return

        if self._around is not None:
            self._seen_as_repeats.update(self._around.chosen)

        async def look() -> None:
            found = await look_on(
                self._database,
                entry.turn_id,
                self._actor,
                leaving_out=self._seen_as_repeats,
                claim_for=self._console.core.claim_for,
                window=self._visitor.window,
            )
            if found is None:
                tell(self._say(texts.LAST_ONE))
                return
            self._looked_at.append(entry.turn_id)
            await self._show(found)

        await self._alone(look)

    async def _on_look_back(self) -> None:
        """Look again at the one before, if it still waits."""
        if self._looked_at:
            await self._alone(partial(self._show_again, self._looked_at.pop()))

    async def _show_again(self, turn: TurnId) -> None:
        card = await review.card_of(self._console, self._actor, turn, window=self._visitor.window)
        await self._show(card.entry)

    async def _on_skip(self) -> None:
        await self._decide("skip")

    async def _on_save_key(self, event: GenericEventArguments) -> None:
        await self._save(str(event.args))

    async def _on_save(self) -> None:
        await self._save((self._editor.value or "") if self._editor else "")

    async def _save(self, answer: str) -> None:
        await self._decide("edit", answer=answer, kind=self._said_kind())

    def _said_kind(self) -> TaskType | None:
        """The kind of answer that the moderator chose; None leaves it to the rules, or as it is."""
        chosen: TaskType | None = self._kind.value or None if self._kind is not None else None
        entry = self._entry
        as_before = entry is not None and entry.task_type_is_said and entry.task_type == chosen
        return None if as_before else chosen

    async def _on_leave_editor(self) -> None:
        await self._show(self._entry)

    async def _on_undo(self) -> None:
        if self._decided:
            await self._alone(partial(self._take_back, self._decided[-1]))

    async def _on_undo_one(self, event: GenericEventArguments) -> None:
        """The button of a note: take back what that very note told of, if it stands."""
        of_it = [turns for turns in self._decided if event.args in turns]
        if of_it:
            await self._alone(partial(self._take_back, of_it[0]))

    async def _take_back(self, turns: tuple[TurnId, ...]) -> None:
        """Undo a decision, on all the turns on which it was made, and show the first of them again."""
        self._decided.remove(turns)
        for turn in turns:
            await review.decide(self._console, self._actor, "undo", turn)
        close_undoable(turns[0])
        await self._show_again(turns[0])
        if self._entry is not None:
            tell(f"{self._say(DECIDED['undo'])} {_named(self._entry.question)}")

    async def _decide(
        self, decision: Action, *, answer: str = "", kind: TaskType | None = None, note: str = ""
    ) -> None:
        """Decide on the turn shown, and show the next; an edit may say what `kind` of answer it is."""
        alike = self._around.chosen if self._around is not None else ()
        language = self._said_language()

        async def once() -> None:
            entry = self._entry
            if entry is None:
                return
            turn = entry.turn_id
            try:
                decided = await review.decide(
                    self._console, self._actor, decision, turn, answer=answer, note=note
                )
                if kind is not None:
                    await label_task_type(self._database, turn, kind, self._actor)
                if language is not None:
                    await label_language(self._database, turn, language, self._actor)
            except AlreadyDecided as error:  # in another window, or by somebody else
                await self.show_next()
                tell(describe_error(error, self._visitor.language), kind="negative")
                return
            except Conflict:
                await self.show_next()  # there is nothing to approve
                raise
            also: list[TurnId] = []
            if decided is not None and alike:
                also = await decide_alike(
                    self._database,
                    alike,
                    self._actor,
                    "reject" if decision == "reject" else "edit",
                    answer=decided.approved_answer,
                )
            self._decided.append((turn, *also))
            await self.show_next()
            self._tell(decision, entry.question, turn, len(also))
            if decided is not None and (caveat := decided.caveat(self._visitor.language)):
                tell(caveat)

        await self._alone(once)

    def _tell(self, decision: Action, question: str, turn: TurnId, also: int) -> None:
        """Say what was decided on which question, with the way back."""
        said = f"{self._say(DECIDED[decision])} {_named(question)}"
        if also:
            said += f" {self._say(texts.AND_ALIKE, count=also)}"
        tell_undoable(said, self._say(UNDO), turn)

    def _said_language(self) -> Language | None:
        """The language that the moderator corrected; None where it stays."""
        chosen: Language | None = self._language.value if self._language is not None else None
        return None if self._entry is None or chosen == self._entry.language else chosen

    async def _alone(self, change: Callable[[], Awaitable[None]]) -> None:
        """Do one thing at a time: a key pressed twice in a hurry decides once."""
        if self._busy:
            return
        self._busy = True
        try:
            with self._card:  # the pressed button itself may be gone by the time there is something to tell
                await showing_errors(change)()
        finally:
            self._busy = False


def _named(question: str) -> str:
    return f"“{question if len(question) <= MOST_NAMED else f'{question[:MOST_NAMED]}…'}”"
