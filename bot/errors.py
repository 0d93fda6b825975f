"""Errors of the service, grown from the root in `feedback.errors`.

ThumbloopError
├── PortTaken            an address to listen on is not to be had
├── NotAllowed           it takes a role that the person has not
├── ConsoleNotReachable  the console is open on its own machine only
├── NotTheAsker          only who asked a question may do that with its answer
├── EmptyQuestion        (a UsageError) nothing is asked
├── QuestionTooLong      (a UsageError) more is asked than is taken
└── AnsweringError
    ├── Busy             the queue is full; how many wait before the caller
    ├── PromptTooLong    the prompt leaves no room for an answer
    ├── AdapterRefused   the adapter cannot be served, and why
    ├── AnsweringFailed  the model or its server broke; carries nothing of the exception's text
    ├── TookTooLong      (an AnsweringFailed) no whole answer came in time
    └── Stopping         (an AnsweringFailed) the service ends
BeingAnswered            (a Conflict) the same message is being answered already
"""

from __future__ import annotations

from feedback.errors import Conflict, ThumbloopError, UsageError
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

    is_public = True

    def __init__(self, role: str) -> None:
        self.role = role
        super().__init__(f"Only {role}s may do that.", "Ask one of them.")


class ConsoleNotReachable(ThumbloopError):
    """Nobody can sign in to the console from elsewhere, because it has no address there."""

    is_public = True

    def __init__(self) -> None:
        super().__init__(
            "The console can be opened on its own machine only.",
            "The operator can give it an address for everybody: web.public_url.",
        )


class NotTheAsker(ThumbloopError):
    """Somebody wants what only who asked a question, or a moderator, may do with its answer."""

    is_public = True

    def __init__(self) -> None:
        super().__init__("Only the person who asked may do that.", "Ask the question yourself.")


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


class BeingAnswered(Conflict):
    """The same message is being answered already."""

    def __init__(self) -> None:
        super().__init__("This question is being answered already.", "Wait for the answer.")


class AnsweringError(ThumbloopError):
    """A question could not be answered."""

    is_public = True
    in_general = "The question could not be answered."


class Busy(AnsweringError):
    """The queue is full."""

    def __init__(self, before_you: int) -> None:
        self.before_you = before_you
        super().__init__(
            f"Busy: {counted(before_you, 'question is', 'questions are')} waiting before you.",
            "Ask again in a minute.",
        )


class PromptTooLong(AnsweringError):
    """The prompt leaves no room for an answer; `tokens` None: so much too long that nobody counted them."""

    def __init__(self, tokens: int | None, allowed: int) -> None:
        self.tokens = tokens
        self.allowed = allowed
        super().__init__(
            f"The question takes {counted(tokens, 'token')}, and at most {allowed} fit."
            if tokens is not None
            else f"The question is far too long: at most {allowed} tokens fit.",
            "Ask it in fewer words.",
        )


class AdapterRefused(AnsweringError):
    """An adapter cannot be served; `detail` is what more the operator is told."""

    def __init__(self, adapter: AdapterVersion, reason: str, *, detail: str = "") -> None:
        self.adapter = adapter
        self.reason = reason
        told = f"{reason}; {detail}" if detail else reason
        refused, meanwhile = f"The adapter {adapter} cannot be served", "The former one goes on serving."
        super().__init__(f"{refused}: {told}.", meanwhile, public=f"{refused}: {reason}. {meanwhile}")


class AnsweringFailed(AnsweringError):
    """The model, or the server that runs it, broke while answering; the log explains `reference`."""

    def __init__(self, problem: str, remedy: str = "", *, reference: str = "") -> None:
        self.reference = reference
        super().__init__(problem, remedy)


class TookTooLong(AnsweringFailed):
    """No whole answer came in time.

    `turn_id` is the question's turn, None where it is not known; what `adapter` (a label, or `base`) had said
    is kept as its answer if `kept`.
    """

    def __init__(
        self, reference: str, *, turn_id: int | None = None, adapter: str = "base", kept: bool = False
    ) -> None:
        self.turn_id = turn_id
        self.adapter = adapter
        self.kept = kept
        super().__init__(
            "The answer took too long and was stopped.",
            f"Ask again; if it goes on, tell the operator the reference {reference}.",
            reference=reference,
        )


class Stopping(AnsweringFailed):
    """The service ends, and with it the answer."""

    def __init__(self) -> None:
        super().__init__("The service is stopping.", "Ask again in a minute.")
