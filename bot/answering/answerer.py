"""The Answerer protocol: stream the answer to a prompt, from the base model or one of its adapters.

Leaves to others: what the prompt says (`prompt.py`), which adapter serves a community (the registry),
what is logged (`assistant.py`). Adapters are named by content, not by name alone: `AdapterFiles`
carries the hash under which an implementation may keep cached state.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, TypedDict

from feedback.words import AdapterVersion

FinishReason = Literal["stop", "length", "cancelled"]


class Message(TypedDict):
    """One chat message, as chat templates and OpenAI-compatible servers take it."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class AdapterFiles:
    """A verified adapter on disk: `content_hash` is the SHA-256 of its folder's manifest, in hex."""

    version: AdapterVersion
    folder: Path
    content_hash: str


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen.

    `temperature` 0 is greedy. `top_p` in (0, 1]. `repetition_penalty` as in CTRL (Keskar et al. 2019),
    1.0 is none. `seed` None draws afresh each time. `max_new_tokens` counts answer tokens.
    `stop` strings end the answer and are not part of it.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    max_new_tokens: int = 256
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class AnswerRequest:
    """One question, ready to be answered.

    Communities share the queue fairly: a flood from one `community` never starves another.
    `adapter` None means the base model alone.
    """

    messages: Sequence[Message]
    adapter: AdapterFiles | None = None
    sampling: Sampling = field(default_factory=Sampling)
    community: str = ""


@dataclass(frozen=True)
class Usage:
    """What an answer cost: tokens of prompt and answer, seconds until the first token and in all."""

    prompt_tokens: int
    answer_tokens: int
    first_token_s: float
    total_s: float
    finish_reason: FinishReason


@dataclass(frozen=True)
class Piece:
    """A piece of the answer on whole characters; `usage` comes with the last piece only.

    `reasoning` is what the model thinks before it answers, and no part of the answer. `starts_over`: what
    was said until now was reasoning after all, and the answer begins with this piece.
    """

    text: str
    usage: Usage | None = None
    reasoning: str = ""
    starts_over: bool = False


class Answerer(Protocol):
    """Streams answers. One instance serves many callers at once; all methods run on one event loop."""

    @property
    def base_model(self) -> str:
        """Name of the base model, as turns record it."""

    @property
    def base_revision(self) -> str:
        """Revision or content hash of the base model, as turns record it."""

    @property
    def context_tokens(self) -> int:
        """The most tokens that prompt and answer may take together."""

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of the prompt that `messages` make, the generation prompt included."""

    def stream(self, request: AnswerRequest) -> AsyncGenerator[Piece, None]:
        """Answer `request` piece by piece; closing the iterator cancels the work.

        Raises Busy when the queue is full, PromptTooLong when no room for an answer is left,
        AdapterRefused when the adapter cannot be served, AnsweringFailed when the model breaks.
        """

    async def load(self, adapter: AdapterFiles) -> None:
        """Make `adapter` ready before its first question. Raises AdapterRefused with the reason."""

    async def unload(self, adapter: AdapterFiles) -> None:
        """Give the adapter's memory back once no answer under way uses it."""

    async def check(self) -> None:
        """Raise AnsweringFailed, saying why, when no answer can be given now."""

    async def close(self) -> None:
        """Cancel what is under way and free the model."""
