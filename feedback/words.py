"""The words that the whole product shares: literals, limits and identifiers.

Imports nothing of ours, so every other module may import it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, NewType, get_args

Platform = Literal["discord", "telegram", "web", "api", "terminal", "import"]
Language = Literal["en", "pl"]
Mode = Literal["default", "tldr", "deep-dive", "code", "checklist"]
ReviewState = Literal["waiting", "approved", "edited", "rejected", "erased", "context", "phrasing"]
VoteValue = Literal[-1, 0, 1]
Decision = Literal["approve", "edit", "reject", "skip"]
VoteReason = Literal["wrong facts", "tone", "not helpful", "unsafe"]
TaskType = Literal["qa", "explanation", "code", "checklist", "not-knowing"]
AnswerKind = Literal["generated", "approved", "gap"]
RunState = Literal["running", "promoted", "rejected", "failed", "cancelled"]
TurnState = Literal["asked", "answered", "failed", "cancelled", "erased"]
CanaryOutcome = Literal["promoted", "rolled back", "undecided", "replaced"]
RatingScale = Literal["accuracy", "style", "safety"]
AdapterState = Literal["candidate", "promoted", "rejected", "retired"]

MODES: Final[tuple[Mode, ...]] = get_args(Mode)
LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)
TASK_TYPES: Final[tuple[TaskType, ...]] = get_args(TaskType)
APPROVED_STATES: Final[tuple[ReviewState, ...]] = ("approved", "edited")
"""The review states of a turn whose answer a moderator stands for."""
RATING_SCALES: Final[tuple[RatingScale, ...]] = get_args(RatingScale)
VOTE_REASONS: Final[tuple[VoteReason, ...]] = get_args(VoteReason)

CommunityId = NewType("CommunityId", int)
MemberId = NewType("MemberId", int)
TurnId = NewType("TurnId", int)

AUTO_REVIEWER: Final = "rule:auto-approve"
"""The reviewer recorded when an automatic-approval rule, not a person, decided."""

_ADAPTER_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_ADAPTER_LABEL = re.compile(rf"(?P<name>{_ADAPTER_NAME.pattern})@(?P<version>[1-9][0-9]{{0,8}})")


@dataclass(frozen=True, order=True)
class AdapterVersion:
    """One trained LoRA adapter, written `name@version`; versions of a name count up from 1."""

    name: str
    version: int

    def __post_init__(self) -> None:
        if not _ADAPTER_NAME.fullmatch(self.name) or self.version < 1:
            raise ValueError(
                f"adapter {self.name!r}@{self.version}: a name is 1 to 63 of a-z, 0-9, '.', '_', '-', "
                "starting with a letter or digit; versions start at 1"
            )

    @classmethod
    def parse(cls, label: str) -> AdapterVersion:
        """Read `name@version`. Raises ValueError when `label` is not of that form."""
        match = _ADAPTER_LABEL.fullmatch(label)
        if match is None:
            raise ValueError(f"{label!r} is not an adapter label; write name@version, such as support@3")
        return cls(match["name"], int(match["version"]))

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"
