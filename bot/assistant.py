"""The one place where a question becomes an answer, and where a vote is taken.

Writes the question down before it is answered and the answer before it is called finished, so nothing
that was said is lost. Blind to platforms: they bring a `Question` and show the events that come back.
Leaves to others: prompts (`answering.prompt`), generation (an `Answerer`), which adapter serves
(`training.adapters`). It is long because every way in which an answer may be cut off ends here, in one state.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, cast

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession
from structlog.contextvars import bind_contextvars, unbind_contextvars

from bot.answering.answerer import AdapterFiles, Answerer, AnswerRequest, Piece, Sampling, Usage
from bot.answering.prompt import Exchange, Prompt, build_prompt, clean_question, prompt_as_given
from bot.answering.token_budget import characters_of, off_loop_if_long
from bot.core import Core
from bot.errors import (
    AdapterRefused,
    AnsweringFailed,
    BeingAnswered,
    EmbeddingFailed,
    Stopping,
    TookTooLong,
)
from bot.knowledge.fit import asked_before, fits
from bot.knowledge.knowledge import Knowledge, Source, note_of, sources_of
from bot.questions import Finished, Place, Question, TextPiece
from bot.texts import NOT_KNOWN, NOT_KNOWN_ASK
from bot.tracing import AnswerTrace
from feedback import incoming, journal, open_questions, passages, votes
from feedback.cancellation import to_its_end
from feedback.errors import Conflict, DatabaseError, NotFound, SettingsError, ThumbloopError
from feedback.journal import Answered
from feedback.passages import Used
from feedback.tables import Adapter, Community, Member, Turn
from feedback.votes import Voted
from feedback.words import (
    LANGUAGES,
    AdapterVersion,
    AnswerKind,
    Language,
    Mode,
    Platform,
    TurnId,
    VoteValue,
)
from training.adapters import deployments, registry
from training.data.language import is_unsure, language_of
from training.model.notes import MARKS
from training.model.personas import question_text
from training.model.reasoning import answer_of

LIVELY_TEMPERATURE: Final = 0.8
"""The least temperature of a regenerated answer: the likeliest one was given already."""
CLOSING_SECONDS: Final = 3.0
"""How long answers may still take when the service ends, and after that, to be written down."""
KEEP_AGAIN_S: Final = (1.0, 5.0, 20.0)
"""Pauses before an answer is brought again to a record that did not take it. Then it is given as it is, and
brought again after the last of them for as long as the record is away."""

ADAPTERS: Final = "adapters"
"""The component of the service's health that the adapters in service are."""

log = structlog.get_logger(__name__)


def refused_in_service(labels: Sequence[str]) -> str:
    """What health says of adapters that should serve and cannot."""
    return f"Refused, so the base model answers in their place: {', '.join(labels)}. The log says why."


@dataclass(frozen=True)
class LookupOptions:
    """What is done with what was looked up.

    `notes_share` is the share of the prompt that passages may take beside a conversation. A question whose
    words are alike by `approved_text` to one with an approved answer gets that text itself, and one that
    nothing fits by `least_fit` is told so, with `where_to_ask`; None does neither.
    """

    notes_share: float = 0.5
    approved_text: float | None = None
    least_fit: float | None = None
    where_to_ask: str = ""


@dataclass(frozen=True)
class AssistantOptions:
    """What the assistant is told by the settings."""

    persona: str
    mode: Mode
    sampling: Sampling
    history_turns: int
    max_question_characters: int
    answer_seconds: float = 300.0
    show_reasoning: bool = False
    lookup: LookupOptions = LookupOptions()


class Assistant:
    """Answers questions and takes votes, one instance for all platforms of a service."""

    def __init__(
        self,
        core: Core,
        answerer: Answerer,
        options: AssistantOptions,
        knowledge: Knowledge | None = None,
    ) -> None:
        """Raises SettingsError when the longest answer leaves the model no room for a question."""
        self.answerer = answerer
        self._core = core
        self.options = options
        self.knowledge = knowledge
        self._verified: dict[int, AdapterFiles] = {}
        self._under_way: set[tuple[str, str, str]] = set()
        self._kept_late: set[asyncio.Task[None]] = set()
        self._answers = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._closing = False
        if options.sampling.max_new_tokens >= answerer.context_tokens:
            raise SettingsError(
                f"The setting answering.max_new_tokens is {options.sampling.max_new_tokens}, and prompt and "
                f"answer of {answerer.base_model} together may take {answerer.context_tokens} tokens.",
                "Lower it (THUMBLOOP_ANSWERING__MAX_NEW_TOKENS), so that a question fits beside the answer.",
            )

    async def ask(self, question: Question) -> AsyncGenerator[TextPiece | Finished, None]:
        """Answer a question: pieces of text, then `Finished`. Closing the iterator stops the answer.

        The same message delivered again gives the kept answer again; one that has no whole answer yet is
        answered, in its newest words. Raises UsageError for a question that cannot be taken, Conflict while
        the same message is being answered, AnsweringError when no answer comes, TookTooLong after
        `answer_seconds` (what was said until then is kept), Stopping when the service ends first; an
        unexpected fault becomes AnsweringFailed with a reference that the log explains.
        """
        # not as a block: it may end in another context than it began in
        bind_contextvars(question=question.external_id)
        try:
            with self.answering():
                async with contextlib.aclosing(self._answer(question)) as events:
                    async for event in events:
                        yield event
        finally:
            unbind_contextvars("question")

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """The block is an answer that `close` waits for. Raises Stopping when no more are begun."""
        if self._closing:
            raise Stopping
        self._answers += 1
        self._core.metrics.under_way.inc()
        self._idle.clear()
        try:
            yield
        finally:
            self._answers -= 1
            self._core.metrics.under_way.dec()
            if not self._answers:
                self._idle.set()

    def count_answer(self, adapter: AdapterVersion | None, usage: Usage) -> None:
        """Count an answer that came to its end in the metrics; None is the base model's."""
        label = str(adapter) if adapter else registry.BASE
        self._core.metrics.answered(label, usage.answer_tokens, usage.first_token_s, usage.total_s)

    async def close(self, *, all_whole: bool = False) -> None:
        """Begin no more answers, let those under way end, cut off what takes too long, and free the model.

        When it returns, the record says of each what became of it. `all_whole` lets each take as long as an
        answer may.
        """
        self._closing = True
        await self._wait_until_idle(self.options.answer_seconds if all_whole else CLOSING_SECONDS)
        await self.answerer.close()
        await self._wait_until_idle(CLOSING_SECONDS)
        for late in self._kept_late:
            late.cancel()
        await asyncio.gather(*self._kept_late, return_exceptions=True)

    async def _wait_until_idle(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), seconds)

    @contextlib.contextmanager
    def _alone(self, question: Question) -> Iterator[None]:
        """The block answers a message, and of several deliveries of it no other one does.

        Claimed before the record is asked: what a transaction has read may be over when it ends. Raises
        BeingAnswered.
        """
        message = (question.place.platform, question.place.community, question.external_id)
        if message in self._under_way:
            raise BeingAnswered
        self._under_way.add(message)
        try:
            yield
        finally:
            self._under_way.discard(message)

    async def _answer(self, question: Question) -> AsyncGenerator[TextPiece | Finished, None]:
        spans = AnswerTrace(question.place.platform)
        try:
            with self._alone(question):
                async with contextlib.aclosing(self._traced_answer(question, spans)) as events:
                    async for event in events:
                        yield event
        except BaseException as error:
            spans.end(error)
            raise
        spans.end()

    async def _traced_answer(
        self, question: Question, spans: AnswerTrace
    ) -> AsyncGenerator[TextPiece | Finished, None]:
        text = clean_question(question.text, self.options.max_question_characters)
        asked = await self._written_down(question, text)
        turn = asked.turn
        spans.asked(_id(turn), turn.conversation_id)
        if turn.state == "erased":
            raise Conflict("This question was erased; there is nothing left to answer.", "Ask it anew.")
        if turn.state == "answered":
            yield TextPiece(turn.answer)
            label = registry.label(asked.adapter) if isinstance(asked.adapter, Adapter) else "base"
            yield Finished(
                _id(turn),
                turn.answer,
                label,
                None,
                sources=tuple(asked.sources),
                kind=cast(AnswerKind, turn.answer_kind),
            )
            return
        said: list[str] = []
        thought: list[str] = []
        settled = False
        adapter: _Chosen | None = None
        try:
            with spans.step("retrieval"):
                sources = await self._retrieved(asked)
            if ready := self._without_model(question, asked, sources):
                answered = _ready_made(asked, self.answerer, ready)
                yield TextPiece(ready.answer)
                await self._keep_if_possible(turn, answered, ready.sources)
                settled = True
                yield Finished(
                    _id(turn), ready.answer, "base", None, sources=tuple(ready.sources), kind=ready.kind
                )
                return
            adapter, prompt = await self._prepare(question, asked, sources)
            sources = [sources[place] for place in prompt.notes]
            usage: Usage | None = None
            request = _request(turn, adapter, prompt, question.sampling or self.options.sampling)
            serves = str(adapter.files.version) if adapter else registry.BASE
            spans.model_begins(self.answerer.base_model, serves, request.sampling)
            stream = self.answerer.stream(request)
            async with contextlib.aclosing(stream):
                async for piece in _within(stream, self.options.answer_seconds):
                    if not said and not thought:
                        spans.first_token()
                    usage = piece.usage or usage
                    if piece.starts_over:
                        thought += said
                        said.clear()
                    if piece.reasoning:
                        thought.append(piece.reasoning)
                    if piece.reasoning and self.options.show_reasoning:
                        quoted = piece.reasoning.replace("\n", "\n> ")
                        yield TextPiece(
                            quoted if len(thought) > 1 else f"> {quoted.lstrip()}", is_reasoning=True
                        )
                    if piece.text or piece.starts_over:
                        if thought and not said and self.options.show_reasoning and not piece.starts_over:
                            yield TextPiece("\n\n", is_reasoning=True)
                        said.append(piece.text)
                        yield TextPiece(piece.text, starts_over=piece.starts_over)
            spans.model_ends(usage)
            if usage is not None and usage.finish_reason == "cancelled":  # the answerer was closed
                raise Stopping
            answer = "".join(said).strip()
            if thought and not answer:
                log.warning(
                    "the model only reasoned; raise answering.max_new_tokens, or set thinking=off",
                    turn=turn.id,
                )
                raise AnsweringFailed("The model thought about this for so long that no answer came of it.")
            answered = self._generated(asked, adapter, prompt, answer, usage)
            await self._keep_if_possible(turn, answered, sources)
            settled = True
            label = str(adapter.files.version) if adapter else "base"
            if usage is not None:
                self.count_answer(adapter.files.version if adapter else None, usage)
                log.info(
                    "answered",
                    turn=turn.id,
                    adapter=label,
                    tokens=usage.answer_tokens,
                    first_token_s=round(usage.first_token_s, 3),
                    total_s=round(usage.total_s, 3),
                )
            shown = _quoted("".join(thought)) if self.options.show_reasoning else ""
            yield Finished(_id(turn), answer, label, usage, shown, tuple(sources))
        except Stopping:
            raise
        except TimeoutError as error:
            settled = True
            answer, label = "".join(said).strip(), "base"
            if answer:  # votes and a "continue" belong to it as to one that ran out of tokens
                answered = self._generated(asked, adapter, prompt, answer, None)
                await to_its_end(self._keep(turn, answered, sources))
                label = str(adapter.files.version) if adapter else "base"
            noting = self._note_failure(turn, adapter, error, kept=bool(answer))
            reference = await to_its_end(noting)
            raise TookTooLong(reference, turn_id=turn.id, adapter=label, kept=bool(answer)) from error
        except Exception as error:
            settled = True
            reference = await to_its_end(self._note_failure(turn, adapter, error))
            if _explains_itself(error):
                raise
            known = error if isinstance(error, AnsweringFailed) else None
            problem, remedy = (known.problem, known.remedy) if known else ("The answer failed.", "Ask again.")
            raise AnsweringFailed(
                problem,
                f"{remedy} If it goes on, tell the operator the reference {reference}.".strip(),
                reference=reference,
            ) from error
        finally:
            if not settled:  # cancelled, or the caller stopped listening, or the service ends
                label = str(adapter.files.version) if adapter else "base"
                self._core.metrics.answers.labels(label, "stopped").inc()
                await to_its_end(self._note_cancelled(turn, "".join(said)))

    async def once_more(self, place: Place, member: str, turn_id: int) -> Question:
        """The question that answers a turn's question anew, as a turn of its own and less predictably.

        Raises NotFound when there is no such turn here, and Conflict when its texts were erased.
        """
        async with self._core.database.session(read_only=True) as session:
            community = await journal.community_of(session, place.platform, place.community)
            turn = await journal.turn_in(session, turn_id, community)
            first = await journal.find_turn(session, turn.regenerates_id or turn_id)
            number = await journal.count_regenerated(session, _id(first)) + 1
        if first.state == "erased":
            raise Conflict(f"Turn {turn_id} was erased; there is nothing left to answer.")
        return Question(
            place=place,
            member=member,
            external_id=f"{first.external_id}.{number}",
            text=first.question,
            mode=cast(Mode, first.mode),
            sampling=_livelier(self.options.sampling),
            regenerates=_id(first),
        )

    async def draft(self, turn_id: int) -> AsyncGenerator[str, None]:
        """Another answer to a turn's question, for whoever reviews it: again and again what is said so far.

        By what serves its community now, less predictably, and kept nowhere; after `answer_seconds` it ends
        as far as it is. Raises NotFound, Stopping and AnsweringError.
        """
        with self.answering():
            asked, question = await self._asked_for_draft(turn_id)
            adapter, prompt = await self._prepare(question, asked, await self._retrieved(asked))
            request = _request(asked.turn, adapter, prompt, _livelier(self.options.sampling))
            said = ""
            async with contextlib.aclosing(self.answerer.stream(request)) as stream:
                with contextlib.suppress(TimeoutError):
                    async for piece in _within(stream, self.options.answer_seconds):
                        said = piece.text if piece.starts_over else said + piece.text
                        yield said.strip()

    async def _asked_for_draft(self, turn_id: int) -> tuple[_Written, Question]:
        async with self._core.database.session(read_only=True) as session:
            turn = await journal.find_turn(session, turn_id)
            community = await session.get_one(Community, turn.community_id)
            earlier = await journal.history(
                session, turn.conversation_id, turn_id, self.options.history_turns
            )
            written = _Written(
                turn,
                community,
                [Exchange(one.question, answer_of(one.answer)) for one in earlier],
                cast(Mode, turn.mode),
                cast(Language, turn.language),
                await deployments.answering(session, turn.community_id, turn.conversation_id),
                await passages.has_any(session, turn.community_id),
                [],
            )
        place = Place(cast(Platform, community.platform), community.external_id, "")
        turn.question = question_text(turn.question, turn.input)
        return written, Question(place, "", turn.external_id, turn.question)

    async def go_on(self, place: Place, member: str, turn_id: int, text: str) -> Question:
        """The question that asks for more of a turn's answer, in the words `text`, in its conversation.

        Raises NotFound when there is no such turn here.
        """
        async with self._core.database.session(read_only=True) as session:
            community = await journal.community_of(session, place.platform, place.community)
            turn = await journal.turn_in(session, turn_id, community)
        return Question(
            place=place,
            member=member,
            external_id=f"{turn.external_id}.c{secrets.token_hex(3)}",
            text=text,
            mode=cast(Mode, turn.mode),
        )

    async def vote(
        self,
        place: Place,
        member: str,
        turn_id: int,
        value: VoteValue,
        *,
        reason: str = "",
        suggested_answer: str = "",
    ) -> Voted:
        """Set, change or (0) take back a member's vote. Raises NotFound when there is no such turn here."""
        async with self._core.database.session() as session:
            voter = await self._voter(session, place, member, turn_id)
            voted = await votes.vote(
                session,
                turn_id=turn_id,
                member_id=voter.id or 0,
                value=value,
                reason=reason,
                suggested_answer=suggested_answer,
            )
            return await self._counted(session, turn_id, voted)

    async def tap(
        self, place: Place, member: str, turn_id: int, value: VoteValue, *, update: str = ""
    ) -> Voted:
        """A thumb: the first one votes, the other one changes the vote, the same again takes it back.

        `update` is the delivery that brought it, which is finished thereby and counts once: a tap delivered
        again would take its own vote back. Raises NotFound when there is no such turn here.
        """
        async with self._core.database.session() as session:
            voter = await self._voter(session, place, member, turn_id)
            before = await votes.vote_of(session, turn_id, voter.id or 0)
            if update and not await incoming.finish(session, place.platform, update):
                return Voted(before, before, changed=False)
            new: VoteValue = 0 if before == value else value
            voted = await votes.vote(session, turn_id=turn_id, member_id=voter.id or 0, value=new)
            return await self._counted(session, turn_id, voted)

    async def _counted(self, session: AsyncSession, turn_id: int, voted: Voted) -> Voted:
        """The vote, counted for the adapter whose answer it is on."""
        if voted.after != voted.before and voted.after:
            turn = await journal.find_turn(session, turn_id)
            adapter = await session.get(Adapter, turn.adapter_id) if turn.adapter_id is not None else None
            label = registry.label(adapter) if adapter else registry.BASE
            self._core.metrics.votes.labels(label, "up" if voted.after > 0 else "down").inc()
        return voted

    async def _voter(self, session: AsyncSession, place: Place, member: str, turn_id: int) -> Member:
        """The member who votes, after a look whether the turn is one of this community. Locks the turn."""
        community = await journal.community(session, place.platform, place.community)
        await journal.turn_in(session, turn_id, community)
        await journal.locked_turn(session, turn_id)
        return await journal.member(session, place.platform, self._core.pseudonym(place.platform, member))

    async def take_back(self, place: Place, member: str, turn_id: int, value: VoteValue) -> bool:
        """Take back the member's vote if it still is `value`; whether it was."""
        async with self._core.database.session() as session:
            voter = await self._voter(session, place, member, turn_id)
            if await votes.vote_of(session, turn_id, voter.id or 0) != value:
                return False
            await votes.vote(session, turn_id=turn_id, member_id=voter.id or 0, value=0)
        return True

    async def make_ready(self, adapter: Adapter) -> AdapterFiles:
        """Verify an adapter's files and load them. Raises AdapterError or AdapterRefused with the reason."""
        files = await self._files(adapter)
        await self.answerer.load(files)
        return files

    async def _written_down(self, question: Question, text: str) -> _Written:
        """Write the question down; whoever is cancelled meanwhile leaves it cancelled, not open."""
        written: list[_Written] = []

        async def write() -> None:
            written.append(await self._write_down(question, text))

        try:
            await to_its_end(write())
        except asyncio.CancelledError:
            for asked in written:
                await to_its_end(self._note_cancelled(asked.turn, ""))
            raise
        return written[0]

    async def _write_down(self, question: Question, text: str) -> _Written:
        place = question.place
        async with self._core.database.session() as session:
            community = await journal.community(
                session, place.platform, place.community, name=place.community_name
            )
            member = await journal.member(
                session, place.platform, self._core.pseudonym(place.platform, question.member)
            )
            conversation = await journal.conversation(session, community.id or 0, place.conversation)
            mode = question.mode or _mode(member, community, self.options.mode)
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
            before = question.regenerates or _id(turn)
            earlier = await journal.history(session, conversation.id or 0, before, self.options.history_turns)
            if question.origin is not None:
                await self._keep_origin(session, question, turn)
            adapter = await _adapter_for(session, question, turn)
            has_knowledge = await passages.has_any(session, turn.community_id)
            given = turn.state == "answered"
            sources = await sources_of(session, turn.community_id, _id(turn)) if given else []
        history = [Exchange(turn.question, answer_of(turn.answer)) for turn in earlier]
        return _Written(turn, community, history, mode, language, adapter, has_knowledge, sources)

    async def _keep_origin(self, session: AsyncSession, question: Question, turn: Turn) -> None:
        platform, origin = question.place.platform, question.origin
        assert origin is not None, "the caller has looked"
        if turn.state == "asked":
            await open_questions.keep(session, _id(turn), asker=question.member, shown_in=origin.shown_in)
        if origin.update:
            await incoming.finish(session, platform, origin.update)
        if origin.bookmark is not None:
            await journal.move_bookmark(session, platform, *origin.bookmark)

    async def _retrieved(self, asked: _Written) -> list[Source]:
        """What the community's knowledge has for the question; a broken index costs nobody an answer."""
        if self.knowledge is None or not asked.has_knowledge:
            return []
        try:
            return await self.knowledge.retrieve(asked.turn.community_id, asked.turn.question, asked.language)
        except (DatabaseError, EmbeddingFailed) as error:
            log.warning("answered without knowledge", turn=asked.turn.id, why=str(error))
            return []

    async def _prepare(
        self, question: Question, asked: _Written, sources: Sequence[Source]
    ) -> tuple[_Chosen | None, Prompt]:
        adapter = await self._ready(question, asked.adapter)
        earlier = question.earlier or ()
        history = sum(len(exchange.question) + len(exchange.answer) for exchange in asked.history)
        found = sum(len(source.text) for source in sources)
        characters = len(asked.turn.question) + (characters_of(earlier) or history) + found
        return adapter, await off_loop_if_long(characters, partial(self._prompt, question, asked, sources))

    def _prompt(self, question: Question, asked: _Written, sources: Sequence[Source]) -> Prompt:
        notes = [note_of(source) for source in sources]
        persona = asked.community.persona or self.options.persona
        if question.earlier is not None:
            return prompt_as_given(
                [*question.earlier, {"role": "user", "content": asked.turn.question}],
                persona=persona,
                mode=asked.mode,
                language=asked.language,
                count_tokens=self.answerer.count_tokens,
                budget=self.answerer.context_tokens - 1,
                notes=notes,
                notes_share=self.options.lookup.notes_share,
            )
        budget = self.answerer.context_tokens - self.options.sampling.max_new_tokens
        return build_prompt(
            persona=persona,
            mode=asked.mode,
            language=asked.language,
            history=asked.history,
            question=asked.turn.question,
            count_tokens=self.answerer.count_tokens,
            budget=budget,
            notes=notes,
            notes_share=self.options.lookup.notes_share,
        )

    async def _ready(self, question: Question, adapter: Adapter | NotFound | None) -> _Chosen | None:
        """The adapter that is to answer, loaded; None is the base model."""
        if adapter is None:
            return None
        if isinstance(adapter, NotFound):
            raise adapter
        try:
            return _Chosen(adapter, await self.make_ready(adapter))
        except ThumbloopError as error:
            if question.adapter is not None:
                raise
            # a broken adapter must not silence the bot: the base answers, the turn says so, the log says why
            log.error("adapter in service is refused; the base model answers", reason=str(error))
            self._core.health.report(ADAPTERS, "degraded", refused_in_service([registry.label(adapter)]))
            return None

    async def _files(self, adapter: Adapter) -> AdapterFiles:
        known = self._verified.get(adapter.id or 0)
        if known is None:
            folder = await asyncio.to_thread(registry.verify, self._core.data, adapter)
            version = AdapterVersion(adapter.name, adapter.version)
            reason = registry.other_base(adapter, self._core.model.base_model, self._core.model.base_revision)
            if reason is not None:
                raise AdapterRefused(version, reason)
            known = self._verified[adapter.id or 0] = AdapterFiles(version, folder, adapter.content_hash)
        return known

    def _without_model(self, question: Question, asked: _Written, sources: Sequence[Source]) -> _Ready | None:
        """The answer that needs no model: the approved text itself, or that nobody knows.

        A caller who brings the conversation, names an adapter or wants another answer asks the model.
        """
        options = self.options.lookup
        if question.earlier is not None or question.adapter is not None or question.regenerates is not None:
            return None
        if options.approved_text is not None:
            known = asked_before(asked.turn.question, sources, options.approved_text)
            if known is not None:
                return _Ready(known.text, "approved", [known])
        if options.least_fit is None or self.knowledge is None or not asked.has_knowledge or asked.history:
            return None
        if fits(asked.turn.question, asked.language, sources, options.least_fit):
            return None
        told = NOT_KNOWN.say(asked.language)
        if options.where_to_ask:
            told += " " + NOT_KNOWN_ASK.say(asked.language, where=options.where_to_ask)
        return _Ready(told, "gap", [])

    def _generated(
        self, asked: _Written, adapter: _Chosen | None, prompt: Prompt, answer: str, usage: Usage | None
    ) -> Answered:
        return Answered(
            answer=answer,
            mode=asked.mode,
            language=asked.language,
            base_model=self.answerer.base_model,
            base_revision=self.answerer.base_revision,
            adapter_id=adapter.row.id if adapter else None,
            prompt_fingerprint=prompt.fingerprint,
            prompt_tokens=usage.prompt_tokens if usage else prompt.tokens,
            answer_tokens=usage.answer_tokens if usage else 0,
            first_token_s=usage.first_token_s if usage else 0.0,
            total_s=usage.total_s if usage else 0.0,
            language_unsure=is_unsure(asked.language, asked.turn.question, answer),
        )

    async def _keep_if_possible(self, turn: Turn, answered: Answered, sources: Sequence[Source]) -> None:
        """Keep the answer. A record that takes nothing costs nobody an answer that is made already."""
        for pause in (*KEEP_AGAIN_S, None):
            try:
                await self._keep(turn, answered, sources)
                return
            except DatabaseError as error:
                if pause is None:
                    log.error("an answer is given that the record did not take", turn=turn.id, why=str(error))
                    late = asyncio.create_task(self._keep_late(turn, answered, sources))
                    self._kept_late.add(late)
                    late.add_done_callback(self._kept_late.discard)
                    return
                log.warning("an answer is brought to the record again", turn=turn.id, why=str(error))
                await asyncio.sleep(pause)

    async def _keep_late(self, turn: Turn, answered: Answered, sources: Sequence[Source]) -> None:
        """Keep an answer that was given before the record took it, as soon as it takes it."""
        while True:
            await asyncio.sleep(KEEP_AGAIN_S[-1])
            with contextlib.suppress(DatabaseError):
                await self._keep(turn, answered, sources)
                return

    async def _keep(self, turn: Turn, answered: Answered, sources: Sequence[Source]) -> None:
        async with self._core.database.session() as session:
            await journal.record_answer(session, _id(turn), answered)
            if sources:
                used = [Used(one.passage_id, one.content_hash, one.score) for one in sources]
                await passages.record_used(session, _id(turn), used)

    async def _note_failure(
        self, turn: Turn, adapter: _Chosen | None, error: Exception, *, kept: bool = False
    ) -> str:
        """Say why no answer came, or no whole one, in the log, then in the record; the reference of both."""
        reference = secrets.token_hex(4)
        label = str(adapter.files.version) if adapter else "base"
        outcome = "refused" if _explains_itself(error) else "failed"
        self._core.metrics.answers.labels(label, outcome).inc()
        if isinstance(error, ThumbloopError) and _explains_itself(error):
            log.warning("answer refused", turn=turn.id, reference=reference, reason=error.problem)
        elif isinstance(error, TimeoutError):
            log.error("answer took too long", turn=turn.id, reference=reference)
        else:
            log.error("answer failed", turn=turn.id, reference=reference, exc_info=error)
        async with self._core.database.session() as session:
            if kept:
                await journal.note_cut_off(session, _id(turn), reference)
            else:
                await journal.record_failure(
                    session, _id(turn), reference, adapter.row.id if adapter else None
                )
        return reference

    async def _note_cancelled(self, turn: Turn, partial: str) -> None:
        async with self._core.database.session() as session:
            await journal.record_cancelled(session, _id(turn), partial)


@dataclass(frozen=True)
class _Written:
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


@dataclass(frozen=True)
class _Ready:
    """An answer that no model made, and whose it is."""

    answer: str
    kind: AnswerKind
    sources: list[Source]


@dataclass(frozen=True)
class _Chosen:
    row: Adapter
    files: AdapterFiles


def _request(turn: Turn, adapter: _Chosen | None, prompt: Prompt, sampling: Sampling) -> AnswerRequest:
    if prompt.notes:
        sampling = replace(sampling, stop=(*sampling.stop, *MARKS))
    return AnswerRequest(
        messages=prompt.messages,
        adapter=adapter.files if adapter else None,
        sampling=sampling,
        community=str(turn.community_id),
    )


def _ready_made(asked: _Written, answerer: Answerer, ready: _Ready) -> Answered:
    return Answered(
        answer=ready.answer,
        mode=asked.mode,
        language=asked.language,
        base_model=answerer.base_model,
        base_revision=answerer.base_revision,
        answer_kind=ready.kind,
    )


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


def _explains_itself(error: Exception) -> bool:
    """Whether the error's sentence is all that is to be known; a broken model needs the log as well."""
    return isinstance(error, ThumbloopError) and not isinstance(error, AnsweringFailed)


async def _within(stream: AsyncGenerator[Piece, None], seconds: float) -> AsyncGenerator[Piece, None]:
    """The pieces of `stream`, all of them within `seconds`. Raises TimeoutError."""
    end = asyncio.get_running_loop().time() + seconds
    while True:
        try:
            async with asyncio.timeout_at(end):
                piece = await anext(stream)
        except StopAsyncIteration:
            return
        yield piece


def _quoted(reasoning: str) -> str:
    """Reasoning as Markdown's quotation."""
    return "".join(f"> {line}\n" for line in reasoning.strip().splitlines()).rstrip()


def _livelier(sampling: Sampling) -> Sampling:
    """Sampling under which the same question gets another answer."""
    return replace(sampling, temperature=max(sampling.temperature, LIVELY_TEMPERATURE), seed=None)


def _mode(member: Member, community: Community, fallback: Mode) -> Mode:
    chosen = member.default_mode or community.default_mode
    return cast(Mode, chosen) if chosen not in ("", "default") else fallback


def _language(community: Community, text: str) -> Language:
    if community.language in LANGUAGES:
        return community.language
    return language_of(text)
