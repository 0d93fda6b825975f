"""Traces of answers: one from the question to the end, by the conventions, with nobody's words in it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bot import logs
from bot.errors import PromptTooLong
from bot.questions import Finished, Place, Question
from bot.settings import TracingSettings
from bot.tracing import AnswerTrace, collected
from feedback.database import Database
from tests.bot.assembly import Assembly
from tests.bot.test_logs import records, undisturbed
from tests.conftest import SQLITE
from tests.doubles.tiny_model import write_tiny_model
from tests.loopback import serving

__all__ = ["undisturbed"]
WORDS = "Where did Marmaduke hide the marmalade?"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """What has been collected."""
    kept, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)  # a process has one, for ever
    yield kept
    provider.shutdown()


@pytest.fixture
async def assembly(database: Database, tmp_path: Path) -> AsyncIterator[Assembly]:
    assembly = Assembly(database, tmp_path / "data", write_tiny_model(tmp_path / "models" / "tiny"))
    yield assembly
    await assembly.answerer.close()


def question(text: str = WORDS, number: int = 1) -> Question:
    return Question(Place("discord", "guild", "thread", "A guild"), "ada", f"message-{number}", text)


@SQLITE
async def test_an_answer_is_one_trace_with_the_lookup_and_the_model_under_it(
    assembly: Assembly, spans: InMemorySpanExporter
) -> None:
    async with contextlib.aclosing(assembly.assistant.ask(question())) as events:
        async for event in events:
            if isinstance(event, Finished):
                finished = event
                break  # as platforms do, which have what they wanted
    assert finished.usage is not None
    whole = named(spans, "answer")
    model, lookup = named(spans, "chat tiny"), named(spans, "retrieval")
    assert {one.context.trace_id for one in (whole, model, lookup)} == {whole.context.trace_id}
    assert model.parent is not None and model.parent.span_id == whole.context.span_id
    assert attributes(whole)["thumbloop.turn"] == finished.turn_id
    assert "error.type" not in attributes(whole)
    told = attributes(model)
    assert told["gen_ai.operation.name"] == "chat" and told["gen_ai.response.model"] == "base"
    assert told["gen_ai.usage.output_tokens"] == finished.usage.answer_tokens
    assert told["gen_ai.response.finish_reasons"] == (finished.usage.finish_reason,)
    assert told["gen_ai.response.time_to_first_chunk"] == finished.usage.first_token_s
    assert told["gen_ai.conversation.id"] == attributes(whole)["gen_ai.conversation.id"]


@SQLITE
async def test_nobodys_words_are_in_a_trace_or_in_the_log_and_one_id_is_in_all_its_lines(
    assembly: Assembly, spans: InMemorySpanExporter
) -> None:
    logs.configure(assembly.data)
    async for _ in assembly.assistant.ask(question()):
        pass
    with pytest.raises(PromptTooLong):
        async for _ in assembly.assistant.ask(question(f"{WORDS} " * 20, 2)):
            pass
    written = "".join(one.to_json() for one in spans.get_finished_spans())
    written += logs.log_file(assembly.data).read_text()
    assert "marmalade" not in written.casefold()
    by_question = [record["question"] for record in records(assembly.data) if "turn" in record]
    assert by_question == ["message-1", "message-2"]
    failed = [one for one in spans.get_finished_spans() if "error.type" in attributes(one)]
    assert {attributes(one)["error.type"] for one in failed} == {"PromptTooLong"}


async def test_our_traces_and_no_librarys_are_sent_where_the_settings_say() -> None:
    received: list[bytes] = []

    async def take(request: Request) -> Response:
        received.append(await request.body())
        return Response()

    collector = Starlette(routes=[Route("/v1/traces", take, methods=["POST"])])
    async with serving(collector) as url, collected(TracingSettings(endpoint=url)):
        AnswerTrace("discord").end()
        trace.get_tracer("fastapi").start_span(f"GET /review?search={WORDS}").end()
        provider: Any = trace.get_tracer_provider()
        await asyncio.to_thread(provider.force_flush)
    assert b"answer" in b"".join(received) and WORDS.encode() not in b"".join(received)


def named(spans: InMemorySpanExporter, name: str) -> ReadableSpan:
    (found,) = [one for one in spans.get_finished_spans() if one.name == name]
    return found


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})
