"""Answers on their way to a platform: drawn while they grow, settled once, stopped or begun anew in between.

Blind to platforms, which bring a `Surface`. What is drawn may lag behind and may fail; what is settled lands
whole or is tried again. Whatever happens, the member is told, and no turn is lost: a question that the end of
the service cuts off is open again in the record, for the next start to answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal, Protocol

import structlog

from bot.assistant import Assistant, Finished, Place, Question, TextPiece
from bot.commands import privacy
from bot.core import Core
from bot.disclosure import sentence_for_member
from bot.errors import AnsweringFailed
from bot.texts import EMPTY_ANSWER, STOPPED, describe_error
from feedback import journal
from feedback.errors import ThumbloopError
from feedback.words import Language

SETTLE_AGAIN_S: Final = (1.0, 5.0, 20.0)
"""Pauses before an answer that the platform would not take is brought again."""

LAST_DRAWING_S: Final = 2.0
"""How long the end of the service waits for a drawing under way."""

Outcome = Literal["answered", "stopped", "failed"]
Interruption = Literal["stopped", "edited", "withdrawn", "overdue"]

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Ending:
    """How an answer ended; `turn_id` None is a turn that has no whole answer, and so no votes."""

    outcome: Outcome
    turn_id: int | None


class MessageGone(Exception):
    """Somebody took the answer's message away while it was being written."""


class MayNotWrite(Exception):
    """The platform does not let us write there, so trying again is useless."""


class Surface(Protocol):
    """Where one answer appears. Nothing is called at the same time as anything else, save `close`."""

    async def draw(self, text: str) -> None:
        """Show what has been said so far. Raises MessageGone; any other fault is passed over."""

    async def settle(self, text: str, ending: Ending) -> list[str]:
        """Show the whole text, and what members may do with it; the platform's ids of its messages.

        Raises MessageGone, MayNotWrite, and anything else for trying again.
        """

    async def discard(self) -> None:
        """Take away what was drawn; the question is withdrawn."""

    async def refused(self) -> None:
        """Tell the member elsewhere that we may not write where they asked."""

    def pause(self) -> float:
        """Seconds that the platform wants between this drawing and the next."""

    def close(self) -> None:
        """Stop signs of waiting, such as a typing indicator. May come more than once."""


class LiveAnswers:
    """The answers under way on one platform, by community and the question's platform id."""

    def __init__(self, core: Core, assistant: Assistant) -> None:
        self._core = core
        self._assistant = assistant
        self._under_way: dict[tuple[str, str], LiveAnswer] = {}
        self._expected: dict[tuple[str, str], str | None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._under_way)

    def all(self) -> list[LiveAnswer]:
        """Every answer under way."""
        return list(self._under_way.values())

    def find(self, community: str, external_id: str) -> LiveAnswer | None:
        """The answer to that question, while it is under way."""
        return self._under_way.get((community, external_id))

    @contextlib.contextmanager
    def expecting(self, community: str, external_id: str) -> Iterator[None]:
        """What was asked there is being looked at: new words before its answer begins, or its end, count."""
        self._expected[community, external_id] = ""
        try:
            yield
        finally:
            self._expected.pop((community, external_id), None)

    def rewrite(self, community: str, external_id: str, text: str) -> bool:
        """Let the answer follow its question, which has new words; False when there is none to follow it."""
        live = self.find(community, external_id)
        if live is not None:
            return live.follow(text)
        if (community, external_id) not in self._expected:
            return False
        self._expected[community, external_id] = text
        return True

    def withdraw(self, community: str, external_id: str) -> bool:
        """Leave nothing of a question that was taken back; False when its answer is not on its way."""
        live = self.find(community, external_id)
        if live is not None:
            live.interrupt("withdrawn")
        elif (community, external_id) in self._expected:
            self._expected[community, external_id] = None
        else:
            return False
        return True

    async def wants(self, place: Place, external_id: str) -> bool:
        """Whether that question has had neither answer nor reason: new, still open, or never shown."""
        if self.find(place.community, external_id) is not None:
            return False
        async with self._core.database.session(read_only=True) as session:
            row = await journal.community_of(session, place.platform, place.community)
            turn = await journal.turn_of_question(session, row.id or 0, external_id) if row else None
            if turn is None or turn.state == "asked":
                return True
            return turn.state == "answered" and not await journal.messages_of(session, turn.id or 0)

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
        live = self._under_way[key] = LiveAnswer(self._core, self._assistant, question, surface, language)
        task = asyncio.create_task(live.run())
        self._tasks.add(task)
        try:
            await task
        finally:
            surface.close()
            self._tasks.discard(task)
            del self._under_way[key]
        return not live.kept_back

    async def leave(self, seconds: float = 0.0) -> None:
        """Take no more questions, let answers end within `seconds`, leave the others for later."""
        self._closed = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def overdue(self, seconds: float) -> list[Question]:
        """End the answers that have taken longer than that, their members told; their questions."""
        now = asyncio.get_running_loop().time()
        late = [live for live in self._under_way.values() if now - live.began > seconds]
        for live in late:
            live.interrupt("overdue")
        return [live.question for live in late]


class LiveAnswer:
    """One answer under way."""

    def __init__(
        self, core: Core, assistant: Assistant, question: Question, surface: Surface, language: Language
    ) -> None:
        self.question = question
        self._core = core
        self.began = asyncio.get_running_loop().time()
        self._assistant = assistant
        self._surface = surface
        self._language = language
        self._said = ""
        self._reading: asyncio.Task[Finished] | None = None
        self._interruption: Interruption | None = None
        self.kept_back = False
        """Whether the platform would not take the whole answer, however often it was brought."""
        self._said_all = False
        self._brush = _Brush(surface, self.interrupt)

    def interrupt(self, why: Interruption, text: str = "") -> None:
        """Stop: for good, to answer the question in its new `text`, or because it was withdrawn."""
        if self._interruption == "withdrawn":
            return
        if why == "edited":
            self.question = replace(self.question, text=text)
        self._interruption = why
        # once is enough: a second cancellation would tear apart the work of the first
        if self._reading is not None and (why == "overdue" or not self._reading.cancelling()):
            self._reading.cancel()

    def follow(self, text: str) -> bool:
        """Answer the question in its new words; False when its answer has been said already."""
        if self._said_all or (self._reading is not None and self._reading.done()):
            return False
        if text != self.question.text:  # platforms also "edit" to add link previews
            self.interrupt("edited", text)
        return True

    async def run(self) -> None:
        """Answer until there is nothing left to do. Raises CancelledError only when the service stops."""
        try:
            while True:
                self._interruption, self._said = None, ""
                ended = await self._once()
                if self._interruption != "edited":
                    break
            self._said_all = True
            await self._brush.rest()
            await self._end(*ended)
        except asyncio.CancelledError:
            await asyncio.shield(self._leave_for_later())
            raise

    async def _once(self) -> tuple[str, Ending]:
        self._reading = asyncio.create_task(self._read())
        try:
            finished = await self._reading
        except asyncio.CancelledError:
            # not we but the service ends this, or the service as well
            if self._interruption is None or _is_cancelled():
                raise
            notice = STOPPED.say(self._language)
            if self._interruption == "overdue":
                notice = self._unexpected("an answer did not end")
            return _joined(self._said, notice), Ending("stopped", None)
        except ThumbloopError as error:
            return _joined(self._said, sentence_for_member(error, self._language)), Ending("failed", None)
        except Exception as error:  # the outermost edge of an answer: the member must hear of it
            notice = self._unexpected("an answer broke", error)
            return _joined(self._said, notice), Ending("failed", None)
        finally:
            self._reading = None
        text = finished.answer or EMPTY_ANSWER.say(self._language)
        return text, Ending("answered", finished.turn_id)

    async def _read(self) -> Finished:
        async with contextlib.aclosing(self._assistant.ask(self.question)) as events:
            async for event in events:
                if isinstance(event, Finished):
                    return event
                if isinstance(event, TextPiece):
                    self._said += event.text
                    self._brush.draw(self._said)
        raise AnsweringFailed("The answer ended without its end.", "Ask again.")

    async def _end(self, text: str, ending: Ending) -> None:
        # what is withdrawn during the last steps must go as well, so each step looks anew
        messages: list[str] = []
        if self._interruption != "withdrawn" and not self._brush.gone:
            messages = await self._settle(text, ending)
        if self._interruption == "withdrawn":
            place = self.question.place
            await privacy.erase_question(
                self._core.database, place.platform, place.community, self.question.external_id
            )
            await self._surface.discard()
        elif ending.turn_id is not None and (messages or self._brush.gone):
            async with self._core.database.session() as session:
                turn = await journal.find_turn(session, ending.turn_id)
                for message in messages or [f"gone:{ending.turn_id}"]:
                    await journal.note_message(session, turn, message)

    async def _settle(self, text: str, ending: Ending) -> list[str]:
        for pause in (*SETTLE_AGAIN_S, None):
            try:
                return await self._surface.settle(text, ending)
            except MessageGone:
                self._brush.gone = True
                return []
            except MayNotWrite:
                await self._surface.refused()
                return []
            except Exception as error:  # whatever a platform's library may raise
                if pause is None:
                    log.error("an answer could not be shown", exc_info=error)
                    self.kept_back = True
                    return []
                log.warning("an answer is brought again", why=str(error))
                await asyncio.sleep(pause)
        return []

    def _unexpected(self, what: str, error: Exception | None = None) -> str:
        reference = secrets.token_hex(4)
        log.error(what, question=self.question.external_id, reference=reference, exc_info=error)
        return describe_error(AnsweringFailed("", reference=reference), self._language)

    async def _leave_for_later(self) -> None:
        await self._brush.put_down()
        place = self.question.place
        async with self._core.database.session() as session:
            row = await journal.community_of(session, place.platform, place.community)
            turn = row and await journal.turn_of_question(session, row.id or 0, self.question.external_id)
            if turn:
                await journal.reopen(session, turn.id or 0, self.question.text)


class _Brush:
    """Draws the newest text, one drawing at a time, as often as the surface allows."""

    def __init__(self, surface: Surface, interrupt: _Interrupt) -> None:
        self.gone = False
        self._surface = surface
        self._interrupt = interrupt
        self._wanted = ""
        self._resting = asyncio.Event()
        self._drawing: asyncio.Task[None] | None = None

    def draw(self, text: str) -> None:
        self._wanted = text
        if (self._drawing is None or self._drawing.done()) and text.strip() and not self.gone:
            self._drawing = asyncio.create_task(self._draw())

    async def rest(self) -> None:
        """Let the drawing under way end, and begin no other."""
        self._wanted = ""
        self._resting.set()
        if self._drawing is not None:
            await asyncio.gather(self._drawing, return_exceptions=True)

    async def put_down(self) -> None:
        """Let the drawing under way end if it ends soon: whoever goes on must know the message it draws."""
        self._wanted = ""
        self._resting.set()
        if self._drawing is not None:
            await asyncio.wait({self._drawing}, timeout=LAST_DRAWING_S)
            self._drawing.cancel()

    async def _draw(self) -> None:
        shown = ""
        while self._wanted and self._wanted != shown:
            shown = self._wanted
            try:
                await self._surface.draw(shown)
            except MessageGone:
                self.gone = True
                self._interrupt("stopped")
                return
            except Exception as error:  # the settled text is what counts
                log.debug("a drawing failed", why=str(error))
            pause = self._surface.pause()
            if pause > 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._resting.wait(), pause)


class _Interrupt(Protocol):
    def __call__(self, why: Interruption, text: str = "") -> None: ...


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _joined(said: str, notice: str) -> str:
    return f"{said.strip()}\n\n{notice}" if said.strip() else notice
