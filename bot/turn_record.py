"""A question and its answer in the record: written down before it is answered, kept before it is finished.

However an answer is cut off, here it ends in one state of its turn.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, cast

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from bot.answering.prompt import Exchange
from bot.core import Core
from bot.errors import AnsweringFailed
from bot.knowledge.knowledge import Source, sources_of
from bot.questions import Place, Question
from bot.record_away import until_done
from feedback import incoming, journal, open_questions, passages
from feedback.cancellation import to_its_end
from feedback.errors import NotFound, ThumbloopError
from feedback.journal import Answered
from feedback.passages import Used
from feedback.tables import Adapter, Community, Member, Turn
from feedback.words import LANGUAGES, Language, Mode, Platform, TurnId
from training.adapters import deployments, registry
from training.data.language import language_of
from training.model.personas import question_text
from training.model.reasoning import answer_of

GIVEN_AFTER_S: Final = 20.0
"""How long an answer waits for a record that does not take it. Then it is given as it is, and kept later."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Asked:
    """A question in the record and what its answer needs from there.

    `adapter` is what is to answer, or what the asker named and nobody knows; None is the base model.
    `has_knowledge` says whether the community has anything to look up; `sources` are those of an answer that
    was given before.
    """

    turn: Turn
    community: Community
    history: list[Exchange]
    mode: Mode
    language: Language
    adapter: Adapter | NotFound | None
    has_knowledge: bool
    sources: list[Source]

    @property
    def turn_id(self) -> TurnId:
        """The turn's number."""
        return _id(self.turn)


class TurnRecord:
    """Writes turns for the assistant. A prompt looks back on `history_turns`, and `mode` is the default."""

    def __init__(self, core: Core, *, history_turns: int, mode: Mode) -> None:
        self._core = core
        self._history_turns = history_turns
        self._mode: Mode = mode
        self._late: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Give up the answers that the record still has not taken."""
        for keeping in self._late:
            keeping.cancel()
        await asyncio.gather(*self._late, return_exceptions=True)

    async def write_down(self, question: Question, text: str) -> Asked:
        """Write the question down; whoever is cancelled meanwhile leaves it cancelled, not open."""
        writing = asyncio.ensure_future(self._write_down(question, text))
        try:
            return await to_its_end(writing)
        except asyncio.CancelledError:
            if not writing.cancelled() and writing.exception() is None:
                await to_its_end(self.note_cancelled(writing.result().turn_id, ""))
            raise

    async def _write_down(self, question: Question, text: str) -> Asked:
        place = question.place
        async with self._core.database.session() as session:
            community = await journal.community(
                session, place.platform, place.community, name=place.community_name
            )
            member = await journal.member(
                session, place.platform, self._core.pseudonym(place.platform, question.member)
            )
            conversation = await journal.conversation(session, community.id or 0, place.conversation)
            mode = question.mode or _mode(member, community, self._mode)
            language = _language(community, text)
            asked = await journal.ask(
                session,
                community_id=community.id or 0,
                conversation_id=conversation.id or 0,
                member_id=member.id,
                external_id=question.external_id,
                question=text,
                mode=mode,
                language=language,
                regenerates_id=question.regenerates,
            )
            turn = asked.turn
            if not asked.is_new and turn.state != "answered":
                turn = await journal.reopen(session, _id(turn), text)
            if question.origin is not None:
                await self._keep_origin(session, question, turn)
            adapter = await _adapter_for(session, question, turn)
            return await self._asked(
                session, turn, community, mode, language, adapter, before=question.regenerates or _id(turn)
            )

    async def asked_anew(self, turn_id: int) -> tuple[Asked, Question]:
        """A turn's question as it would be asked now, with what serves its community now. Raises NotFound."""
        async with self._core.database.session(read_only=True) as session:
            turn = await journal.find_turn(session, turn_id)
            community = await session.get_one(Community, turn.community_id)
            adapter = await deployments.answering(session, turn.community_id, turn.conversation_id)
            mode, language = cast(Mode, turn.mode), cast(Language, turn.language)
            asked = await self._asked(session, turn, community, mode, language, adapter, before=turn_id)
        place = Place(cast(Platform, community.platform), community.external_id, "")
        turn.question = question_text(turn.question, turn.input)
        return asked, Question(place, "", turn.external_id, turn.question)

    async def _asked(
        self,
        session: AsyncSession,
        turn: Turn,
        community: Community,
        mode: Mode,
        language: Language,
        adapter: Adapter | NotFound | None,
        *,
        before: int,
    ) -> Asked:
        """What the answer needs; its conversation is that before the turn `before`."""
        earlier = await journal.history(session, turn.conversation_id, before, self._history_turns)
        given = turn.state == "answered"
        return Asked(
            turn,
            community,
            [Exchange(one.question, answer_of(one.answer)) for one in earlier],
            mode,
            language,
            adapter,
            await passages.has_any(session, turn.community_id),
            await sources_of(session, turn.community_id, _id(turn)) if given else [],
        )

    async def _keep_origin(self, session: AsyncSession, question: Question, turn: Turn) -> None:
        platform, origin = question.place.platform, question.origin
        assert origin is not None, "the caller has looked"
        if turn.state == "asked":
            await open_questions.keep(session, _id(turn), asker=question.member, shown_in=origin.shown_in)
        if origin.update:
            await incoming.finish(session, platform, origin.update)
        if origin.bookmark is not None:
            await journal.move_bookmark(session, platform, *origin.bookmark)

    async def keep(self, turn_id: TurnId, answered: Answered, sources: Sequence[Source]) -> None:
        """Keep an answer and the passages that stood in its prompt. Raises DatabaseError."""
        async with self._core.database.session() as session:
            await journal.record_answer(session, turn_id, answered)
            if sources:
                used = [Used(one.passage_id, one.content_hash, one.score) for one in sources]
                await passages.record_used(session, turn_id, used)

    async def keep_or_give(self, turn_id: TurnId, answered: Answered, sources: Sequence[Source]) -> None:
        """Keep an answer. A record that takes nothing costs nobody an answer that is made already.

        After `GIVEN_AFTER_S` it returns, and keeps the answer once the record takes it.
        """
        work = partial(self.keep, turn_id, answered, sources)
        keeping = asyncio.create_task(until_done(work, "an answer", turn=turn_id))
        try:
            async with asyncio.timeout(GIVEN_AFTER_S):
                await asyncio.shield(keeping)
        except TimeoutError:
            log.error("an answer is given that the record did not take", turn=turn_id)
            self._late.add(keeping)
            keeping.add_done_callback(self._late.discard)
        except asyncio.CancelledError:
            keeping.cancel()
            await asyncio.wait({keeping})
            raise

    async def note_failure(
        self, turn_id: TurnId, adapter: Adapter | None, error: Exception, *, kept: bool = False
    ) -> str:
        """Say why no answer came, or no whole one, in the log, then in the record; the reference of both."""
        reference = secrets.token_hex(4)
        label = registry.label(adapter) if adapter else registry.BASE
        outcome = "refused" if explains_itself(error) else "failed"
        self._core.metrics.answers.labels(label, outcome).inc()
        if isinstance(error, ThumbloopError) and explains_itself(error):
            log.warning("answer refused", turn=turn_id, reference=reference, reason=error.problem)
        elif isinstance(error, TimeoutError):
            log.error("answer took too long", turn=turn_id, reference=reference)
        else:
            log.error("answer failed", turn=turn_id, reference=reference, exc_info=error)
        async with self._core.database.session() as session:
            if kept:
                await journal.note_cut_off(session, turn_id, reference)
            else:
                await journal.record_failure(session, turn_id, reference, adapter.id if adapter else None)
        return reference

    async def note_cancelled(self, turn_id: TurnId, so_far: str) -> None:
        """Keep what was said until somebody stopped it."""
        async with self._core.database.session() as session:
            await journal.record_cancelled(session, turn_id, so_far)


def explains_itself(error: Exception) -> bool:
    """Whether the error's sentence is all that is to be known; a broken model needs the log as well."""
    return isinstance(error, ThumbloopError) and not isinstance(error, AnsweringFailed)


async def _adapter_for(session: AsyncSession, question: Question, turn: Turn) -> Adapter | NotFound | None:
    """The adapter that answered the turn, that the question names, or that serves its community."""
    if turn.state == "answered":
        return await session.get(Adapter, turn.adapter_id) if turn.adapter_id is not None else None
    if question.adapter is None:
        return await deployments.answering(session, turn.community_id, turn.conversation_id)
    try:
        return await registry.find(session, question.adapter)
    except NotFound as unknown:  # the question is kept all the same, and its asker is told
        return unknown


def _id(turn: Turn) -> TurnId:
    assert turn.id is not None, "a stored turn has its id"
    return TurnId(turn.id)


def _mode(member: Member, community: Community, fallback: Mode) -> Mode:
    chosen = member.default_mode or community.default_mode
    return cast(Mode, chosen) if chosen not in ("", "default") else fallback


def _language(community: Community, text: str) -> Language:
    if community.language in LANGUAGES:
        return community.language
    return language_of(text)
