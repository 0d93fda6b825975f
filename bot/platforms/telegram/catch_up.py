"""Nothing asked is forgotten: what the end of the former process cut off, what waited, what takes too long.

Telegram keeps updates while nobody fetches them. What is young is answered, what is old gets one apology
in its chat, not ten answers in a burst.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from datetime import datetime, timedelta
from typing import Final

import structlog

from bot.chat.surface import Ending, MayNotWrite, MessageGone
from bot.commands.settings import language_for
from bot.platforms.telegram.answering import show
from bot.platforms.telegram.context import PLATFORM, Caller, Spot, TelegramContext
from bot.platforms.telegram.open_questions import OpenQuestion
from bot.platforms.telegram.questions import question_text
from bot.platforms.telegram.surfaces import AnswerSurface
from bot.questions import Place, Question
from bot.texts import WAS_AWAY
from feedback import journal, open_questions
from feedback.open_questions import Waiting
from feedback.tables import now
from feedback.words import Language

LOOK_EVERY_S: Final = 20.0
YOUNG: Final = timedelta(minutes=15)
"""Questions of this age are still answered after an absence; older ones get an apology."""

GRACE_S: Final = 60.0
"""How long after the time for answers one that has not ended counts as forgotten."""

log = structlog.get_logger(__name__)


class CatchUp:
    """Looks after the questions of one bot."""

    def __init__(self, context: TelegramContext) -> None:
        self._context = context
        self._started = now()
        self._apologised: set[tuple[int, int | None]] = set()

    def is_late(self, written: datetime) -> bool:
        """Whether something was written while nobody listened."""
        return written < self._started - timedelta(seconds=2)

    def is_old(self, written: datetime) -> bool:
        """Whether something waited so long that an answer would only puzzle."""
        return self.is_late(written) and self._started - written > YOUNG

    async def apologise(self, caller: Caller) -> None:
        """Say once in a chat that nobody was here."""
        setting = (await self._context.community(caller.chat)).language
        language = language_for(setting, question_text(caller.message, self._context.bot.bot))
        await self._apologise(caller.spot, language)

    async def look_after(self) -> None:
        """Finish what was cut off or could not be shown, and watch for answers that do not end."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Take up the questions that nobody is answering, and end the answers that take too long."""
        limit = self._context.assistant.options.answer_seconds + GRACE_S
        for question in self._context.answers.overdue(limit):
            log.error("an answer was overdue", question=question.external_id)
        async with self._context.core.database.session(read_only=True) as session:
            waiting = await open_questions.all_open(session, PLATFORM)
        for one in waiting:
            if not self._is_live(one):
                self._context.start(self._finish(one))

    def _is_live(self, one: Waiting) -> bool:
        return self._context.answers.find(one.community.external_id, one.turn.external_id) is not None

    async def _finish(self, one: Waiting) -> None:
        try:
            await self._answer_or_apologise(one)
        except MayNotWrite:
            await self._give_up(one)
        except Exception as error:  # one question must not keep the others from being looked after
            log.error("a question could not be resumed", reference=secrets.token_hex(4), exc_info=error)

    async def _answer_or_apologise(self, one: Waiting) -> None:
        where, language = OpenQuestion.of(one), language_for(one.community.language, one.turn.question)
        is_shown = one.turn.state == "answered" and bool(one.drawn)
        if now() - one.turn.asked_at > YOUNG and not is_shown:
            await self._give_up(one)
            if where.drawn:
                await self._end_begun(where, language)
            else:
                await self._apologise(where.spot, language)
            return
        question = Question(
            Place(PLATFORM, one.community.external_id, one.conversation),
            one.asker,
            one.turn.external_id,
            one.turn.question,
            regenerates=one.turn.regenerates_id,
            origin=where.origin(),
        )
        await show(self._context, where, question, language)

    async def _give_up(self, one: Waiting) -> None:
        async with self._context.core.database.session() as session:
            await journal.record_cancelled(session, one.turn.id or 0)
            await open_questions.drop(session, PLATFORM, one.community.external_id, one.turn.external_id)

    async def _end_begun(self, where: OpenQuestion, language: Language) -> None:
        """Let an answer that was begun and will not be finished say so, instead of looking under way."""
        surface = AnswerSurface(self._context, where, language)
        with contextlib.suppress(MessageGone):
            await surface.finalise(Ending("stopped", "", WAS_AWAY.say(language)))

    async def _apologise(self, spot: Spot, language: Language) -> None:
        if (spot.chat, spot.thread) not in self._apologised:
            self._apologised.add((spot.chat, spot.thread))
            await self._context.send(spot, WAS_AWAY.say(language))
