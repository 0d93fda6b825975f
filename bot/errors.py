"""Errors of the service, grown from the root in `feedback.errors`.

ThumbloopError
├── PortTaken            an address to listen on is not to be had
├── NotAllowed           it takes a role that the person has not
├── EmptyQuestion        (a UsageError) nothing is asked
├── QuestionTooLong      (a UsageError) more is asked than is taken
└── AnsweringError
    ├── Busy             the queue is full; how many wait before the caller
    ├── PromptTooLong    the prompt leaves no room for an answer
    ├── AdapterRefused   the adapter cannot be served, and why
    ├── AnsweringFailed  the model or its server broke; carries nothing of the exception's text
    ├── TookTooLong      (an AnsweringFailed) no whole answer came in time
    └── Stopping         (an AnsweringFailed) the service ends
"""

from __future__ import annotations

from feedback.errors import ThumbloopError, UsageError
from feedback.plural import counted
from feedback.words import AdapterVersion


class PortTaken(ThumbloopError):
    """An address that a server should listen on is not to be had."""

    def __init__(self, host: str, port: int, reason: str, variable: str) -> None:
        self.host = host
        self.port = port
        super().__init__(
            f"Listening on {host}:{port} failed ({reason}).",
            f"Stop what listens there, or choose another port with {variable}.",
        )


class NotAllowed(ThumbloopError):
    """Somebody lacks the role that an action takes; `role` is one of `bot.access.actor.ROLES`."""

    def __init__(self, role: str) -> None:
        self.role = role
        super().__init__(f"Only {role}s may do that.", "Ask one of them.")


class EmptyQuestion(UsageError):
    """Nothing is asked."""

    def __init__(self) -> None:
        super().__init__("The question is empty.", "Write what you would like to know.")


class QuestionTooLong(UsageError):
    """More is asked than is taken."""

    def __init__(self, characters: int, allowed: int) -> None:
        self.characters = characters
        self.allowed = allowed
        super().__init__(
            f"The question has {counted(characters, 'character')}, and at most {allowed:,} are taken.",
            "Ask it in fewer words.",
        )


class AnsweringError(ThumbloopError):
    """A question could not be answered."""


class Busy(AnsweringError):
    """The queue is full."""

    def __init__(self, before_you: int) -> None:
        self.before_you = before_you
        super().__init__(
            f"Busy: {counted(before_you, 'question is', 'questions are')} waiting before you.",
            "Ask again in a minute.",
        )


class PromptTooLong(AnsweringError):
    """The prompt leaves no room for an answer."""

    def __init__(self, tokens: int, allowed: int) -> None:
        self.tokens = tokens
        self.allowed = allowed
        super().__init__(
            f"The question takes {counted(tokens, 'token')}, and at most {allowed} fit.",
            "Ask it in fewer words.",
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
    """The model, or the server that runs it, broke while answering; the log explains `reference`."""

    def __init__(self, problem: str, remedy: str = "", *, reference: str = "") -> None:
        self.reference = reference
        super().__init__(problem, remedy)


class TookTooLong(AnsweringFailed):
    """No whole answer came in time."""

    def __init__(self, reference: str) -> None:
        super().__init__(
            "The answer took too long and was stopped.",
            f"Ask again; if it goes on, tell the operator the reference {reference}.",
            reference=reference,
        )


class Stopping(AnsweringFailed):
    """The service ends, and with it the answer."""

    def __init__(self) -> None:
        super().__init__("The service is stopping.", "Ask again in a minute.")
