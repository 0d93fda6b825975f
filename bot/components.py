"""Which parts of the service run and which are down, and why: what `/health` and `thumbloop doctor` say.

The service writes the states into the data folder as they change, for other processes to read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

import psutil

from feedback.tables import now

State = Literal["starting", "running", "down"]

FILE: Final = "service.json"


@dataclass(frozen=True)
class ComponentState:
    """How a part of the service is, `since` when, and `why` where it is down: a sentence for the operator."""

    name: str
    state: State
    since: datetime
    why: str = ""


class Components:
    """The parts of one service. `on_change` is called after every change."""

    def __init__(self, clock: Callable[[], datetime] = now) -> None:
        self.on_change: Callable[[], None] = lambda: None
        self._clock = clock
        self._states: dict[str, ComponentState] = {}

    def all(self) -> list[ComponentState]:
        """Every part, in the order in which they began."""
        return list(self._states.values())

    def down(self) -> list[ComponentState]:
        """The parts that do not run now."""
        return [one for one in self.all() if one.state == "down"]

    def note(self, name: str, state: State, why: str = "") -> None:
        """Note how a part is now."""
        before = self._states.get(name)
        if before is None or (before.state, before.why) != (state, why):
            since = before.since if before is not None and before.state == state else self._clock()
            self._states[name] = ComponentState(name, state, since, why)
            self.on_change()

    def remove(self, name: str) -> None:
        """A part has done its work, or is not wanted any more."""
        if self._states.pop(name, None) is not None:
            self.on_change()


def write(states: list[ComponentState], data: Path) -> None:
    """Leave the states of this process's service in the data folder. Raises OSError."""
    rows = [{**asdict(one), "since": one.since.isoformat()} for one in states]
    process = {"pid": os.getpid(), "started": psutil.Process().create_time()}
    text = json.dumps({**process, "components": rows})
    part = data / f".{FILE}.part"
    part.write_text(text)
    part.replace(data / FILE)


def withdraw(data: Path) -> None:
    """Take back what `write` left: the service ends."""
    (data / FILE).unlink(missing_ok=True)


def read(data: Path) -> list[ComponentState] | None:
    """The states of the service that runs on this data folder; None when none runs, as far as can be told."""
    try:
        kept: dict[str, Any] = json.loads((data / FILE).read_text())
        if psutil.Process(int(kept["pid"])).create_time() != kept["started"]:
            return None  # another program has the number now
        rows = [{**row, "since": datetime.fromisoformat(row["since"])} for row in kept["components"]]
        return [ComponentState(**row) for row in rows]
    except (OSError, ValueError, TypeError, KeyError, psutil.Error):
        return None
