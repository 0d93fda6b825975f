"""A chat completion request, read strictly where it matters: what cannot be honoured is refused, not ignored.

Unknown fields that ask for nothing (`metadata`, `store`, `service_tier` …) are left alone, as OpenAI adds
them faster than anybody follows.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from bot.answering.answerer import Message, Sampling
from bot.api.errors import ApiError

MOST_STOPS: Final = 16

_NEUTRAL: Final[dict[str, tuple[Any, ...]]] = {
    "n": (1,),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
}
"""What is not supported, and the values that ask for nothing."""

StopString = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class TextPart(BaseModel):
    """A part of a message; other kinds than text are not understood."""

    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    """A message of the conversation; `developer` is the newer name of `system`."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]

    @field_validator("content", mode="before")
    @classmethod
    def _only_text(cls, content: Any) -> Any:
        """Says in words what clients send most often that is no text; other mistakes pydantic explains."""
        if content is None:
            raise PydanticCustomError(
                "no_text",
                "it is null, as beside tool calls, which are not supported; send the message's text, "
                "or leave the message out",
            )
        for part in content if isinstance(content, list) else ():
            kind = part.get("type") if isinstance(part, dict) else None
            if isinstance(kind, str) and kind != "text":
                raise PydanticCustomError(
                    "not_text",
                    "it has a part of type {kind}, and the models here read text only; "
                    "send parts of type text, or a plain string",
                    {"kind": repr(kind[:40])},
                )
        return content

    def as_message(self) -> Message:
        """The message as chat templates take it."""
        content = (
            self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        )
        return {"role": "system" if self.role == "developer" else self.role, "content": content}


class StreamOptions(BaseModel):
    """How the stream is to be."""

    include_usage: bool | None = None


class ChatRequest(BaseModel):
    """What is asked. `repetition_penalty` is vLLM's; None is the service's own setting, as for the others."""

    model_config = ConfigDict(extra="allow")

    model: str = Field(min_length=1, max_length=256)
    messages: list[ChatMessage] = Field(min_length=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    repetition_penalty: float | None = Field(default=None, gt=0, le=2)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    stop: StopString | list[StopString] | None = None
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = Field(default=None, max_length=256)

    @property
    def wants_usage(self) -> bool:
        """Whether the stream ends with the usage."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def as_messages(self) -> list[Message]:
        """The messages as chat templates take them; the last one is the question."""
        return [message.as_message() for message in self.messages]

    def sampling(self, default: Sampling) -> Sampling:
        """How tokens are chosen; what the request leaves open is as in `default`."""
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return Sampling(
            temperature=default.temperature if self.temperature is None else self.temperature,
            top_p=default.top_p if self.top_p is None else self.top_p,
            repetition_penalty=(
                default.repetition_penalty if self.repetition_penalty is None else self.repetition_penalty
            ),
            seed=default.seed if self.seed is None else self.seed,
            max_new_tokens=self.max_completion_tokens or self.max_tokens or default.max_new_tokens,
            stop=tuple(stop) or default.stop,
        )


def read_request(body: bytes) -> ChatRequest:
    """The request in `body`. Raises ApiError naming the field, what is wrong, and what can be done."""
    try:
        request = ChatRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        where = f"The field {field}" if field else "The body"
        raise ApiError(400, f"{where} cannot be taken: {first['msg']}.", param=field or None) from None
    for name, neutral in _NEUTRAL.items():
        wanted = (request.model_extra or {}).get(name)
        if wanted is not None and wanted not in neutral:
            raise ApiError(
                400,
                f"{name} is not supported here; leave it out.",
                param=name,
                code="unsupported_parameter",
            )
    if isinstance(request.stop, list) and len(request.stop) > MOST_STOPS:
        raise ApiError(400, f"At most {MOST_STOPS} stop strings are taken.", param="stop")
    if request.messages[-1].role != "user":
        raise ApiError(400, "The last message must be the user's: it is the question.", param="messages")
    return request
