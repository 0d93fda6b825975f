"""The root of the error tree: errors that a person can act on.

ThumbloopError             what happened, to what, and what to do; `exit_status` for the command line
├── UsageError             the request itself is wrong (2)
├── SettingsError          a setting is unknown or has a wrong value (2)
├── DatabaseError          the record cannot be opened, read or written (1)
│   ├── SchemaTooNew       the database was written by a newer Thumbloop (1)
│   └── DatabaseLocked     another process keeps everybody else from writing (1)
├── NotFound               a turn, adapter, run … that does not exist (1)
└── Conflict               somebody else holds it, or it is already decided (1)

`training.errors` and `bot.errors` grow their own branches from ThumbloopError.
"""

from __future__ import annotations

from typing import ClassVar


class ThumbloopError(Exception):
    """An error whose text is a sentence for the person at the edge; it never carries a secret.

    `problem` says what happened and to what; `remedy` says what to do about it.
    """

    exit_status: ClassVar[int] = 1

    def __init__(self, problem: str, remedy: str = "") -> None:
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{problem} {remedy}".strip())


class UsageError(ThumbloopError):
    """The request itself cannot be carried out as it was put."""

    exit_status = 2


class SettingsError(ThumbloopError):
    """A setting is unknown or has a value that is not allowed."""

    exit_status = 2


class DatabaseError(ThumbloopError):
    """The record cannot be opened, read or written."""


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

    def __init__(self, kind: str, name: object, remedy: str = "") -> None:
        self.kind = kind
        self.name = name
        super().__init__(f"There is no {kind} {name}.", remedy)


class Conflict(ThumbloopError):
    """The state of a thing does not allow what was asked."""
