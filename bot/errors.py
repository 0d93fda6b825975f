"""Errors of the service, grown from the root in `feedback.errors`.

ThumbloopError
└── AnsweringError
    ├── Busy             the queue is full; how many wait before the caller
    ├── PromptTooLong    the prompt leaves no room for an answer
    ├── AdapterRefused   the adapter cannot be served, and why
    └── AnsweringFailed  the model or its server broke; carries nothing of the exception's text
"""

from __future__ import annotations

from feedback.errors import ThumbloopError
from feedback.words import AdapterVersion


class AnsweringError(ThumbloopError):
    """A question could not be answered."""


class Busy(AnsweringError):
    """The queue is full."""

    def __init__(self, before_you: int) -> None:
        self.before_you = before_you
        super().__init__(f"Busy: {before_you} questions are waiting before you.", "Ask again in a minute.")


class PromptTooLong(AnsweringError):
    """The prompt leaves no room for an answer."""

    def __init__(self, tokens: int, allowed: int) -> None:
        self.tokens = tokens
        self.allowed = allowed
        super().__init__(
            f"The question takes {tokens} tokens, and at most {allowed} fit.", "Ask it in fewer words."
        )


class AdapterRefused(AnsweringError):
    """An adapter cannot be served."""

    def __init__(self, adapter: AdapterVersion, reason: str) -> None:
        self.adapter = adapter
        self.reason = reason
        super().__init__(
            f"The adapter {adapter} cannot be served: {reason}.", "The former one goes on serving."
        )


class AnsweringFailed(AnsweringError):
    """The model, or the server that runs it, broke while answering."""
