"""Errors of the service, grown from the root in `feedback.errors`.

ThumbloopError
├── PortTaken            an address to listen on is not to be had
├── NotAllowed           it takes a role that the person has not
├── ConsoleNotReachable  the console is open on its own machine only
├── DocumentsOff         this bot takes no documents
├── NotTheAsker          only who asked a question may do that with its answer
├── NotYourCard          only whose card it is may rate on it
├── EmptyQuestion        (a UsageError) nothing is asked
├── QuestionTooLong      (a UsageError) more is asked than is taken
├── DocumentRefused      a document cannot be read, and why
├── NotFetched           an address cannot or must not be fetched, and why
├── EmbeddingFailed      no vectors are to be had of texts, and why
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

from typing import Final, Literal

from feedback.errors import Conflict, ThumbloopError, UsageError
from feedback.plural import counted
from feedback.words import AdapterVersion

Refusal = Literal[
    "not there",
    "empty",
    "no text",
    "encrypted",
    "broken",
    "unsupported",
    "too large",
    "too many pages",
    "expands too much",
    "too long",
    "too much memory",
    "too much text",
    "ended",
]
"""Why a document is not taken. `too long` is about time, `ended` says that the parser stopped."""
Obstacle = Literal[
    "no address",
    "private",
    "unknown host",
    "robots",
    "unreachable",
    "too long",
    "too large",
    "redirects",
    "content type",
    "gone",
    "status",
]
"""Why an address is not fetched. `no address` is not http or https, `gone` says that nothing is there."""
_REFUSED: Final[dict[Refusal, tuple[str, str]]] = {
    "not there": ("cannot be opened", "Look whether it is there, and whether it may be read."),
    "empty": ("is empty", ""),
    "no text": ("holds no text", "Give it with its words as text; pictures are not read."),
    "encrypted": ("is encrypted", "Save it without a password, and add it again."),
    "broken": ("is broken and cannot be read", "Save it anew, and add it again."),
    "unsupported": (
        "is of a kind that is not read",
        "Give Markdown, HTML, PDF, DOCX, plain text, or CSV of question and answer.",
    ),
    "too large": ("is too large", "Give it in parts."),
    "too many pages": ("has too many pages", "Give it in parts."),
    "expands too much": ("is packed, and would unfold to too much", "Give it in parts."),
    "too long": ("took too long to read", "Give it in parts, or in another format."),
    "too much memory": ("took too much memory to read", "Give it in parts, or in another format."),
    "too much text": ("holds too much text", "Give it in parts."),
    "ended": ("made its parser stop", "Give it in another format."),
}
_OBSTACLES: Final[dict[Obstacle, tuple[str, str]]] = {
    "no address": ("It is no address of the web", "Write it with http:// or https:// before it."),
    "private": ("It leads into a private network", "The operator may allow that."),
    "unknown host": ("There is no such host", "Look whether it is written rightly."),
    "robots": ("Its robots.txt asks programs to stay away", "Ask its owner for the files."),
    "unreachable": ("Its server did not answer", "Try again later."),
    "too long": ("Its server took too long", "Try again later."),
    "too large": ("It is too large", "Give it in parts."),
    "redirects": ("Its server sends from one address to the next without end", "Name the last one."),
    "content type": ("It is of a kind that is not read", "Name a page or a document."),
    "gone": ("Nothing is there", "Look whether it is written rightly."),
    "status": ("Its server refused it", "Look at it in a browser; pages behind a sign-in are not read."),
}


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


class DocumentsOff(ThumbloopError):
    """This process keeps no documents, as one that serves another's model server alone."""

    is_public = True

    def __init__(self) -> None:
        super().__init__(
            "This bot takes no documents.", "The operator can switch that on: knowledge.enabled."
        )


class NotTheAsker(ThumbloopError):
    """Somebody wants what only who asked a question, or a moderator, may do with its answer."""

    is_public = True

    def __init__(self) -> None:
        super().__init__("Only the person who asked may do that.", "Ask the question yourself.")


class NotYourCard(ThumbloopError):
    """Somebody taps on another rater's card, where the answers stand in that one's order."""

    is_public = True

    def __init__(self) -> None:
        super().__init__("This card is somebody else's.", "Say /rate for one of your own.")


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


class DocumentRefused(ThumbloopError):
    """A document that is not taken; `name` is what it goes by, `detail` what more is known of the reason."""

    is_public = True
    in_general = "The document cannot be read."

    def __init__(self, name: str, why: Refusal, detail: str = "") -> None:
        self.name = name
        self.why = why
        self.detail = detail
        what, remedy = _REFUSED[why]
        more = f" ({detail})" if detail else ""
        super().__init__(f"{name} {what}{more}.", remedy, public=f"{name} {what}. {remedy}".strip())


class NotFetched(ThumbloopError):
    """An address that cannot or must not be fetched; `detail` is what more the operator is told."""

    is_public = True
    in_general = "The address cannot be fetched."

    def __init__(self, address: str, why: Obstacle, detail: str = "") -> None:
        self.address = address
        self.why = why
        self.detail = detail
        what, remedy = _OBSTACLES[why]
        more = f" ({detail})" if detail else ""
        failed = f"{address} was not fetched. {what}"
        super().__init__(f"{failed}{more}.", remedy, public=f"The address was not fetched. {what}. {remedy}")


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


class EmbeddingFailed(ThumbloopError):
    """No vectors are to be had: the embedding model or its server is not as the settings say."""
