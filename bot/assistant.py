"""The one place where a question becomes an answer.

Writes the question down before it is answered and the answer before it is called finished, so nothing
that was said is lost. Blind to platforms: they bring a `Question` and show the events that come back.
Leaves to others: prompts (`answering.prompt`), generation (an `Answerer`), which adapter serves
(`training.adapters`), and what is written (`turn_record`).
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, cast

import structlog
from structlog.contextvars import bind_contextvars, unbind_contextvars

from bot.answer_text import AnswerText
from bot.answering.adapter_files import verified_files
from bot.answering.answerer import AdapterFiles, Answerer, AnswerRequest, Piece, Sampling, Usage
from bot.answering.prompt import Prompt, build_prompt, clean_question, prompt_as_given
from bot.answering.token_budget import characters_of, off_loop_if_long
from bot.core import Core
from bot.errors import (
    AnsweringFailed,
    BeingAnswered,
    EmbeddingFailed,
    Stopping,
    TookTooLong,
)
from bot.knowledge.fit import asked_before, fits
from bot.knowledge.knowledge import Knowledge, Source, note_of
from bot.questions import Finished, Place, Question, TextPiece
from bot.texts import NOT_KNOWN, NOT_KNOWN_ASK
from bot.tracing import AnswerTrace
from bot.turn_record import Asked, TurnRecord, explains_itself
from feedback import journal
from feedback.cancellation import to_its_end
from feedback.errors import Conflict, DatabaseError, NotFound, SettingsError, ThumbloopError
from feedback.journal import Answered
from feedback.tables import Adapter, Turn
from feedback.words import (
    AdapterVersion,
    AnswerKind,
    Mode,
)
from training.adapters import registry
from training.data.language import is_unsure
from training.model.notes import MARKS

LIVELY_TEMPERATURE: Final = 0.8
"""The least temperature of a regenerated answer: the likeliest one was given already."""
CLOSING_SECONDS: Final = 3.0
"""How long answers may still take when the service ends, and after that, to be written down."""

ADAPTERS: Final = "adapters"
"""The component of the service's health that the adapters in service are."""

log = structlog.get_logger(__name__)


def refused_in_service(labels: Sequence[str]) -> str:
    """What health says of adapters that should serve and cannot."""
    return f"Refused, so the base model answers in their place: {', '.join(labels)}. The log says why."


@dataclass(frozen=True)
class LookupOptions:
    """What is done with what was looked up.

    `passages` go into the prompt at most, `notes_share` is the share of it that they may take beside a
    conversation. A question whose words are alike by `approved_text` to one with an approved answer gets that
    text itself, and one that nothing fits by `least_fit` is told so, with `where_to_ask`; None does neither.
    """

    passages: int = 3
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
    """Answers questions; one instance for all platforms of a service."""

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
        self._record = TurnRecord(core, history_turns=options.history_turns, mode=options.mode)
        self._under_way: set[tuple[str, str, str]] = set()
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
        await self._record.close()

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
                        if isinstance(event, Finished):
                            spans.end()  # who has this listens no longer
                        yield event
        except BaseException as error:
            spans.end(error)
            raise

    async def _traced_answer(
        self, question: Question, spans: AnswerTrace
    ) -> AsyncGenerator[TextPiece | Finished, None]:
        text = clean_question(question.text, self.options.max_question_characters)
        asked = await self._record.write_down(question, text)
        spans.asked(asked.turn_id, asked.turn.conversation_id)
        if asked.turn.state == "erased":
            raise Conflict("This question was erased; there is nothing left to answer.", "Ask it anew.")
        if asked.turn.state == "answered":
            yield TextPiece(asked.turn.answer)
            yield _given_before(asked)
            return
        attempt = _Attempt(asked, AnswerText(show_reasoning=self.options.show_reasoning))
        try:
            async with contextlib.aclosing(self._attempt(question, attempt, spans)) as events:
                async for event in events:
                    yield event
        except Stopping:
            raise
        except Exception as error:
            attempt.settled = True
            told = await to_its_end(self._told(error, attempt))
            if told is error:
                raise
            raise told from error
        finally:
            if not attempt.settled:  # cancelled, or the caller stopped listening, or the service ends
                self._core.metrics.answers.labels(attempt.label, "stopped").inc()
                await to_its_end(self._record.note_cancelled(asked.turn_id, attempt.text.so_far))

    async def _attempt(
        self, question: Question, attempt: _Attempt, spans: AnswerTrace
    ) -> AsyncGenerator[TextPiece | Finished, None]:
        """The answer, kept before it is called finished; `attempt` follows how far it is."""
        asked, text = attempt.asked, attempt.text
        with spans.step("retrieval"):
            found = await self._retrieved(asked)
        if ready := self._without_model(question, asked, found):
            yield TextPiece(ready.answer)
            await self._record.keep_or_give(asked.turn_id, self._ready_made(asked, ready), ready.sources)
            attempt.settled = True
            yield Finished(
                asked.turn_id,
                ready.answer,
                registry.BASE,
                None,
                sources=tuple(ready.sources),
                kind=ready.kind,
            )
            return
        attempt.adapter, prompt = await self._prepare(question, asked, found)
        attempt.prompt, attempt.sources = prompt, [found[place] for place in prompt.notes]
        request = _request(asked.turn, attempt.adapter, prompt, question.sampling or self.options.sampling)
        spans.model_begins(self.answerer.base_model, attempt.label, request.sampling)
        usage: Usage | None = None
        async with contextlib.aclosing(self.answerer.stream(request)) as stream:
            async for piece in _within(stream, self.options.answer_seconds):
                usage = piece.usage or usage
                for shown in text.take(piece):
                    yield shown
        spans.model_ends(usage)
        if usage is not None and usage.finish_reason == "cancelled":  # the answerer was closed
            raise Stopping
        if text.only_reasoned:
            log.warning(
                "the model only reasoned; raise answering.max_new_tokens, or set thinking=off",
                turn=asked.turn_id,
            )
            raise AnsweringFailed("The model thought about this for so long that no answer came of it.")
        generated = self._generated(attempt, prompt, usage)
        await self._record.keep_or_give(asked.turn_id, generated, attempt.sources)
        attempt.settled = True
        if usage is not None:
            self.count_answer(attempt.adapter.files.version if attempt.adapter else None, usage)
            log.info(
                "answered",
                turn=asked.turn_id,
                adapter=attempt.label,
                tokens=usage.answer_tokens,
                first_token_s=round(usage.first_token_s, 3),
                total_s=round(usage.total_s, 3),
            )
        yield Finished(
            asked.turn_id, text.answer, attempt.label, usage, text.shown_reasoning, tuple(attempt.sources)
        )

    async def _told(self, error: Exception, attempt: _Attempt) -> Exception:
        """What the asker is told of an answer that broke off, once log and record know of it."""
        turn_id, row = attempt.asked.turn_id, attempt.adapter.row if attempt.adapter else None
        if isinstance(error, TimeoutError):
            kept = attempt.prompt is not None and bool(attempt.text.answer)
            if attempt.prompt is not None and kept:  # votes and a "continue" belong to it as to a whole one
                cut_off = self._generated(attempt, attempt.prompt, None)
                await self._record.keep(turn_id, cut_off, attempt.sources)
            reference = await self._record.note_failure(turn_id, row, error, kept=kept)
            return TookTooLong(reference, turn_id=turn_id, adapter=attempt.label, kept=kept)
        reference = await self._record.note_failure(turn_id, row, error)
        if explains_itself(error):
            return error
        known = error if isinstance(error, AnsweringFailed) else None
        problem, remedy = (known.problem, known.remedy) if known else ("The answer failed.", "Ask again.")
        return AnsweringFailed(
            problem,
            f"{remedy} If it goes on, tell the operator the reference {reference}.".strip(),
            reference=reference,
        )

    async def once_more(self, place: Place, member: str, turn_id: int) -> Question:
        """The question that answers a turn's question anew, as a turn of its own and less predictably.

        Raises NotFound when there is no such turn here, and Conflict when its texts were erased.
        """
        async with self._core.database.session(read_only=True) as session:
            community = await journal.community_of(session, place.platform, place.community)
            turn = await journal.turn_in(session, turn_id, community)
            first = await journal.find_turn(session, turn.regenerates_id or turn_id)
            number = await journal.count_regenerated(session, first.id or 0) + 1
        if first.state == "erased":
            raise Conflict(f"Turn {turn_id} was erased; there is nothing left to answer.")
        return Question(
            place=place,
            member=member,
            external_id=f"{first.external_id}.{number}",
            text=first.question,
            mode=cast(Mode, first.mode),
            sampling=_livelier(self.options.sampling),
            regenerates=first.id,
        )

    async def draft(self, turn_id: int) -> AsyncGenerator[str, None]:
        """Another answer to a turn's question, for whoever reviews it: again and again what is said so far.

        By what serves its community now, less predictably, and kept nowhere; after `answer_seconds` it ends
        as far as it is. Raises NotFound, Stopping and AnsweringError.
        """
        with self.answering():
            asked, question = await self._record.asked_anew(turn_id)
            adapter, prompt = await self._prepare(question, asked, await self._retrieved(asked))
            request = _request(asked.turn, adapter, prompt, _livelier(self.options.sampling))
            said = ""
            async with contextlib.aclosing(self.answerer.stream(request)) as stream:
                with contextlib.suppress(TimeoutError):
                    async for piece in _within(stream, self.options.answer_seconds):
                        said = piece.text if piece.starts_over else said + piece.text
                        yield said.strip()

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

    async def make_ready(self, adapter: Adapter) -> AdapterFiles:
        """Verify an adapter's files and load them. Raises AdapterError or AdapterRefused with the reason."""
        files = await self._files(adapter)
        await self.answerer.load(files)
        return files

    async def _retrieved(self, asked: Asked) -> list[Source]:
        """What the community's knowledge has for the question; a broken index costs nobody an answer."""
        if self.knowledge is None or not asked.has_knowledge:
            return []
        try:
            return await self.knowledge.retrieve(asked.turn.community_id, asked.turn.question, asked.language)
        except (DatabaseError, EmbeddingFailed) as error:
            log.warning("answered without knowledge", turn=asked.turn.id, why=str(error))
            return []

    async def _prepare(
        self, question: Question, asked: Asked, sources: Sequence[Source]
    ) -> tuple[_Chosen | None, Prompt]:
        adapter = await self._ready(question, asked.adapter)
        earlier = question.earlier or ()
        history = sum(len(exchange.question) + len(exchange.answer) for exchange in asked.history)
        found = sum(len(source.text) for source in sources)
        characters = len(asked.turn.question) + (characters_of(earlier) or history) + found
        return adapter, await off_loop_if_long(characters, partial(self._prompt, question, asked, sources))

    def _prompt(self, question: Question, asked: Asked, sources: Sequence[Source]) -> Prompt:
        notes = [note_of(source) for source in sources[: self.options.lookup.passages]]
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
            known = await asyncio.to_thread(verified_files, self._core.data, adapter, self._core.model)
            self._verified[adapter.id or 0] = known
        return known

    def _without_model(self, question: Question, asked: Asked, sources: Sequence[Source]) -> _Ready | None:
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

    def _generated(self, attempt: _Attempt, prompt: Prompt, usage: Usage | None) -> Answered:
        asked, answer = attempt.asked, attempt.text.answer
        return Answered(
            answer=answer,
            mode=asked.mode,
            language=asked.language,
            base_model=self.answerer.base_model,
            base_revision=self.answerer.base_revision,
            adapter_id=attempt.adapter.row.id if attempt.adapter else None,
            prompt_fingerprint=prompt.fingerprint,
            prompt_tokens=usage.prompt_tokens if usage else prompt.tokens,
            answer_tokens=usage.answer_tokens if usage else 0,
            first_token_s=usage.first_token_s if usage else 0.0,
            total_s=usage.total_s if usage else 0.0,
            language_unsure=is_unsure(asked.language, asked.turn.question, answer),
        )

    def _ready_made(self, asked: Asked, ready: _Ready) -> Answered:
        return Answered(
            answer=ready.answer,
            mode=asked.mode,
            language=asked.language,
            base_model=self.answerer.base_model,
            base_revision=self.answerer.base_revision,
            answer_kind=ready.kind,
        )


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


@dataclass
class _Attempt:
    """An answer under way. `settled` says that the record has, or will have, what became of it."""

    asked: Asked
    text: AnswerText
    adapter: _Chosen | None = None
    prompt: Prompt | None = None
    sources: list[Source] = field(default_factory=list)
    settled: bool = False

    @property
    def label(self) -> str:
        """What answers, as people and metrics name it."""
        return registry.label(self.adapter.row) if self.adapter else registry.BASE


def _request(turn: Turn, adapter: _Chosen | None, prompt: Prompt, sampling: Sampling) -> AnswerRequest:
    if prompt.notes:
        sampling = replace(sampling, stop=(*sampling.stop, *MARKS))
    return AnswerRequest(
        messages=prompt.messages,
        adapter=adapter.files if adapter else None,
        sampling=sampling,
        community=str(turn.community_id),
    )


def _given_before(asked: Asked) -> Finished:
    turn, adapter = asked.turn, asked.adapter
    label = registry.label(adapter) if isinstance(adapter, Adapter) else registry.BASE
    kind = cast(AnswerKind, turn.answer_kind)
    return Finished(asked.turn_id, turn.answer, label, None, sources=tuple(asked.sources), kind=kind)


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


def _livelier(sampling: Sampling) -> Sampling:
    """Sampling under which the same question gets another answer."""
    return replace(sampling, temperature=max(sampling.temperature, LIVELY_TEMPERATURE), seed=None)
