"""How the parts of the service stand, as they report it themselves; `bot.readiness` adds what it asks them.

A part that can be down while the rest runs on reports here (`Core.health`): a platform, or the adapters
that serve. `why` is for anybody to read, so no path, address or name of a person belongs into it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "degraded", "down"]


@dataclass(frozen=True)
class Component:
    """One part of the service: its state, and in a sentence why it is not "ok"."""

    name: str
    state: State
    why: str = ""


class Health:
    """The latest report of each component, in the order of their first ones. For one event loop."""

    def __init__(self) -> None:
        self._latest: dict[str, Component] = {}

    def report(self, name: str, state: State, why: str = "") -> None:
        """Say how the component stands from now on."""
        self._latest[name] = Component(name, state, why)

    def withdraw(self, name: str) -> None:
        """Say no more of the component: it has done its work, or is not wanted any more."""
        self._latest.pop(name, None)

    @property
    def components(self) -> tuple[Component, ...]:
        """What was reported last."""
        return tuple(self._latest.values())
