"""Answers under way: updated while they grow, finalised once, and stopped or restarted at any time between.

Blind to platforms, which bring a `Surface`. Updates may lag behind and may fail; the final text is shown
whole or tried again. Whatever happens, the member is told, and no turn is lost: a question that the end of
the service interrupts is open again in the record, for the next start to answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Final, Literal

import structlog

from bot.assistant import Assistant
from bot.chat.record_waits import RecordWaits
from bot.chat.sources import with_links
from bot.chat.surface import Ending, MayNotWrite, MessageGone, Surface
from bot.chat.updater import Updater
from bot.commands import privacy
from bot.commands.review import PEOPLE
from bot.core import Core
from bot.disclosure import sentence_for_member
from bot.errors import AnsweringFailed, TookTooLong
from bot.knowledge.knowledge import Source
from bot.questions import Finished, Place, Question, TextPiece
from bot.record_away import until_done
from bot.texts import EMPTY_ANSWER, OUT_OF_TIME, RECORD_AWAY, STOPPED, describe_error
from feedback import incoming, journal, open_questions
from feedback.errors import DatabaseError, ThumbloopError
from feedback.words import Language

RETRY_AFTER_S: Final = (1.0, 5.0, 20.0)
"""Pauses before a final text that the platform did not take is sent again."""

DELIVERY_S: Final = 10.0
"""How long the end of the service waits for a final text that is being shown and noted."""

Interruption = Literal["stopped", "edited", "withdrawn", "overdue"]

log = structlog.get_logger(__name__)


class LiveAnswers:
    """The answers under way on one platform, by community and the question's platform id."""

    def __init__(self, core: Core, assistant: Assistant, record_waits: RecordWaits) -> None:
        self._core = core
        self._assistant = assistant
        self._record_waits = record_waits
        self._under_way: dict[tuple[str, str], LiveAnswer] = {}
        self._expected: dict[tuple[str, str], str | None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._started: set[asyncio.Task[bool]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._under_way)

    def all(self) -> list[LiveAnswer]:
        """Every answer under way."""
        return list(self._under_way.values())

    def find(self, community: str, external_id: str) -> LiveAnswer | None:
        """The answer to that question, while it is under way."""
        return self._under_way.get((community, external_id))

    def in_conversation(self, place: Place) -> LiveAnswer | None:
        """The newest answer under way in the conversation at `place`."""
        here = (place.community, place.conversation)
        newest_first = reversed(self._under_way.values())
        asked = ((live, live.question.place) for live in newest_first)
        return next((live for live, at in asked if (at.community, at.conversation) == here), None)

    @contextlib.contextmanager
    def expecting(self, community: str, external_id: str) -> Iterator[None]:
        """Within the block, an edit or deletion of that message counts, though no answer has begun."""
        self._expected[community, external_id] = ""
        try:
            yield
        finally:
            self._expected.pop((community, external_id), None)

    def rewrite(self, community: str, external_id: str, text: str) -> bool:
        """Let the answer follow its question, which was edited; False when no answer is under way."""
        live = self.find(community, external_id)
        if live is not None:
            return live.follow(text)
        if (community, external_id) not in self._expected:
            return False
        self._expected[community, external_id] = text
        return True

    def withdraw(self, community: str, external_id: str) -> bool:
        """Leave nothing of a question that was deleted; False when no answer is under way."""
        live = self.find(community, external_id)
        if live is not None:
            live.interrupt("withdrawn")
        elif (community, external_id) in self._expected:
            self._expected[community, external_id] = None
        else:
            return False
        return True

    async def answer(self, question: Question, surface: Surface, language: Language) -> bool:
        """Answer on that surface, notices in that language.

        False when the question stays open: it is being answered already, the service stops, or the whole
        answer could not be shown.
        """
        key = (question.place.community, question.external_id)
        if key in self._under_way or self._closed:
            surface.close()
            return False
        text = self._expected.pop(key, "")
        if text is None:
            surface.close()
            return True
        if text:
            question = replace(question, text=text)
        live = LiveAnswer(self._core, self._assistant, self._record_waits, question, surface, language)
        self._under_way[key] = live
        task = asyncio.create_task(live.run())
        self._tasks.add(task)
        try:
            await task
        finally:
            surface.close()
            self._tasks.discard(task)
            del self._under_way[key]
        return not live.undelivered

    def start(self, question: Question, surface: Surface, language: Language) -> None:
        """Answer as `answer` does, whether or not somebody waits for it."""
        task = asyncio.create_task(self.answer(question, surface, language))
        self._started.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[bool]) -> None:
        self._started.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("an answer broke off", exc_info=error)

    async def leave(self, seconds: float = 0.0) -> None:
        """Take no more questions, let answers end within `seconds`, reopen the rest for the next start."""
        self._closed = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def overdue(self, seconds: float) -> list[Question]:
        """Stop the answers that have taken longer than that and tell their members; their questions."""
        now = asyncio.get_running_loop().time()
        late = [live for live in self._under_way.values() if not live.complete and now - live.began > seconds]
        for live in late:
            live.interrupt("overdue")
        return [live.question for live in late]


class LiveAnswer:
    """One answer under way."""

    def __init__(
        self,
        core: Core,
        assistant: Assistant,
        record_waits: RecordWaits,
        question: Question,
        surface: Surface,
        language: Language,
    ) -> None:
        self.question = question
        self.surface = surface
        self.began = asyncio.get_running_loop().time()
        """When the assistant was last asked: what waits for the record is not overdue."""
        self.undelivered = False
        """Whether the question stays open: however often it was tried, the platform did not take the final
        text."""
        self._core = core
        self._assistant = assistant
        self._record_waits = record_waits
        self._language = language
        self._said = ""
        self._streaming: asyncio.Task[Finished] | None = None
        self._interruption: Interruption | None = None
        self.complete = False
        """Whether nothing more is said, and it is only to be shown and noted."""
        self._delivered = False
        self._updater = Updater(surface, on_gone=lambda: self.interrupt("stopped"))

    def interrupt(self, why: Interruption, text: str = "") -> None:
        """Stop: for good, to answer the question in its new `text`, or because it was withdrawn."""
        if self._interruption == "withdrawn":
            return
        if why == "edited":
            self.question = replace(self.question, text=text)
        self._interruption = why
        # a second cancellation would break off what the first one is still cleaning up
        if self._streaming is not None and (why == "overdue" or not self._streaming.cancelling()):
            self._streaming.cancel()

    def follow(self, text: str) -> bool:
        """Answer the question in its new words; False when its answer is complete already."""
        if self.complete or (self._streaming is not None and self._streaming.done()):
            return False
        if text != self.question.text:  # platforms also "edit" to add link previews
            self.interrupt("edited", text)
        return True

    async def run(self) -> None:
        """Answer until there is nothing left to do. Raises CancelledError only when the service stops."""
        try:
            while True:
                self._interruption, self._said = None, ""
                ending = await self._attempt()
                if self._interruption != "edited":
                    break
            self.complete = True
            await self._updater.finish()
            await self._deliver_to_its_end(ending)
        except asyncio.CancelledError:
            if not self._delivered:
                with contextlib.suppress(
                    DatabaseError
                ):  # it is open already, and nobody is to hear that it failed
                    await asyncio.shield(self._reopen())
            raise

    async def _attempt(self) -> Ending:
        """Answer the question as it is worded now; an interruption by its edit ends an attempt as well."""
        self._streaming = asyncio.create_task(self._stream())
        try:
            finished = await self._streaming
        except asyncio.CancelledError:
            # the service ends, and not (or not only) this answer was interrupted
            if self._interruption is None or _is_cancelled():
                raise
            notice = STOPPED.say(self._language)
            if self._interruption == "overdue":
                notice = self._unexpected("an answer did not end")
            return Ending("stopped", self._said, notice)
        except TookTooLong as error:
            if error.kept:
                notice = OUT_OF_TIME.say(self._language)
                return Ending("cut off", self._said, notice, error.turn_id, error.adapter)
            return Ending("failed", "", sentence_for_member(error, self._language), error.turn_id)
        except ThumbloopError as error:
            return Ending("failed", self._said, sentence_for_member(error, self._language))
        except Exception as error:  # the outermost edge of an answer: the member must hear of it
            return Ending("failed", self._said, self._unexpected("an answer broke", error))
        finally:
            self._streaming = None
        notice = "" if finished.answer else EMPTY_ANSWER.say(self._language)
        sources = await self._linked(finished.sources)
        author = PEOPLE if finished.kind == "approved" else finished.adapter
        return Ending("answered", finished.shown, notice, finished.turn_id, author, sources)

    async def _linked(self, sources: tuple[Source, ...]) -> tuple[Source, ...]:
        """The sources with the addresses that the record knows; without them while it cannot be read."""
        if not sources:
            return ()
        try:
            async with self._core.database.session(read_only=True) as session:
                return await with_links(session, sources)
        except DatabaseError as error:
            log.warning("sources are shown without links", why=str(error))
            return sources

    async def _stream(self) -> Finished:
        """The whole answer; a question that would be answered later all the same waits for the record."""
        origin = self.question.origin
        if origin is None or not origin.comes_again:
            return await self._streamed()
        return await self._record_waits.done(self._streamed, self._promise)

    async def _promise(self) -> None:
        self._updater.show(RECORD_AWAY.say(self._language))

    async def _streamed(self) -> Finished:
        self.began, self._said = asyncio.get_running_loop().time(), ""
        async with contextlib.aclosing(self._assistant.ask(self.question)) as events:
            async for event in events:
                if isinstance(event, Finished):
                    return event
                if isinstance(event, TextPiece):
                    self._said = event.text if event.starts_over else self._said + event.text
                    self._updater.show(self._said)
        raise AnsweringFailed("The answer ended without its end.", "Ask again.")

    async def _deliver_to_its_end(self, ending: Ending) -> None:
        """Deliver; the end of the service waits a while for it, or the next start would show it once more."""
        delivering = asyncio.create_task(self._deliver(ending))
        try:
            await asyncio.shield(delivering)
        except asyncio.CancelledError:
            done, _ = await asyncio.wait({delivering}, timeout=DELIVERY_S)
            delivering.cancel()
            await asyncio.gather(delivering, return_exceptions=True)
            self._delivered = bool(done)
            raise

    async def _deliver(self, ending: Ending) -> None:
        """Show how the answer ended, or take away what a withdrawn question left, and record which it was."""
        # what is withdrawn during the last steps must go as well, so each step checks again
        messages: list[str] = []
        if self._interruption != "withdrawn" and not self._updater.gone:
            messages = await self._finalise(ending)
        if self._interruption == "withdrawn":
            place = self.question.place
            await privacy.erase_question(
                self._core.database, place.platform, place.community, self.question.external_id
            )
            await self.surface.discard()
        elif not self.undelivered:
            # until then whoever looks for open questions would answer this one once more
            question = self.question.external_id
            await until_done(
                partial(self._close, ending, messages), "the note that an answer is shown", question=question
            )

    async def _close(self, ending: Ending, messages: list[str]) -> None:
        """Note which messages show the answer, and that nobody waits for it any more."""
        place = self.question.place
        if self._updater.gone:
            messages = messages or [f"gone:{ending.turn_id}"]
        async with self._core.database.session() as session:
            if ending.kept and ending.turn_id is not None:
                turn = await journal.find_turn(session, ending.turn_id)
                for message in messages:
                    await journal.note_message(session, turn, message)
            await open_questions.drop(session, place.platform, place.community, self.question.external_id)
            if self.question.origin is not None:  # what is refused is not even written down as a question
                await incoming.finish(session, place.platform, self.question.origin.update)

    async def _finalise(self, ending: Ending) -> list[str]:
        """Show the ending, trying again where the platform fails; the ids of its messages."""
        for pause in (*RETRY_AFTER_S, None):
            try:
                return await self.surface.finalise(ending)
            except MessageGone:
                self._updater.gone = True
                return []
            except MayNotWrite:
                await self.surface.report_refusal()
                return []
            except Exception as error:  # the platform's library may raise anything, and no answer may be lost
                if pause is None:
                    log.error("an answer could not be shown", exc_info=error)
                    self.undelivered = True
                    return []
                log.warning("an answer could not be shown yet", why=str(error), again_in_s=pause)
                await asyncio.sleep(pause)
        return []

    def _unexpected(self, what: str, error: Exception | None = None) -> str:
        reference = secrets.token_hex(4)
        log.error(what, question=self.question.external_id, reference=reference, exc_info=error)
        return describe_error(AnsweringFailed("", reference=reference), self._language)

    async def _reopen(self) -> None:
        await self._updater.abort()
        place = self.question.place
        async with self._core.database.session() as session:
            row = await journal.community_of(session, place.platform, place.community)
            turn = row and await journal.turn_of_question(session, row.id or 0, self.question.external_id)
            if turn:
                await journal.reopen(session, turn.id or 0, self.question.text)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
