"""What every page of the console is given."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bot.access.actor import Actor
from bot.chat.context import ChatContext
from bot.console.visitor import Visitor
from bot.questions import Place


@dataclass(kw_only=True)
class Console(ChatContext):
    """The console of one community. `operator` is who its reviews, switches and runs are recorded as."""

    community: Place
    operator: Actor

    def place_of(self, visitor: Visitor) -> Place:
        """Where a visitor's questions are asked."""
        return replace(self.community, conversation=visitor.place)
