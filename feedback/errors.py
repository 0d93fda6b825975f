"""The root of the error tree: errors that a person can act on.

ThumbloopError             what happened, to what, and what to do; `exit_status` for the command line
├── UsageError             the request itself is wrong (2)
├── SettingsError          a setting is unknown or has a wrong value (2)
├── DatabaseError          the record cannot be opened, read or written (1)
│   ├── SchemaTooNew       the database was written by a newer Thumbloop (1)
│   └── DatabaseLocked     another process keeps everybody else from writing (1)
├── NotFound               a turn, adapter, run … that does not exist (1)
└── Conflict               the state of a thing does not allow what was asked (1)
    ├── AlreadyDecided     somebody decided on a turn before whoever decides now
    └── AlreadyClaimed     a turn is before another moderator

`training.errors` and `bot.errors` grow their own branches from ThumbloopError. The operator reads all of an
error, at the command line and in the log; members and callers of the API read its `public` sentence.
"""

from __future__ import annotations

import re
from typing import ClassVar, Final

from feedback.words import ReviewState

_INTERNAL: Final = re.compile(
    r"(?:[\w.~-]*/){2,}[\w.-]|[A-Za-z]:\\|\w://|\bTHUMBLOOP_|`thumbloop\b|(?<!\w)--[a-z]"
)
"""A path, an address, a setting or a command line. Errors are raised in many places, with texts of many
origins: a sentence that should be public and holds one of these is withheld rather than shown."""


class ThumbloopError(Exception):
    """An error whose text is a sentence for the operator; it never carries a secret.

    `problem` says what happened and to what; `remedy` says what to do about it. `public` is what anybody may
    read: the sentence given for that, or the error's own where `is_public` says that it is about the request
    and not the installation, or what the class says of all its errors. `withholds` says whether it leaves out
    what happened, so that the log must be asked.
    """

    exit_status: ClassVar[int] = 1
    is_public: ClassVar[bool] = False
    in_general: ClassVar[str] = ""

    def __init__(self, problem: str, remedy: str = "", *, public: str | None = None) -> None:
        self.problem = problem
        self.remedy = remedy
        if public is None:
            public = (
                f"{problem} {'' if _INTERNAL.search(remedy) else remedy}".strip() if self.is_public else ""
            )
        withheld = not public or _INTERNAL.search(public) is not None
        self.public = self.in_general if withheld else public
        self.withholds = withheld or not self.is_public
        super().__init__(f"{problem} {remedy}".strip())


class UsageError(ThumbloopError):
    """The request itself cannot be carried out as it was put."""

    exit_status = 2
    is_public = True
    in_general = "That cannot be done as it was asked."


class SettingsError(ThumbloopError):
    """A setting is unknown or has a value that is not allowed."""

    exit_status = 2


class DatabaseError(ThumbloopError):
    """The record cannot be opened, read or written."""

    in_general = "The service cannot read or write its record at the moment."


class SchemaTooNew(DatabaseError):
    """The database was upgraded by a newer Thumbloop than this one."""

    def __init__(self, found: str, known: str) -> None:
        self.found = found
        self.known = known
        super().__init__(
            f"The database has schema {found}, newer than the schema {known} of this Thumbloop.",
            "Install the newer Thumbloop again, or restore the backup made before the upgrade.",
        )


class DatabaseLocked(DatabaseError):
    """Another process has kept the SQLite file's write lock longer than a session waits for it."""


class NotFound(ThumbloopError):
    """What was asked for does not exist."""

    is_public = True
    in_general = "That does not exist."

    def __init__(self, kind: str, name: object, remedy: str = "") -> None:
        self.kind = kind
        self.name = name
        super().__init__(f"There is no {kind} {name}.", remedy)


class Conflict(ThumbloopError):
    """The state of a thing does not allow what was asked."""

    is_public = True
    in_general = "That is not possible now."


class AlreadyDecided(Conflict):
    """Somebody decided on a turn before: `reviewer`, by review `review_id`; the turn is `state` since."""

    def __init__(self, turn_id: int, *, state: ReviewState, reviewer: str, review_id: int) -> None:
        self.turn_id = turn_id
        self.state = state
        self.reviewer = reviewer
        self.review_id = review_id
        super().__init__(
            f"Turn {turn_id} was already {state} by {reviewer}.", "Undo that decision first, or leave it."
        )


class AlreadyClaimed(Conflict):
    """A turn is before another moderator, `claimed_by`, who has not decided yet."""

    def __init__(self, turn_id: int, claimed_by: str) -> None:
        self.turn_id = turn_id
        self.claimed_by = claimed_by
        super().__init__(f"Turn {turn_id} is before {claimed_by} now.", "Leave it, or try again later.")
