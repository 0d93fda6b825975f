"""What every page of the console is given."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bot.assistant import Assistant, Place
from bot.commands.training import Retraining
from bot.console.visitor import Visitor
from bot.core import Core


@dataclass(frozen=True)
class Console:
    """The console of one community. `operator` is who its reviews, switches and runs are recorded as."""

    core: Core
    assistant: Assistant
    community: Place
    operator: str
    retraining: Retraining

    def place_of(self, visitor: Visitor) -> Place:
        """Where a visitor's questions are asked."""
        return replace(self.community, conversation=visitor.place)
