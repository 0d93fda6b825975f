"""Traces of answers for OpenTelemetry, where the settings name who collects them.

One span for the whole answer, with the lookup and the model's part under it. Names and attributes are those
of the semantic conventions for generative AI, which have a repository of their own since their v0.1
(https://github.com/open-telemetry/semantic-conventions-genai, docs/gen-ai/client-inference.md); no question,
answer or person is in them.
OpenTelemetry's API costs nothing while nobody collects; what collects is the optional package
`thumbloop[traces]`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from bot.answering.answerer import Sampling, Usage
from bot.settings import TracingSettings
from feedback.errors import SettingsError

SERVICE: Final = "thumbloop"
PROVIDER: Final = "thumbloop"
"""What the conventions call who runs the model, for one that they have no name for."""


class AnswerTrace:
    """The spans of one answer. Nothing is current: what answers is suspended between its pieces."""

    def __init__(self, platform: str) -> None:
        self._tracer = trace.get_tracer(SERVICE)
        # a library's span that is current here is collected by nobody
        self._whole = self._tracer.start_span(
            "answer", context=Context(), attributes={"thumbloop.platform": platform}
        )
        self._model: Span | None = None
        self._conversation: dict[str, str] = {}

    def asked(self, turn_id: int, conversation_id: int) -> None:
        """The question is in the record."""
        self._conversation = {"gen_ai.conversation.id": str(conversation_id)}
        self._whole.set_attributes({"thumbloop.turn": turn_id, **self._conversation})

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """A part of the work."""
        span = self._begin(name, SpanKind.INTERNAL)
        try:
            yield
        finally:
            span.end()

    def model_begins(self, model: str, adapter: str, sampling: Sampling) -> None:
        """The model is asked."""
        self._model = self._begin(f"chat {model}", SpanKind.CLIENT)
        self._model.set_attributes(
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": PROVIDER,
                **self._conversation,
                "gen_ai.request.model": model,
                "gen_ai.response.model": adapter,
                "gen_ai.request.temperature": sampling.temperature,
                "gen_ai.request.top_p": sampling.top_p,
                "gen_ai.request.max_tokens": sampling.max_new_tokens,
                "gen_ai.request.stream": True,
            }
        )

    def model_ends(self, usage: Usage | None) -> None:
        """The model has said all."""
        if self._model is None:
            return
        if usage is not None:
            self._model.set_attributes(
                {
                    "gen_ai.usage.input_tokens": usage.prompt_tokens,
                    "gen_ai.usage.output_tokens": usage.answer_tokens,
                    "gen_ai.response.finish_reasons": [usage.finish_reason],
                    "gen_ai.response.time_to_first_chunk": usage.first_token_s,
                }
            )
        self._model.end()
        self._model = None

    def end(self, error: BaseException | None = None) -> None:
        """The answer has ended, well or by that error, of which the kind is told and no text; once."""
        for span in (self._model, self._whole):
            if span is None or not span.is_recording():
                continue
            if error is not None:
                span.set_attribute("error.type", type(error).__name__)
                span.set_status(Status(StatusCode.ERROR))
            span.end()

    def _begin(self, name: str, kind: SpanKind) -> Span:
        return self._tracer.start_span(name, context=trace.set_span_in_context(self._whole), kind=kind)


@asynccontextmanager
async def collected(settings: TracingSettings) -> AsyncIterator[None]:
    """Within the block our traces are sent where the settings say, and no library's, which may hold words.

    Raises SettingsError without the package.
    """
    if not settings.endpoint:
        yield
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise SettingsError(
            "The setting tracing.endpoint asks for traces, and OpenTelemetry's SDK is not installed.",
            "pip install 'thumbloop[traces]', or leave tracing.endpoint empty.",
        ) from error

    class OwnSpans(BatchSpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            if span.instrumentation_scope is not None and span.instrumentation_scope.name == SERVICE:
                super().on_end(span)

    provider = TracerProvider(resource=Resource.create({"service.name": SERVICE}))
    exporter = OTLPSpanExporter(endpoint=f"{settings.endpoint.rstrip('/')}/v1/traces")
    provider.add_span_processor(OwnSpans(exporter))
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        await asyncio.to_thread(provider.shutdown)
