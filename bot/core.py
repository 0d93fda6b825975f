"""What every part of the service is given: the record, the data folder, who the members are, and the model.

Wired once by `bot.service` and handed on; nobody reaches a database through another part.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from bot.health import Health
from bot.metrics import Metrics
from bot.supervisor import Supervisor
from feedback import consent
from feedback.database import Database
from feedback.review import CLAIM_FOR
from feedback.tables import now
from feedback.words import Platform
from training.settings import RolloutSettings

RoleOf = Callable[[str, str], Awaitable[str | None]]
"""Asked by a platform's ids of a member and a community: their role there now, None once they are gone."""


@dataclass(frozen=True)
class ModelIdentity:
    """The base model that answers: its name and its revision, "" where the revision is not known."""

    base_model: str
    base_revision: str


@dataclass(frozen=True)
class Core:
    """The record, the data folder, the key that makes pseudonyms, the base model, and the time (UTC).

    `rollout` says how adapters go into service, for those who carry it out and those who show it.
    `metrics` are counted into by whoever does what they count.
    `supervisor` keeps what runs beside the answers going, and its `health` takes what the parts report.
    `console_url` is where people reach the console from elsewhere, "" where they do not; `role_of` holds,
    by platform, whom to ask for the role of somebody who signed in to it.
    """

    database: Database
    data: Path
    pseudonym_key: bytes
    model: ModelIdentity
    clock: Callable[[], datetime] = now
    claim_for: timedelta = CLAIM_FOR
    rollout: RolloutSettings = field(default_factory=RolloutSettings)
    metrics: Metrics = field(default_factory=Metrics)
    supervisor: Supervisor = field(default_factory=Supervisor)
    console_url: str = ""
    role_of: dict[str, RoleOf] = field(default_factory=dict)

    @property
    def health(self) -> Health:
        """What the parts of the service report of themselves."""
        return self.supervisor.health

    def pseudonym(self, platform: Platform, member: str) -> str:
        """The name under which the record knows a member of a platform."""
        return consent.pseudonym(platform, member, self.pseudonym_key)
