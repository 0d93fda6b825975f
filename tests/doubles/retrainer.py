"""Takes the place of the service's retrainer: starts no process, remembers what it was asked for."""

from __future__ import annotations

from dataclasses import dataclass, field

from bot.access.actor import Actor
from feedback.errors import Conflict
from training.settings import TrainingSettings


@dataclass
class Retrainer:
    """`started_by` and `adapters` grow with every run; a `busy` one refuses all but the first.

    A run that was asked for is `starting` until a test says otherwise.
    """

    settings: TrainingSettings = field(default_factory=TrainingSettings)
    busy: bool = False
    started_by: list[str] = field(default_factory=list)
    adapters: list[str] = field(default_factory=list)
    starting: bool = False

    async def start(self, started_by: Actor, adapter_name: str | None = None) -> None:
        """As the service's: an unknown name is refused."""
        chosen = self.settings.of_adapter(adapter_name).adapter_name
        if self.busy and self.started_by:
            raise Conflict("A training run is under way already.", "Wait until it has ended.")
        self.started_by.append(started_by.name)
        self.adapters.append(chosen)
        self.starting = True

    async def is_starting(self) -> bool:
        """Whether `starting`."""
        return self.starting
