"""Errors on the way from reviewed turns to a verdict, grown from the root in `feedback.errors`.

ThumbloopError
├── ModelError          the base model cannot be found, converted or loaded
├── ConversationRefused (a UsageError) the model's chat template does not take a conversation; says why
├── AdapterError        an adapter folder is missing, corrupt or does not fit
├── PairsError          a file of pairs cannot be read; says which line
├── NotEnoughPairs      too few approved pairs to train on
├── ReviewsQuarantined  what there is to train on waits for the operator's word
├── NotDue              too little is new for a scheduled run
├── TrainingError       a run failed; nothing half-written is left
│   ├── TrainingInterrupted  a process of it died; its last checkpoint is kept
│   ├── DiskTooFull     the disk might be full before it ends, so it does not begin
│   └── TakenForDead    another machine closed it, as no sign of life came
├── RunUnderWay         another run holds the lock
└── NotTrainedHere      no adapter of that name is set up to be trained
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from feedback.errors import Conflict, NotFound, ThumbloopError, UsageError
from feedback.plural import counted, plural

_REASON_CHARACTERS: Final = 300
"""As much of a template's own reason as is shown; a template may raise any text."""


class ModelError(ThumbloopError):
    """The base model cannot be found, converted or loaded."""

    in_general = "The base model cannot be used."


class ConversationRefused(UsageError):
    """The model's chat template takes a conversation in no arrangement; `reason` is the template's."""

    def __init__(self, reason: str) -> None:
        self.reason = " ".join(reason.split())[:_REASON_CHARACTERS].rstrip(".")
        super().__init__(
            f"The model's chat template does not take this conversation: {self.reason}.",
            "Begin with the user's message and let user and assistant take turns.",
        )


class AdapterError(ThumbloopError):
    """An adapter folder is missing, corrupt or does not fit the base model."""

    in_general = "The adapter cannot be used."


class NotTrainedHere(NotFound):
    """No adapter of that name is set up to be trained."""

    def __init__(self, name: str, names: Sequence[str]) -> None:
        self.names = tuple(names)
        super().__init__(
            "adapter to train called",
            name,
            f"There are {', '.join(names)}; [training.adapters.{name}] in thumbloop.toml would make it one.",
        )


class PairsError(ThumbloopError):
    """A file of pairs cannot be read or written."""

    exit_status = 2
    in_general = "The file of pairs cannot be used."


class NotEnoughPairs(ThumbloopError):
    """Too few approved pairs to train on; `adapter` is the one that was asked for by name.

    `left_out` counts by reason the approved pairs that are not among those found.
    """

    is_public = True

    def __init__(
        self,
        found: int,
        needed: int,
        adapter: str | None = None,
        *,
        left_out: Mapping[str, int] | None = None,
    ) -> None:
        self.found = found
        self.needed = needed
        self.left_out = dict(left_out or {})
        ready = f"{found} approved {plural(found, 'pair is', 'pairs are')} ready"
        problem = (
            f"{ready}{f' for {adapter}' if adapter else ''}, and a training run needs at least {needed}."
        )
        if self.left_out:
            reasons = ", ".join(f"{count} {reason}" for reason, count in self.left_out.items())
            problem += f" Left out were {sum(self.left_out.values())}: {reasons}."
        super().__init__(
            problem,
            "Approve more answers with `thumbloop review list` and `thumbloop review approve`, "
            "or import pairs with `thumbloop import FILE`.",
            public=f"{problem} `/review` shows the answers that wait for approval.",
        )


class ReviewsQuarantined(ThumbloopError):
    """What there is to train on waits for the operator's word about its reviewers."""

    is_public = True

    def __init__(self, quarantined: Mapping[str, int], problem: str) -> None:
        self.quarantined = dict(quarantined)
        many = ", ".join(f"{count} by {reviewer}" for reviewer, count in self.quarantined.items())
        too_fast = (
            f"{problem}: {counted(sum(self.quarantined.values()), 'approval')} came faster than anybody reads"
        )
        super().__init__(
            f"{too_fast} ({many}).",
            "Look at some of them, then release them with "
            + ", ".join(f"`thumbloop review trust {reviewer}`" for reviewer in self.quarantined)
            + ", or reject those turns.",
            public=f"{too_fast}. The operator can release them.",
        )


class NotDue(ThumbloopError):
    """Too few pairs were approved since the last run for another one to be worth it."""

    exit_status = 0
    is_public = True

    def __init__(self, adapter: str) -> None:
        self.adapter = adapter
        problem = f"Too few pairs for {adapter} were approved since its last run, so none was started."
        super().__init__(
            problem,
            "`thumbloop retrain` starts one all the same.",
            public=f"{problem} `/retrain` starts one all the same.",
        )


class TrainingError(ThumbloopError):
    """A training run failed; the adapter in service is unchanged and nothing half-written is left."""

    in_general = "The training failed; what serves is unchanged."


class DiskTooFull(TrainingError):
    """The disk has `free` bytes, and a run may need `needed`."""

    def __init__(self, free: int, needed: int) -> None:
        self.free = free
        self.needed = needed
        super().__init__(
            f"The disk has {free / 1e9:.1f} GB free, and a training run may need {needed / 1e9:.1f} GB.",
            "Free some space (`thumbloop adapter prune` deletes adapters that nobody needs), or choose a "
            "data folder on another disk with THUMBLOOP_DATA.",
        )


class TakenForDead(TrainingError):
    """Another machine heard nothing of the run for too long, and closed it before it came to its end."""

    def __init__(self, run: int) -> None:
        self.run = run
        super().__init__(
            f"Run {run} was closed before it ended: for half a minute it gave the record no sign of life.",
            "What it trained is left out. `thumbloop retrain` starts another one.",
        )


class TrainingInterrupted(TrainingError):
    """One of a training's processes died; what was trained until the last checkpoint is kept."""

    def __init__(self, problem: str) -> None:
        super().__init__(
            problem,
            "`thumbloop retrain` resumes from the last checkpoint; the log has the processes' last output.",
        )


class RunUnderWay(Conflict):
    """Another training run is under way."""

    def __init__(self, run: int | None = None, pid: int | None = None) -> None:
        self.run = run
        self.pid = pid
        starting = "Another run is just starting."
        super().__init__(
            starting if run is None else f"Run {run} is already training (process {pid}).",
            "Wait for it to finish, or stop it with Ctrl-C in its terminal; "
            "`thumbloop retrain --status` shows it.",
            public=f"{starting if run is None else f'Run {run} is already training.'} Wait for it to finish.",
        )
